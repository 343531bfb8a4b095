import logging

import numpy as np
import pytest
from onnx.checker import ValidationError

from vesalius.data.datasets import SegmentationDataset
from vesalius.errors import ModelError
from vesalius.export import tracing as quantising
from vesalius.export.tracing import CalibrationReader, check_exportable, quantise, trace_model


def test_a_model_has_three_graphs(build_tiny):
    tracings = trace_model(build_tiny("pocket"))
    assert list(tracings) == ["image", "decoder", "text"]
    assert tracings["image"].inputs == ["pixel_values"]
    assert tracings["text"].inputs == ["input_ids", "attention_mask"]
    assert tracings["decoder"].inputs == [
        "image_embedding", *(f"image_tap{index}" for index in range(6)), "text_embedding",
    ]  # fmt: skip


def test_a_model_that_does_not_read_has_no_graph_for_prompts(build_tiny):
    assert list(trace_model(build_tiny("unet_d"))) == ["image", "decoder"]


def test_parts_keep_their_names(build_tiny):
    inputs = trace_model(build_tiny("clipseg_b"))["decoder"].inputs
    assert {"image_tap0", "image_part0_tap0", "text_embedding"} <= set(inputs)


def test_a_model_that_resizes_images_itself_is_refused(build_tiny):
    with pytest.raises(ModelError, match="ensemble_c takes images of any size, and a graph takes one size only"):
        check_exportable(build_tiny("ensemble_c"))


@pytest.fixture
def train(tiny_dataset):
    return SegmentationDataset(tiny_dataset, "train")


def read(reader):
    return list(iter(reader.get_next, None))


def test_calibration_gives_a_graph_what_it_takes_image_by_image(build_tiny, train):
    model = build_tiny("clipseg")
    pixels = read(CalibrationReader(model, train, "image", ["pixel_values"]))
    features = read(CalibrationReader(model, train, "decoder", ["image_tap2", "text_embedding"]))
    assert [arrays["pixel_values"].shape for arrays in pixels] == [(1, 3, 64, 64)] * 4
    assert [list(arrays) for arrays in features] == [["image_tap2", "text_embedding"]] * 4


@pytest.mark.parametrize("images", [1, 2, 3])
def test_calibration_images_are_spread_over_the_data_set(build_tiny, train, monkeypatch, images):
    model, last = build_tiny("unet_d"), len(train) - 1
    expected = [model.spec.prepare(train[index].image[None]).numpy() for index in (0, last)]
    monkeypatch.setattr(quantising, "CALIBRATION_IMAGES", images)
    arrays = [each["pixel_values"] for each in read(CalibrationReader(model, train, "image", ["pixel_values"]))]
    assert len(arrays) == images
    np.testing.assert_array_equal(arrays[0], expected[0])
    if images > 1:
        np.testing.assert_array_equal(arrays[-1], expected[1])


@pytest.mark.parametrize("disabled", [logging.NOTSET, logging.WARNING, logging.ERROR])
def test_what_was_quiet_before_a_graph_is_quantised_is_quiet_afterwards(build_tiny, train, tmp_path, disabled):
    logging.disable(disabled)
    try:
        with pytest.raises(ValidationError, match=r"none\.onnx"):
            quantise(tmp_path / "none.onnx", "text", build_tiny("clipseg"), train)
        assert logging.root.manager.disable == disabled
    finally:
        logging.disable(logging.NOTSET)
