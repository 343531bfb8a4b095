import pytest

from vesalius.errors import ModelError
from vesalius.export.tracing import check_exportable, trace_model


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
