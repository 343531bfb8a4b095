import numpy as np
import pytest
import torch

from vesalius.console import progress_bar
from vesalius.data.datasets import SegmentationDataset
from vesalius.models.text_cache import TextCache


@pytest.fixture(scope="module")
def views(import_script):
    return import_script("benchmarks", "pocket_views")


@pytest.fixture
def model(build_tiny):
    return build_tiny("pocket")


@torch.no_grad()
def test_a_plain_look_is_what_the_model_says(views, model):
    image = torch.rand(1, 3, 40, 56)
    torch.testing.assert_close(
        views.look_at(model, image, "polyp", views.Look(), TextCache(model)), model(image, ["polyp"]).sigmoid()
    )


@torch.no_grad()
def test_a_flipped_look_is_that_at_the_flipped_image_turned_back(views, model):
    image, look = torch.rand(1, 3, 40, 56), views.Look(horizontal=True, vertical=True)
    expected = model(image.flip(2, 3), ["polyp at the bottom right"]).sigmoid().flip(2, 3)
    found = views.look_at(model, image, "polyp at the top left", look, TextCache(model))
    torch.testing.assert_close(found, expected)


@torch.no_grad()
def test_another_scale_is_another_working_size(views, model, build_tiny):
    larger = build_tiny("pocket", image_size=80)
    larger.load_state_dict(model.state_dict())
    image = torch.rand(1, 3, 40, 56)
    found = views.look_at(model, image, "polyp", views.Look(1.25), TextCache(model))
    torch.testing.assert_close(found, larger(image, ["polyp"]).sigmoid())


def test_every_way_is_tried_on_every_image(views, model, tiny_dataset):
    with progress_bar() as bar:
        found = views.measure(model, SegmentationDataset(tiny_dataset, "val"), [0, 1], bar)
    assert (found.title, found.dice.shape, found.seconds.shape) == ("Kvasir-SEG", (2, 4), (2, 4))
    assert (found.seconds > 0).all()


def test_the_page_has_gains_and_times_beside_one_look(views):
    dice = np.array([[0.8, 0.82, 0.8, 0.7], [0.6, 0.62, 0.6, 0.5]])
    page = views.page([views.Found("Set", dice, np.array([[1.0, 2, 4, 3]] * 2))], "pocket")
    assert "| Set (2) |" in page
    assert "| once | 0.700 | – | 1.0 × |" in page
    assert "| and flipped left to right | 0.720 | 0.020 [0.020, 0.020] | 2.0 × |" in page
    assert "| at 0.8, 1 and 1.25 times the size | 0.600 | -0.100 [-0.100, -0.100] | 3.0 × |" in page
