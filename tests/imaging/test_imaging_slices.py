import numpy as np
import pytest

from vesalius.errors import ImageError
from vesalius.imaging.intensity import DisplayRange
from vesalius.imaging.slices import SliceStack, from_square_pixels, to_square_pixels

AXIAL = np.array([[0.0, 0, -1, 30], [0, -1, 0, 20], [3, 0, 0, -60], [0, 0, 0, 1]])


@pytest.fixture
def stack():
    pixels = np.arange(5 * 4 * 3, dtype=np.float32).reshape(5, 4, 3)
    return SliceStack(pixels, AXIAL, "axial", DisplayRange(0, 59), False, (1.0, 1.0))


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
    dark = SliceStack(stack.pixels, AXIAL, "axial", stack.display_range, True, (1.0, 1.0))
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
