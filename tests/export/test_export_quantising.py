import pytest

from vesalius.data.datasets import SegmentationDataset
from vesalius.export import tracing as quantising
from vesalius.export.tracing import CalibrationReader


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
    monkeypatch.setattr(quantising, "CALIBRATION_IMAGES", images)
    assert len(read(CalibrationReader(build_tiny("unet_d"), train, "image", ["pixel_values"]))) == images
