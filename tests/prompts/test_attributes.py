import colorsys
from dataclasses import asdict, fields

import numpy as np
import pytest

from vesalius.errors import PromptError
from vesalius.prompts import RULES, find_rules, mirror_prompt
from vesalius.prompts.attributes import (
    BENCHMARK,
    COLOURS,
    NUMBERS,
    PLACES,
    PLAIN,
    SHAPES,
    SIZES,
    describe,
    find_parts,
    measure_shape,
    name_colour,
)


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


@pytest.mark.parametrize(
    ("rgb", "word"),
    [
        ((0, 0, 0), "black"),
        ((0.1, 0.05, 0.05), "black"),
        ((1, 1, 1), "white"),
        ((0.5, 0.5, 0.5), "gray"),
        ((1, 0, 0), "red"),
        ((0.8, 0.1, 0.2), "red"),
        ((1, 0.5, 0), "orange"),
        ((1, 0.95, 0.1), "yellow"),
        ((0, 0.8, 0), "green"),
        ((0.1, 0.2, 1), "blue"),
        ((0.5, 0, 1), "purple"),
        ((1, 0.2, 0.6), "pink"),
        ((0.95, 0.7, 0.7), "pink"),
        ((0.4, 0.2, 0.05), "brown"),
    ],
)
def test_plain_rules_name_colours_as_people_do(rgb, word):
    assert name_colour(rgb, PLAIN) == word


@pytest.mark.parametrize("rules", [PLAIN, BENCHMARK])
def test_every_colour_has_a_word_of_the_vocabulary(rules):
    steps = [step / 12 for step in range(13)]
    words = {name_colour(colorsys.hsv_to_rgb(h, s, v), rules) for h in steps for s in steps for v in steps}
    assert words <= set(COLOURS)


def test_plain_rules_use_every_word():
    steps = [step / 30 for step in range(31)]
    words = {name_colour(colorsys.hsv_to_rgb(h, s, v), PLAIN) for h in steps for s in steps for v in steps}
    assert words == set(COLOURS)


SIZE = (120, 160)


def boxes(*corners: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros(SIZE, dtype=bool)
    for top, left, bottom, right in corners:
        mask[top:bottom, left:right] = True
    return mask


def words(mask: np.ndarray, rules=PLAIN, colour=(0.9, 0.6, 0.55)) -> dict[str, str]:
    found = describe(mask, np.full((*mask.shape, 3), colour, dtype=np.float32), rules)
    assert found is not None
    return found.to_dict()


def test_an_empty_mask_has_no_attributes():
    assert describe(boxes(), np.zeros((*SIZE, 3))) is None


@pytest.mark.parametrize("count", [1, 2, 3, 12, 20])
def test_parts_are_counted_in_words(count):
    mask = boxes(*((6 * index, 10, 6 * index + 4, 20) for index in range(count)))
    assert words(mask)["number"] == NUMBERS[count - 1]


def test_more_than_twenty_are_counted_in_digits():
    mask = np.zeros((400, 400), dtype=bool)
    mask[::16, :300] = True
    assert words(mask)["number"] == "25"


def test_plain_rules_leave_specks_out_and_the_benchmarks_count_and_place_them():
    mask = boxes((50, 70, 70, 90))
    mask[0, 0] = True
    assert words(mask) | {"shape": ""} == words(boxes((50, 70, 70, 90))) | {"shape": ""}
    assert words(mask, BENCHMARK)["number"] == "two"
    assert words(mask, BENCHMARK)["location"] == "top left, center"
    assert words(mask, BENCHMARK)["size"] == "small"


@pytest.mark.parametrize("rules", RULES.values())
def test_a_mask_of_one_speck_is_still_an_object(rules):
    mask = np.zeros((400, 400), dtype=bool)
    mask[200, 200] = True
    found = words(mask, rules)
    assert (found["number"], found["size"], found["location"]) == ("one", "tiny", "center")


@pytest.mark.parametrize(("side", "size"), [(4, "tiny"), (20, "small"), (50, "medium"), (100, "large")])
def test_size_is_the_share_of_the_image(side, size):
    assert words(boxes((0, 0, side, side)))["size"] == size


def test_several_sizes_are_named_from_small_to_large():
    assert words(boxes((0, 0, 60, 60), (100, 100, 110, 110)))["size"] == "small, medium"


@pytest.mark.parametrize("rules", RULES.values())
def test_places_are_the_cells_of_a_grid(rules):
    places = [
        words(boxes((15 + 40 * row, 20 + 53 * column, 25 + 40 * row, 30 + 53 * column)), rules)["location"]
        for row in range(3)
        for column in range(3)
    ]
    assert places == list(PLACES)


def test_only_the_benchmarks_rules_call_the_wide_middle_right():
    mask = boxes((40, 60, 80, 130))
    assert words(mask)["location"] == "center"
    assert words(mask, BENCHMARK)["location"] == "right"


def test_a_place_is_named_once_by_plain_rules_and_for_every_part_by_the_benchmarks():
    mask = boxes((45, 60, 55, 70), (45, 80, 55, 90), (5, 5, 15, 15))
    assert words(mask)["location"] == "top left, center"
    assert words(mask, BENCHMARK)["location"] == "top left, center, center"


@pytest.mark.parametrize("flip", ["horizontal", "vertical"])
def test_plain_words_of_a_flipped_mask_are_the_flipped_words(flip):
    rng = np.random.default_rng(0)
    for _ in range(20):
        top, left = rng.integers(0, (90, 120))
        mask = boxes((top, left, top + 25, left + 31))
        turned = mask[:, ::-1] if flip == "horizontal" else mask[::-1]
        assert words(turned)["location"] == mirror_prompt(words(mask)["location"], **{flip: True})
        assert words(turned) | {"location": ""} == words(mask) | {"location": ""}


def test_words_do_not_depend_on_the_resolution():
    mask = boxes((40, 30, 80, 90), (100, 120, 110, 140))
    large = mask.repeat(3, axis=0).repeat(3, axis=1)
    assert words(large) == words(mask)


@pytest.mark.parametrize(
    ("draw", "shape"),
    [
        (lambda r, c: (r - 60) ** 2 + (c - 80) ** 2 < 30**2, "round"),
        (lambda r, c: (r - 60) ** 2 + (c - 80) ** 2 < 15**2, "circle"),
        (lambda r, c: ((r - 60) / 20) ** 2 + ((c - 80) / 40) ** 2 < 1, "oval"),
        (lambda r, c: (abs(r - 60) < 20) & (abs(c - 80) < 20), "square"),
        (lambda r, c: (abs(r - 60) < 10) & (abs(c - 80) < 20), "rectangular"),
        (lambda r, c: (c - 40 > 0) & (r - 30 > c - 40) & (r < 100), "triangular"),
        (lambda r, c: ((abs(r - 60) < 5) & (abs(c - 80) < 40)) | ((abs(c - 80) < 5) & (abs(r - 60) < 40)), "irregular"),
    ],
)
def test_plain_rules_name_shapes_as_people_do(draw, shape):
    assert words(draw(*np.mgrid[: SIZE[0], : SIZE[1]]))["shape"] == shape


def test_colour_is_the_median_inside_the_mask_alone():
    picture = np.zeros((*SIZE, 3))
    mask = boxes((10, 10, 30, 30))
    picture[mask] = (0.1, 0.8, 0.1)
    picture[12:15, 12:15] = 1
    found = describe(mask, picture)
    assert found is not None
    assert found.colour == "green"


def test_every_word_is_in_the_vocabulary():
    rng = np.random.default_rng(0)
    for rules in RULES.values():
        for _ in range(30):
            mask = np.kron(rng.random((6, 8)) < 0.15, np.ones((20, 20))).astype(bool)
            if mask.any():
                found = words(mask, rules, rng.random(3))
                assert found["number"] in NUMBERS
                assert set(found["size"].split(", ")) <= set(SIZES)
                assert set(found["location"].split(", ")) <= set(PLACES)
                assert found["shape"] in SHAPES
                assert found["colour"] in COLOURS


def test_rules_are_found_by_name_and_every_threshold_is_a_number():
    assert find_rules("plain") is PLAIN
    with pytest.raises(PromptError, match=r"No attribute rules named 'plan'\. Did you mean 'plain'\?"):
        find_rules("plan")
    assert all(isinstance(value, bool | int | float) for value in asdict(BENCHMARK).values())
    assert [field.name for field in fields(BENCHMARK)] == list(asdict(PLAIN))


def test_the_benchmarks_words_come_back(shared):
    """The whole comparison is experiments/benchmarks/attributes.py; these are the first training records."""
    import json

    from vesalius.imaging import read_image, read_mask

    root = shared / "data/segmentation/kvasir_polyp"
    records = json.loads((root / "anns/train.json").read_text())[:40]
    same = 0
    for record in records:
        picture = read_image(root / "images" / record["img_name"]).slices()[0].rgb
        found = describe(read_mask(root / "masks" / record["mask_name"]), picture, BENCHMARK)
        assert found is not None
        end = f"located in {found.location} of the image"
        prompt = record["prompts"]["p6"]
        same += prompt.startswith(f"{found.number} {found.size} ") and prompt.endswith(f", {end}")
    assert same >= 38
