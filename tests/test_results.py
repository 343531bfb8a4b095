import json
import math
from pathlib import Path

import numpy as np
import pytest

from vesalius.errors import OutputError
from vesalius.imaging import MedicalImage, read_image, read_mask
from vesalius.imaging.mask_volumes import PackedMasks, contact_sheet
from vesalius.knowledge import Understanding
from vesalius.records import SEGMENTATIONS
from vesalius.results import Result, Results, file_names
from vesalius.segmentation import Segmentation

AFFINE = np.array([[0, 0, -0.5, 4], [0, -1.0, 0, 6], [2.0, 0, 0, -5], [0, 0, 0, 1]])
"""Axial and displayed radiologically: rows go back, columns to the patient's left, 2 mm apart upwards."""


def volume(depth: int = 5) -> MedicalImage:
    pixels = np.random.default_rng(0).random((depth, 12, 16)).astype(np.float32)
    return MedicalImage(pixels, source=Path("memory"), affine=AFFINE, modality="MR", plane="axial")


def answer(prompt: str, mask: np.ndarray, *, existence: float | None = 0.9, run: float | None = None) -> Segmentation:
    return Segmentation(prompt, np.where(mask, 9, -9).astype(np.float32), mask.shape, existence, run)


def first(shape: tuple[int, int], *, marked: int) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask.flat[:marked] = True
    return mask


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1)])
@pytest.mark.parametrize("turned", [(False, False, False), (True, False, True), (False, True, True)])
def test_packed_masks_come_back_in_any_order(order, turned):
    whole = np.random.default_rng(0).random((9, 11, 21)) > 0.5
    packed = PackedMasks((11, 21))
    for mask in whole:
        packed.append(mask)
    expected = np.flip(np.transpose(whole, order), [axis for axis in range(3) if turned[axis]])
    np.testing.assert_array_equal(np.stack(list(packed.planes(order, turned))), expected.transpose(2, 1, 0))
    assert (packed.marked, packed.shape) == (whole.sum(axis=(1, 2)).tolist(), whole.shape)


def test_a_picture_gets_a_mask_and_an_overlay_for_each_phrase(tmp_path):
    picture = MedicalImage(np.zeros((1, 12, 16), np.uint8), source=Path("a.png"))
    results = Results(tmp_path / "new", picture, picture.slices(), ["polyp", "lungs"])
    results.add(
        [answer("polyp", first((12, 16), marked=48)), answer("lungs", first((12, 16), marked=0), existence=0.1)]
    )
    polyp, lungs = results.write()
    assert (polyp.share, lungs.share) == (0.25, 0)
    assert (polyp.existence, lungs.existence) == (0.9, 0.1)
    assert (polyp.volume_ml, polyp.slice_existence) == (None, None)
    assert read_mask(polyp.mask).sum() == 48
    names = {path.name for path in (tmp_path / "new").iterdir() if not path.name.startswith(".")}
    assert names == {
        SEGMENTATIONS.name,
        *(f"a.{phrase}.{kind}.png" for phrase in ("polyp", "lungs") for kind in ("mask", "overlay")),
    }


def test_a_series_is_as_sure_as_its_best_run_and_tells_each_slice(tmp_path):
    image = volume()
    results = Results(tmp_path, image, image.slices(), ["brain"])
    for place in range(5):
        results.add([answer("brain", first((12, 16), marked=place), existence=0.2 * place, run=0.1 * place)])
    (found,) = results.write()
    assert found.existence == pytest.approx(0.4)
    assert found.slice_existence == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    assert found.volume_ml == pytest.approx(10 * 2.0 * 1.0 * 0.5 / 1000)
    np.testing.assert_array_equal(read_image(found.mask).pixels.sum(axis=(1, 2)), range(5))


def test_the_sheet_shows_the_marked_slices():
    image = volume(depth=30)
    masks, empty = PackedMasks((12, 16)), PackedMasks((12, 16))
    for place in range(30):
        mask = np.zeros((12, 16), bool)
        empty.append(mask)
        mask[2:8, 2:8] = 10 <= place < 14
        masks.append(mask)
    sheet = contact_sheet(image.slices(), masks)
    assert sheet.shape[0] < contact_sheet(image.slices(), empty).shape[0]
    amber = (sheet[..., 0] > 230) & (sheet[..., 2] < 25)
    assert amber.any(axis=0).any()


def test_overlays_and_sheets_of_large_slices_are_drawn_smaller_and_masks_are_not(tmp_path):
    picture = MedicalImage(np.zeros((1, 4100, 5), np.uint8), source=Path("tall.png"))
    results = Results(tmp_path, picture, picture.slices(), ["spot"])
    results.add([answer("spot", first((4100, 5), marked=10250))])
    (found,) = results.write()
    assert read_mask(found.mask).shape == (4100, 5)
    assert read_image(found.overlay).pixels.shape == (1, 2050, 3, 3)


class TestNames:
    def test_they_are_short_safe_and_distinct(self):
        names = file_names(Path("../x/scan.nii.gz"), ["a/../b", "a b", "…", "x" * 200])
        assert names == ["scan.a-b", "scan.a-b-2", "scan.prompt", "scan." + "x" * 40]

    @pytest.mark.parametrize(
        ("name", "stem"),
        [
            ("1.2.840.113619.2.1.dcm", "1.2.840.113619.2.1"),
            ("1.2.840.113619.2.2", "1.2.840.113619.2.2"),
            ("case.001.png", "case.001"),
            ("scan.NII.GZ", "scan"),
            ("a.nii.mgz", "a.nii"),
        ],
    )
    def test_only_the_suffix_of_the_format_is_dropped(self, name, stem):
        assert file_names(Path(name), ["lungs"]) == [f"{stem}.lungs"]

    def test_a_folder_keeps_all_of_its_name(self, tmp_path):
        (tmp_path / "1.2.dcm").mkdir()
        assert file_names(tmp_path / "1.2.dcm", ["lungs"]) == ["1.2.dcm.lungs"]


class TestNothingIsReplacedUnasked:
    def results(self, out: Path, source: str, **options: object) -> Results:
        picture = MedicalImage(np.zeros((1, 4, 4), np.uint8), source=Path(source))
        return Results(out, picture, picture.slices(), ["polyp"], **options)

    def write(self, out: Path, source: str, marked: int = 1, **options: object) -> Result:
        results = self.results(out, source, **options)
        results.add([answer("polyp", first((4, 4), marked=marked))])
        return results.write()[0]

    def test_another_image_of_the_same_name_is_refused_before_any_work(self, tmp_path):
        self.write(tmp_path, "one/scan.png")
        with pytest.raises(
            OutputError, match=r"scan.polyp.mask.png: is there already, made from .*one/scan.png.*--over"
        ):
            self.results(tmp_path, "two/scan.jpg")

    def test_a_file_that_comes_to_be_there_meanwhile_is_not_replaced(self, tmp_path):
        results = self.results(tmp_path, "scan.png")
        results.add([answer("polyp", first((4, 4), marked=1))])
        (tmp_path / "scan.polyp.overlay.png").write_text("mine")
        with pytest.raises(OutputError, match="is there already"):
            results.write()
        assert (tmp_path / "scan.polyp.overlay.png").read_text() == "mine"

    def test_asked_to_it_replaces(self, tmp_path):
        self.write(tmp_path, "scan.png")
        assert read_mask(self.write(tmp_path, "scan.png", marked=7, overwrite=True).mask).sum() == 7

    def test_the_record_says_what_every_file_was_made_from(self, tmp_path):
        self.write(tmp_path, "b.png", made_by={"model": "pocket"})
        self.write(tmp_path, "a.png")
        self.write(tmp_path, "b.png", marked=2, overwrite=True, made_by={"model": "mine"})
        rows = json.loads((tmp_path / SEGMENTATIONS.name).read_text())["results"]
        assert [(Path(row["image"]).name, row["mask"], row["prompt"], row.get("model")) for row in rows] == [
            ("a.png", "a.polyp.mask.png", "polyp", None),
            ("b.png", "b.polyp.mask.png", "polyp", "mine"),
        ]
        assert all(Path(row["image"]).is_absolute() for row in rows)

    def test_a_phrase_that_the_model_was_not_asked_has_one_row_and_loses_no_mask_unasked(self, tmp_path):
        def say(*phrases: str, **options: object) -> list[tuple[object, ...]]:
            refused = [Understanding(each, None, known=False) for each in phrases]
            picture = MedicalImage(np.zeros((1, 4, 4), np.uint8), source=Path("scan.png"))
            Results(tmp_path / "new", picture, picture.slices(), [], **options).write(refused)
            rows = json.loads((tmp_path / "new" / SEGMENTATIONS.name).read_text())["results"]
            return [(row["prompt"], row["answer"], row["mask"]) for row in rows]

        unknown, found = ("kidney stone", "not learnt", None), ("polyp", "asked", "scan.polyp.mask.png")
        assert say("kidney stone") == say("kidney stone") == [unknown]
        self.write(tmp_path / "new", "scan.png")
        assert say("polyp") == [unknown, ("polyp", "not learnt", None), found]
        self.write(tmp_path / "new", "scan.png", overwrite=True)
        assert say("kidney stone") == [unknown, found]
        assert say("polyp", overwrite=True) == [unknown, ("polyp", "not learnt", None)]
        assert not list((tmp_path / "new").glob("*.png"))

    @pytest.mark.parametrize("content", ["no json", "[]", '{"results": [1]}', '{"other": 1}'])
    def test_a_record_of_another_kind_is_left_alone(self, tmp_path, content):
        (tmp_path / SEGMENTATIONS.name).write_text(content)
        with pytest.raises(OutputError, match=r"segmentation.json: is .* --out"):
            self.results(tmp_path, "scan.png")
        assert (tmp_path / SEGMENTATIONS.name).read_text() == content


def test_numbers_for_json_are_finite_or_none():
    found = Result(
        prompt="a",
        existence=math.nan,
        share=0.5,
        volume_ml=math.inf,
        mask=Path("m"),
        overlay=Path("o"),
        slice_existence=(0.5, math.nan, None),
    )
    json.dumps(found.to_dict(), allow_nan=False, default=str)
    assert found.to_dict()["slice_existence"] == [0.5, None, None]
