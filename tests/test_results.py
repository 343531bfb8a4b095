from pathlib import Path

import numpy as np
import pytest

from vesalius.imaging import MedicalImage, read_image, read_mask
from vesalius.predict import Segmentation
from vesalius.results import Results, contact_sheet, file_names

AFFINE = np.array([[0, 0, -0.5, 4], [0, -1.0, 0, 6], [2.0, 0, 0, -5], [0, 0, 0, 1]])
"""Axial and displayed radiologically: rows go back, columns to the patient's left, 2 mm apart upwards."""


def volume(depth: int = 5) -> MedicalImage:
    pixels = np.random.default_rng(0).random((depth, 12, 16)).astype(np.float32)
    return MedicalImage(pixels, source=Path("scan.nii.gz"), affine=AFFINE, modality="MR", plane="axial")


def answer(prompt: str, shape: tuple[int, int], *, marked: int, existence: float | None = 0.9) -> Segmentation:
    probability = np.zeros(shape, np.float32)
    probability.flat[:marked] = 1
    return Segmentation(prompt, probability, existence)


def test_a_picture_gets_a_mask_and_an_overlay_for_each_phrase(tmp_path):
    picture = MedicalImage(np.zeros((1, 12, 16), np.uint8), source=Path("a.png"))
    results = Results(tmp_path / "new", picture, picture.slices(), ["polyp", "lungs"])
    results.add([answer("polyp", (12, 16), marked=48), answer("lungs", (12, 16), marked=0, existence=0.1)])
    polyp, lungs = results.write()
    assert (polyp.share, lungs.share) == (0.25, 0)
    assert (polyp.existence, lungs.existence) == (0.9, 0.1)
    assert read_mask(polyp.mask).sum() == 48
    assert polyp.volume_ml is None
    names = {path.name for path in (tmp_path / "new").iterdir()}
    assert names == {f"a.{phrase}.{kind}.png" for phrase in ("polyp", "lungs") for kind in ("mask", "overlay")}


def test_a_volume_s_mask_lies_on_its_image_and_has_its_volume(tmp_path):
    image = volume()
    results = Results(tmp_path, image, image.slices(), ["brain"])
    for place in range(5):
        results.add([answer("brain", (12, 16), marked=place, existence=0.2 * place)])
    (found,) = results.write()
    written = read_image(found.mask)
    np.testing.assert_allclose(written.affine, image.affine)
    np.testing.assert_array_equal(written.pixels.sum(axis=(1, 2)), range(5))
    assert found.volume_ml == pytest.approx(10 * 2.0 * 1.0 * 0.5 / 1000)
    assert found.existence == pytest.approx(0.8)


def test_the_sheet_shows_the_marked_slices(tmp_path):
    image = volume(depth=30)
    masks = np.zeros((30, 12, 16), bool)
    masks[10:14, 2:8, 2:8] = True
    sheet = contact_sheet(image.slices(), masks)
    assert sheet.shape[0] < contact_sheet(image.slices(), np.zeros_like(masks)).shape[0]
    amber = (sheet[..., 0] > 0.9) & (sheet[..., 2] < 0.1)
    assert amber.any(axis=0).any()


def test_file_names_are_short_safe_and_distinct():
    names = file_names(Path("../x/scan.nii.gz"), ["a/../b", "a b", "…", "x" * 200])
    assert names == ["scan.a-b", "scan.a-b-2", "scan.prompt", "scan." + "x" * 40]
