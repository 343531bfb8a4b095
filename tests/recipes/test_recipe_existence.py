import pytest
import torch
from rich.progress import Progress

from vesalius.models.text_cache import TextCache


@pytest.fixture(scope="module")
def recipe(import_script):
    return import_script("recipes/pocket", "existence")


@torch.no_grad()
def test_calibration_makes_the_score_as_sure_as_it_is_right(recipe, build_tiny, tiny_dataset):
    model = build_tiny("pocket")
    model.existence.judge[-1].bias.add_(8)
    with Progress(disable=True) as bar:
        asked = recipe.summon(model, tiny_dataset, "train", bar).ask_all(50)
    texts = TextCache(model)
    recipe.calibrate(model, asked, texts)
    odds, true = recipe.answer(model, asked, texts)
    assert (torch.sigmoid(odds).mean() - true.mean()).abs() < 0.02


@pytest.mark.filterwarnings("error")
def test_a_set_that_the_catalog_does_not_know_is_asked_its_own_prompts(recipe, build_tiny, write_dataset):
    root = write_dataset("brain_absent", prompts={"p1": ["brain", "a brain"]})
    with Progress(disable=True) as bar:
        witness = recipe.summon(build_tiny("pocket"), root, "val", bar)
    assert {question.prompt for question in witness.ask_all(20)} == {"brain", "a brain"}
