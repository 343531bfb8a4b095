from pathlib import Path

import numpy as np
import pytest

from vesalius.errors import ImageError
from vesalius.imaging import MedicalImage

AXIAL = np.array([[0.0, 0, -1, 30], [0, -2, 0, 20], [5, 0, 0, -60], [0, 0, 0, 1]])
HERE = Path("memory")


@pytest.fixture
def volume():
    pixels = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    return MedicalImage(pixels=pixels, source=HERE, affine=AXIAL, modality="CT", plane="axial")


def test_spacing_is_slices_then_rows_then_columns(volume):
    assert volume.spacing == (5.0, 2.0, 1.0)
    assert volume.slices()[0].pixel_spacing_mm == (2.0, 1.0)


def test_a_volume_can_be_cut_in_every_plane(volume):
    axial, coronal, sagittal = (volume.slices(plane) for plane in ("axial", "coronal", "sagittal"))
    assert (len(axial), axial[0].rgb.shape[:2]) == (2, (3, 4))
    assert (len(coronal), coronal[0].rgb.shape[:2]) == (3, (2, 4))
    assert (len(sagittal), sagittal[0].rgb.shape[:2]) == (4, (2, 3))
    assert coronal[0].plane == "coronal"
    assert coronal[0].pixel_spacing_mm == (5.0, 1.0)
    assert sagittal[0].pixel_spacing_mm == (5.0, 2.0)


def test_cuts_show_the_head_up_and_the_front_left(volume):
    head_front = volume.pixels[-1, 0]
    np.testing.assert_array_equal(volume.slices("coronal").pixels[-1, 0], head_front)
    np.testing.assert_array_equal(volume.slices("sagittal").pixels[::-1, 0, 0], head_front)


def test_all_slices_share_the_shades_of_the_whole_volume():
    pixels = np.stack([np.full((4, 4), 10.0), np.full((4, 4), 20.0)]).astype(np.float32)
    image = MedicalImage(pixels=pixels, source=HERE, affine=AXIAL, modality="MR", plane="axial")
    assert [each.rgb.mean() for each in image.slices()] == [0, 1]


def test_a_window_by_name_or_numbers_replaces_the_usual_shades(volume):
    lung = volume.slices(window="lung")[0].rgb
    np.testing.assert_array_equal(lung, volume.slices(window=(-600, 1500))[0].rgb)
    assert lung.mean() > volume.slices()[0].rgb.mean()


def test_pictures_have_one_slice_and_no_planes():
    picture = MedicalImage(pixels=np.zeros((1, 4, 4, 3), np.uint8), source=HERE)
    assert len(picture.slices()) == 1
    assert picture.slices()[0].plane is None
    with pytest.raises(ImageError, match=r"memory: has no place in the patient, so no coronal slices"):
        picture.slices("coronal")


def test_a_single_slice_cannot_be_cut_across(volume):
    single = MedicalImage(pixels=volume.pixels[:1], source=HERE, affine=AXIAL, plane="axial")
    assert len(single.slices("axial")) == 1
    with pytest.raises(ImageError, match="single axial slice; sagittal slices need a whole series"):
        single.slices("sagittal")


def test_an_orthogonal_volume_has_no_oblique_slices(volume):
    with pytest.raises(ImageError, match="is axial, not oblique"):
        volume.slices("oblique")


def test_a_radiograph_keeps_its_pixel_spacing_without_an_affine():
    image = MedicalImage(pixels=np.zeros((1, 4, 4), np.uint8), source=HERE, pixel_spacing=(0.2, 0.1))
    assert image.spacing is None
    assert image.slices()[0].rgb_square().shape == (8, 4, 3)


@pytest.mark.parametrize("shape", [(4, 4), (1, 4, 4, 2), (0, 4, 4), (1, 1, 4, 4, 3)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ImageError, match="expected pixels"):
        MedicalImage(pixels=np.zeros(shape, np.uint8), source=HERE)


@pytest.mark.parametrize("affine", [np.zeros((4, 4)), np.full((4, 4), np.nan), np.eye(3)])
def test_an_affine_that_places_nothing_is_refused(affine):
    with pytest.raises(ImageError, match="affine"):
        MedicalImage(pixels=np.zeros((1, 4, 4), np.uint8), source=HERE, affine=affine)
