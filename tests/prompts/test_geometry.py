import numpy as np
import pytest

from vesalius.prompts.attributes import find_parts, measure_shape


def ellipse(size: tuple[int, int], centre: tuple[float, float], radii: tuple[float, float]) -> np.ndarray:
    rows, columns = np.mgrid[: size[0], : size[1]]
    return ((rows - centre[0]) / radii[0]) ** 2 + ((columns - centre[1]) / radii[1]) ** 2 < 1


def triangle(size: int) -> np.ndarray:
    return np.tri(size, dtype=bool)


def tilt(mask: np.ndarray, degrees: float) -> np.ndarray:
    """Nearest-neighbour turn about the centre, written apart from the code under test."""
    angle = np.deg2rad(degrees)
    rows, columns = np.indices(mask.shape) - (mask.shape[0] - 1) / 2
    sources = np.stack([np.cos(angle) * rows - np.sin(angle) * columns, np.sin(angle) * rows + np.cos(angle) * columns])
    row, column = np.rint(sources + (mask.shape[0] - 1) / 2).astype(int).clip(0, mask.shape[0] - 1)
    return mask[row, column]


def test_an_empty_mask_has_no_parts():
    assert find_parts(np.zeros((4, 5), dtype=bool)) == ()


def test_parts_come_in_reading_order_and_touch_at_corners():
    mask = np.array([[0, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0]], dtype=bool)
    first, second = find_parts(mask)
    assert (first.top, first.left, first.area) == (0, 3, 1)
    assert (second.top, second.left, second.area) == (1, 0, 2)
    assert second.centre == (2, 1)
    assert second.share == 2 / 12


def test_a_part_leaves_out_others_within_its_box():
    mask = np.ones((5, 5), dtype=bool)
    mask[1:4, 1:4] = False
    mask[2, 2] = True
    assert [part.area for part in find_parts(mask)] == [16, 1]


@pytest.mark.parametrize("size", [(9, 12), (10, 11), (3, 3), (2, 40)])
def test_cells_of_a_part_add_up_to_one_and_count_every_pixel_once(size):
    rng = np.random.default_rng(0)
    mask = rng.random(size) < 0.6
    for part in find_parts(mask):
        assert part.cells.sum() == pytest.approx(1)


def test_a_part_in_one_cell_is_there_altogether():
    mask = np.zeros((90, 60), dtype=bool)
    mask[65:80, 25:35] = True
    (part,) = find_parts(mask)
    assert part.cells[2, 1] == 1


@pytest.mark.parametrize("degrees", [0, 10, 37, 45, 80])
def test_outline_of_a_rectangle_does_not_depend_on_its_tilt(degrees):
    mask = np.zeros((301, 301), dtype=bool)
    mask[100:200, 50:250] = True
    shape = measure_shape(find_parts(tilt(mask, degrees))[0])
    assert shape.fill > 0.96
    assert shape.ratio == pytest.approx(0.5, abs=0.01)
    assert shape.solidity > 0.97


def test_outline_of_an_ellipse():
    shape = measure_shape(find_parts(ellipse((200, 200), (100, 100), (40, 80)))[0])
    assert shape.fill == pytest.approx(np.pi / 4, abs=0.02)
    assert shape.ratio == pytest.approx(0.5, abs=0.01)


def test_outline_of_a_triangle():
    assert measure_shape(find_parts(triangle(200))[0]).fill == pytest.approx(0.5, abs=0.01)


def test_outline_of_a_single_pixel_is_a_square():
    mask = np.zeros((5, 5), dtype=bool)
    mask[2, 3] = True
    shape = measure_shape(find_parts(mask)[0])
    assert (shape.solidity, shape.fill, shape.ratio) == pytest.approx((1, 1, 1))


def test_a_bay_lowers_solidity():
    mask = np.ones((60, 60), dtype=bool)
    mask[:40, 20:40] = False
    assert measure_shape(find_parts(mask)[0]).solidity == pytest.approx(1 - 800 / 3600, abs=0.001)
