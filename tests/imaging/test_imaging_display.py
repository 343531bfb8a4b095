import numpy as np
import pytest

from vesalius.errors import ImageError
from vesalius.imaging.slices import AMBER, outline, overlay


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
