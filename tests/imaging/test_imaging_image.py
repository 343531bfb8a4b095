"""Images, their slices, and overlays."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vesalius.errors import ImageError
from vesalius.imaging import MedicalImage
from vesalius.imaging.intensity import DisplayRange
from vesalius.imaging.slices import AMBER, SliceStack, from_square_pixels, outline, overlay, to_square_pixels

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


def test_a_modality_may_be_written_in_small_letters(volume):
    small = replace(volume, modality="ct")
    assert small.modality == "CT"
    assert small.slices().display_range == volume.slices().display_range == DisplayRange(-160, 239)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"pixels": [[[0.0]]]}, "memory: expected pixels as ndarray, got list"),
        ({"affine": AXIAL.tolist()}, "memory: expected affine as ndarray, got list"),
        ({"modality": 5}, "memory: expected modality as str, got int"),
        ({"plane": "upside"}, r"memory: No plane named 'upside'\. .*Available: axial, coronal, oblique, sagittal"),
    ],
)
def test_what_is_no_image_is_refused(volume, change, told):
    with pytest.raises(ImageError, match=told):
        replace(volume, **change)


def test_a_plane_that_does_not_exist_is_refused(volume):
    with pytest.raises(ImageError, match=r"No plane named 'axal'\. Did you mean 'axial'.* axial, coronal, sagittal\."):
        volume.slices("axal")


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


AXIAL_STACK = np.array([[0.0, 0, -1, 30], [0, -1, 0, 20], [3, 0, 0, -60], [0, 0, 0, 1]])


@pytest.fixture
def stack():
    pixels = np.arange(5 * 4 * 3, dtype=np.float32).reshape(5, 4, 3)
    return SliceStack(pixels, AXIAL_STACK, "axial", DisplayRange(0, 59), False, (1.0, 1.0))


def test_a_stack_behaves_like_a_list(stack):
    assert len(stack) == 5
    assert [each.index for each in stack] == [0, 1, 2, 3, 4]
    assert stack[-1].index == 4
    assert [each.index for each in stack[1:4:2]] == [1, 3]
    with pytest.raises(IndexError):
        stack[5]


def test_slices_are_grey_rgb_in_zero_to_one(stack):
    first = stack[0].rgb
    assert first.shape == (4, 3, 3)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first[..., 0], first[..., 2])
    assert stack[4].rgb.max() == pytest.approx(1)


def test_inversion_mirrors_the_shades(stack):
    dark = SliceStack(stack.pixels, AXIAL_STACK, "axial", stack.display_range, True, (1.0, 1.0))
    np.testing.assert_allclose(dark[2].rgb, 1 - stack[2].rgb)


def test_positions_ascend_towards_the_head(stack):
    assert [each.position_mm for each in stack] == pytest.approx([-60, -57, -54, -51, -48])


def test_square_pixels_stretch_only_the_coarser_axis():
    rgb = np.zeros((4, 6, 3), np.float32)
    assert to_square_pixels(rgb, (3.0, 1.0)).shape == (12, 6, 3)
    assert to_square_pixels(rgb, (1.0, 2.5)).shape == (4, 15, 3)
    assert to_square_pixels(rgb, (0.7, 0.7)).shape == (4, 6, 3)
    assert to_square_pixels(rgb, None) is rgb


def test_square_pixels_keep_a_ramp_a_ramp():
    ramp = np.repeat(np.linspace(0, 1, 8, dtype=np.float32)[:, None, None], 3, axis=2)
    ramp = np.repeat(ramp, 5, axis=1)
    tall = to_square_pixels(ramp, (2.0, 1.0))[:, 0, 0]
    np.testing.assert_allclose(np.diff(tall[1:-1]), 1 / 14, atol=1e-6)
    assert tall.mean() == pytest.approx(0.5)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (3.0, 1.0), (1.0, 2.5), (5.0, 0.7), (1.3, 1.0)])
def test_a_mask_survives_the_way_to_square_pixels_and_back(spacing):
    mask = np.random.default_rng(0).random((13, 17)) > 0.5
    square = to_square_pixels(np.repeat(mask[..., None], 3, 2).astype(np.float32), spacing)[..., 0] > 0.5
    back = from_square_pixels(square, (13, 17))
    assert back.dtype == np.bool_
    np.testing.assert_array_equal(back, mask)


@pytest.mark.parametrize("spacing", [(0.0, 1.0), (-1.0, 1.0), (1000.0, 0.001), (float("nan"), 1.0)])
def test_implausible_spacings_are_refused(spacing):
    with pytest.raises(ImageError, match="damaged"):
        to_square_pixels(np.zeros((4, 6, 3), np.float32), spacing)


@pytest.fixture
def square():
    mask = np.zeros((12, 12), bool)
    mask[3:9, 3:9] = True
    return mask


def test_outline_is_strong_fill_is_faint_and_the_rest_untouched(square):
    drawn = overlay(np.zeros((12, 12, 3), np.float32), square, alpha=0.2)
    assert tuple(drawn[3, 5]) == AMBER
    assert tuple(drawn[5, 5]) == tuple(np.rint(np.array(AMBER) * 0.2).astype(int))
    assert drawn[~square].max() == 0


def test_bytes_and_real_numbers_draw_alike(square):
    levels = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    np.testing.assert_array_equal(overlay(levels, square), overlay(levels / 255.0, square))


def test_an_empty_mask_gives_the_picture_back():
    levels = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    np.testing.assert_array_equal(overlay(levels, np.zeros((12, 12), bool)), levels)


def test_the_picture_is_not_changed(square):
    levels = np.zeros((12, 12, 3), np.uint8)
    overlay(levels, square)
    assert levels.max() == 0


def test_the_edge_of_the_picture_is_no_outline():
    assert not outline(np.ones((6, 6), bool)).any()


def test_outline_lies_inside_the_object(square):
    assert outline(square).sum() == 20
    assert outline(square, thickness=2).sum() == 32
    assert not (outline(square, thickness=2) & ~square).any()


def test_a_mask_of_another_size_is_refused(square):
    with pytest.raises(ImageError, match=r"The mask is \[12, 12\], the picture \[6, 12\]"):
        overlay(np.zeros((6, 12, 3), np.uint8), square)
