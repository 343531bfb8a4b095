import json
from dataclasses import replace

import numpy as np
import pytest

from vesalius.data.datasets import SegmentationDataset
from vesalius.errors import DataError
from vesalius.evaluation.report.gallery import (
    LARGEST,
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
