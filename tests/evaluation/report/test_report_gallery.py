import io
import json
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from vesalius.data.datasets import SegmentationDataset
from vesalius.errors import ConfigError, DataError
from vesalius.evaluation.report.gallery import (
    DIMMED,
    ERROR_COLOURS,
    LARGEST,
    OPAQUE,
    SIDE,
    TILES,
    choose_examples,
    draw_gallery,
    draw_tiles,
    read_gallery,
    write_gallery,
)
from vesalius.evaluation.segmentation import evaluate


@pytest.fixture(scope="module")
def dataset(tiny_dataset):
    return SegmentationDataset(tiny_dataset, "test")


@pytest.fixture(scope="module")
def gallery(build_tiny, dataset):
    model = build_tiny("pocket")
    return draw_gallery(model, dataset, choose_examples(evaluate(model, dataset).rows, 2))


@pytest.mark.slow
def test_pictures_show_the_answer_that_was_scored(build_tiny, dataset, gallery):
    model = build_tiny("pocket")
    for shown in gallery:
        row = shown.example.row
        sample = next(each for each in (dataset[n] for n in range(2)) if each.record.img_name == row.image)
        found = model(sample.image[None], [row.prompt])[0, 0].detach() > 0
        assert int(found.sum()) == row.predicted_pixels
        rgb, truth = sample.image.numpy().transpose(1, 2, 0), sample.mask[0].numpy() > 0.5
        assert shown.tiles == draw_tiles(rgb, truth, found.numpy())


def test_a_model_that_reads_no_text_is_drawn_too(build_tiny, dataset):
    model = build_tiny("unet_d")
    examples = choose_examples(evaluate(model, dataset).rows, 1)
    assert len(draw_gallery(model, dataset, examples)) == len(examples) == 2


def test_what_was_written_comes_back(gallery, tmp_path):
    write_gallery(gallery, tmp_path / "pictures.json")
    assert read_gallery(tmp_path / "pictures.json") == gallery


def test_files_that_call_false_positives_false_alarms_are_read(gallery, tmp_path):
    path = tmp_path / "pictures.json"
    write_gallery([replace(each, example=replace(each.example, kind="false positive")) for each in gallery], path)
    path.write_text(path.read_text().replace("false positive", "false alarm"))
    assert {each.example.kind for each in read_gallery(path)} == {"false positive"}


def test_without_a_file_there_are_no_pictures(tmp_path):
    assert read_gallery(tmp_path / "pictures.json") == []


def test_rows_of_other_data_cannot_be_drawn(build_tiny, dataset, make_row):
    examples = choose_examples([make_row("test_0.png", "p1", 0.5, prompt="polyp", true_pixels=3)], 1)
    with pytest.raises(DataError, match=r"no record of 'test_0.png' that asks 'polyp' and has a mask of 3 pixels"):
        draw_gallery(build_tiny("unet_d"), dataset, examples)


def test_of_several_records_of_one_image_the_one_with_the_mask_is_drawn(build_tiny, write_dataset):
    root = write_dataset("twice")
    path = root / "anns" / "test.json"
    records = json.loads(path.read_text())
    path.write_text(json.dumps([{**records[0], "mask_name": "test_1.png"}, *records]))
    dataset = SegmentationDataset(root, "test")
    rows = [row for row in evaluate(build_tiny("unet_d"), dataset, ["p1"]).rows if row.image == "test_0.png"]
    (example,) = choose_examples(rows[1:], 1)
    (shown,) = draw_gallery(build_tiny("unet_d"), dataset, [example])
    sample = dataset[1]
    empty = np.zeros(sample.mask.shape[1:], bool)
    drawn = draw_tiles(sample.image.numpy().transpose(1, 2, 0), sample.mask[0].numpy() > 0.5, empty)
    assert shown.tiles["truth"] == drawn["truth"]


def break_kind(content):
    content["pictures"][0]["kind"] = "<script>"


def break_tile(content):
    content["pictures"][0]["tiles"]["image"] = '"><script>'


def break_row(content):
    content["pictures"][0]["row"]["colour"] = "red"


@pytest.mark.parametrize("damage", [break_kind, break_tile, break_row])
def test_a_damaged_file_is_refused(gallery, tmp_path, damage):
    path = tmp_path / "pictures.json"
    write_gallery(gallery, path)
    content = json.loads(path.read_text())
    damage(content)
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"pictures.json: not the pictures of an evaluation .*remove it"):
        read_gallery(path)


@pytest.mark.parametrize("text", ["[]", "no JSON", '{"pictures": [1]}', "{}"])
def test_a_file_of_something_else_is_refused(tmp_path, text):
    (tmp_path / "pictures.json").write_text(text)
    with pytest.raises(DataError, match="not the pictures"):
        read_gallery(tmp_path / "pictures.json")


def test_a_file_too_large_for_a_page_is_refused(tmp_path):
    path = tmp_path / "pictures.json"
    with path.open("wb") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(DataError, match="bytes at most"):
        read_gallery(path)


@pytest.fixture
def ranked(make_row):
    """Nine images whose mean Dice rises with their number, each asked twice."""
    return [
        make_row(f"{n}.png", family, n / 10 + shift) for n in range(9) for family, shift in (("p0", 0), ("p1", 0.1))
    ]


def images_of(examples, kind):
    return [example.row.image for example in examples if example.kind == kind]


def test_images_are_ranked_by_their_mean_and_shown_worst_first(ranked):
    examples = choose_examples(ranked, 2)
    assert images_of(examples, "worst") == ["0.png", "1.png"]
    assert images_of(examples, "median") == ["3.png", "4.png"]
    assert images_of(examples, "best") == ["8.png", "7.png"]


def test_the_choice_does_not_depend_on_the_order_of_rows(ranked):
    assert choose_examples(ranked, 3) == choose_examples(sorted(ranked, key=lambda row: -row.dice), 3)


def test_the_answer_nearest_to_the_images_mean_is_shown(make_row):
    rows = [make_row("a.png", "p1", score, variant=n) for n, score in enumerate((0.1, 0.6, 0.9))]
    (example,) = choose_examples(rows, 1)
    assert example.row.dice == 0.6
    assert (example.lowest, example.highest, example.answers) == (0.1, 0.9, 3)
    assert example.mean == pytest.approx(1.6 / 3)


@pytest.mark.parametrize(
    ("images", "shown"), [(1, ["worst"]), (2, ["worst", "best"]), (3, ["worst", "median", "best"])]
)
def test_an_image_is_shown_once_however_few_there_are(make_row, images, shown):
    rows = [make_row(f"{n}.png", "p1", n / 10) for n in range(images)]
    examples = choose_examples(rows, 3)
    assert [example.kind for example in examples] == shown


def test_images_without_the_target_are_false_positives_by_what_was_marked_and_never_best(make_row):
    rows = [make_row(f"{n}.png", "p1", 0.5) for n in range(3)]
    rows += [make_row("silent.png", "p1", 1.0, true_pixels=0, predicted_pixels=0)]
    rows += [make_row("loud.png", f"p{n}", 0.0, true_pixels=0, predicted_pixels=n * 10) for n in range(3)]
    rows += [make_row("soft.png", "p1", 0.0, true_pixels=0, predicted_pixels=5)]
    examples = choose_examples(rows, 3)
    assert images_of(examples, "false positive") == ["loud.png", "soft.png"]
    assert next(each for each in examples if each.kind == "false positive").row.family == "p2"
    assert "silent.png" not in {example.row.image for example in examples}


def test_none_are_chosen_if_none_are_wanted(ranked):
    assert choose_examples(ranked, 0) == []


@pytest.mark.parametrize("each", [-1, 7])
def test_more_than_a_page_holds_is_refused(each):
    with pytest.raises(ConfigError, match=f"expected 0 to 6, got {each}"):
        choose_examples([], each)


def open_tile(picture: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"), np.float32)


def quarters() -> tuple[np.ndarray, np.ndarray]:
    """A truth of the upper half, a prediction of the left half."""
    truth, found = np.zeros((2, 64, 64), bool)
    truth[:32] = True
    found[:, :32] = True
    return truth, found


def test_each_kind_of_error_has_its_colour():
    tile = open_tile(draw_tiles(np.full((64, 64, 3), 0.5, np.float32), *quarters())["errors"])
    grey = 0.5 * 255 * DIMMED
    places = {"both": (16, 16), "only predicted": (48, 16), "missed": (16, 48)}
    for kind, place in places.items():
        expected = grey * (1 - OPAQUE) + np.array(ERROR_COLOURS[kind]) * OPAQUE
        np.testing.assert_allclose(tile[place], expected, atol=6)  # JPEG
    np.testing.assert_allclose(tile[48, 48], grey, atol=6)


def test_errors_differ_in_lightness_for_grey_printers():
    grey = [np.dot(colour, (0.299, 0.587, 0.114)) for colour in ERROR_COLOURS.values()]
    assert min(abs(one - other) for one, other in combinations([*grey, 255 * DIMMED / 2], 2)) > 30


def test_the_first_tile_is_the_image_and_the_others_are_drawn_on():
    tiles = draw_tiles(np.full((64, 64, 3), 0.5, np.float32), *quarters())
    assert tuple(tiles) == TILES
    assert np.ptp(open_tile(tiles["image"])) < 3
    assert all(np.ptp(open_tile(tiles[name])) > 50 for name in ("truth", "prediction"))


def test_large_images_are_scaled_down_and_small_ones_are_left():
    def size(shape):
        tiles = draw_tiles(np.zeros((*shape, 3), np.float32), np.zeros(shape, bool), np.ones(shape, bool))
        return {open_tile(tile).shape[:2] for tile in tiles.values()}

    assert size((2000, 1000)) == {(SIDE, SIDE // 2)}
    assert size((30, 20)) == {(30, 20)}
    assert size((3, 2000)) == {(1, SIDE)}
