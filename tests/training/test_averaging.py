import dataclasses
from types import SimpleNamespace

import pytest
import torch

from vesalius.models.checkpoints import load_model
from vesalius.training.callbacks import WeightAverage
from vesalius.training.config import TrainConfig
from vesalius.training.fit import fit

CONFIG = TrainConfig(learning_rate=1e-2, batch_size=1, max_epochs=2, freeze=("text",))


@torch.no_grad()
def step(average: WeightAverage, trainer: SimpleNamespace, value: float) -> None:
    """A step of the optimiser that sets one weight."""
    average.model.outline.to_coarse_logits.bias.fill_(value)
    trainer.global_step += 1
    average.on_train_batch_end(trainer)


@pytest.fixture
def running(build_tiny) -> tuple[WeightAverage, SimpleNamespace]:
    average, trainer = WeightAverage(build_tiny("pocket").freeze("text"), 0.5), SimpleNamespace(global_step=0)
    with torch.no_grad():
        average.model.outline.to_coarse_logits.bias.fill_(1.0)
    average.on_train_start(trainer, None)
    return average, trainer


def test_it_is_an_exponential_average_that_forgets_faster_at_first(running):
    average, trainer = running
    expected = 1.0
    for count, value in enumerate([2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0], start=1):
        step(average, trainer, value)
        kept = min(0.5, (1 + count) / (10 + count))
        expected = kept * expected + (1 - kept) * value
    average.on_validation_start(trainer, None)
    assert average.model.outline.to_coarse_logits.bias.item() == pytest.approx(expected, rel=1e-5)
    average.on_validation_end(trainer, None)
    assert average.model.outline.to_coarse_logits.bias.item() == 1024.0


def test_batches_without_a_step_do_not_count(running):
    average, trainer = running
    step(average, trainer, 2.0)
    before = average.state_dict()["average"]["outline.to_coarse_logits.bias"].clone()
    average.on_train_batch_end(trainer)
    assert average.state_dict()["average"]["outline.to_coarse_logits.bias"].equal(before)


def test_it_leaves_frozen_encoders_out(running):
    average, _ = running
    names = average.state_dict()["average"]
    assert not any(name.startswith("sentences.") for name in names)
    assert any(name.endswith("running_var") for name in names)


def test_the_average_is_what_a_run_keeps(build_tiny, tiny_dataset, tmp_path):
    model = build_tiny("pocket")
    fit(model, [tiny_dataset], tmp_path, dataclasses.replace(CONFIG, ema_decay=0.9, max_epochs=1))
    kept = load_model(tmp_path).state_dict()["outline.to_coarse_logits.weight"]
    average = torch.load(tmp_path / "last.ckpt", weights_only=True)["callbacks"]["WeightAverage"]["average"]
    assert kept.equal(average["outline.to_coarse_logits.weight"])
    assert not kept.equal(model.state_dict()["outline.to_coarse_logits.weight"])
