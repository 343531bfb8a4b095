"""Images and answers in notebooks."""

import nibabel as nib
import numpy as np
import pytest

import vesalius
from vesalius.errors import ImageError, MissingPackageError


@pytest.fixture
def widget():
    return pytest.importorskip("ipyniivue", reason="the extra notebook is not installed")


def read(volume) -> nib.Nifti1Image:
    return nib.Nifti1Image.from_bytes(volume.data)


def test_a_volume_and_its_mask_lie_on_one_grid(widget, bright, tmp_path):
    values = np.zeros((6, 8, 4), np.float32)
    values[:3] = 1000
    affine = np.diag([-2.0, 3.0, 5.0, 1.0])
    nib.save(nib.Nifti1Image(values, affine), tmp_path / "scan.nii.gz")
    answer = vesalius.Predictor(bright).predict_volume(tmp_path / "scan.nii.gz", "liver")
    image, mask = vesalius.view(tmp_path / "scan.nii.gz", answer, opacity=0.3).volumes
    assert (mask.name, mask.opacity) == ("liver.nii", pytest.approx(0.3))
    for shown, expected in ((image, values), (mask, answer.mask)):
        told = read(shown)
        placed = nib.as_closest_canonical(told)
        own = nib.as_closest_canonical(nib.Nifti1Image(expected.astype(np.float32), affine))
        np.testing.assert_allclose(placed.affine, own.affine)
        np.testing.assert_array_equal(np.asarray(placed.dataobj), np.asarray(own.dataobj))


def test_a_picture_is_shown_in_its_colours(widget, bright):
    picture = np.zeros((8, 10, 3), np.uint8)
    picture[2, 7] = (200, 10, 30)
    answers = vesalius.Predictor(bright).set_image(picture).predict(["polyp", "lungs"])
    image, first, second = vesalius.view(picture, answers).volumes
    assert read(image).shape == (10, 8, 1)
    assert read(image).dataobj[7, 2, 0].tolist() == (200, 10, 30)
    assert first.colormap != second.colormap
    # Columns run to the patient's left and rows to the back, which radiological display shows to the right and down.
    assert np.diag(read(image).affine).tolist() == [-1, -1, 1, 1]


def test_answers_about_another_image_are_refused(widget, bright):
    answer = vesalius.Predictor(bright).set_image(np.zeros((8, 8), np.uint8)).predict("polyp")
    with pytest.raises(ImageError, match=r"is \[1, 8, 8\], the image \[1, 9, 8\]"):
        vesalius.view(np.zeros((9, 8), np.uint8), answer)


def test_without_the_widget_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ipyniivue", None)
    with pytest.raises(MissingPackageError, match=r"vesalius\[notebook\]"):
        vesalius.view(np.zeros((9, 8), np.uint8))
