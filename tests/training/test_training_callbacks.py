import dataclasses
from types import SimpleNamespace

import pytest
import torch

from vesalius.errors import ConfigError
from vesalius.models.checkpoint_file import read_notes
from vesalius.models.checkpoints import load_model
from vesalius.training.callbacks import History, KeepBest, WeightAverage
from vesalius.training.config import TrainConfig
from vesalius.training.fit import fit

pytestmark = pytest.mark.slow

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


def trainer(score: float, epoch: int = 0, *, main: bool = True) -> SimpleNamespace:
    metrics = {"val_dice": torch.tensor(score), "val_loss": torch.tensor(0.5)}
    return SimpleNamespace(callback_metrics=metrics, current_epoch=epoch, is_global_zero=main)


def keep(build_tiny, tmp_path, notes=None) -> KeepBest:
    return KeepBest(build_tiny("pocket"), tmp_path / "model.safetensors", notes or {}, "val_dice")


def test_only_a_better_score_is_kept(build_tiny, tmp_path):
    best, kept = keep(build_tiny, tmp_path, {"seed": 3}), []
    for epoch, score in enumerate([0.5, 0.4, 0.5, 0.625]):
        best.on_validation_epoch_end(trainer(score, epoch), None)
        kept.append(read_notes(best.path)["epoch"])
    assert kept == [0, 0, 0, 3]
    assert read_notes(best.path) == {"seed": 3, "val_dice": 0.625, "epoch": 3}


def test_the_last_can_be_kept_instead(build_tiny, tmp_path):
    last = KeepBest(build_tiny("pocket"), tmp_path / "model.safetensors", {}, "val_dice", "last")
    for epoch, score in enumerate([0.5, 0.25]):
        last.on_validation_epoch_end(trainer(score, epoch), None)
    assert read_notes(last.path) == {"val_dice": 0.25, "epoch": 1}
    assert last.score == 0.25


def test_a_first_score_of_0_is_kept(build_tiny, tmp_path):
    best = keep(build_tiny, tmp_path)
    best.on_validation_epoch_end(trainer(0.0), None)
    assert best.path.is_file()


def test_only_one_process_writes(build_tiny, tmp_path):
    best = keep(build_tiny, tmp_path)
    best.on_validation_epoch_end(trainer(0.5, main=False), None)
    assert best.score == 0.5
    assert not best.path.exists()


def test_its_score_survives_a_break(build_tiny, tmp_path):
    first, second = (keep(build_tiny, tmp_path) for _ in range(2))
    first.on_validation_epoch_end(trainer(0.75), None)
    second.load_state_dict(first.state_dict())
    assert second.score == 0.75
    first.path.unlink()
    with pytest.raises(ConfigError, match=r"model\.safetensors: the run's best weights are gone; .*--overwrite"):
        second.load_state_dict(first.state_dict())


@pytest.mark.parametrize("epochs", [0, 1])
def test_a_loss_that_is_no_number_ends_the_run_and_says_what_is_left(build_tiny, tmp_path, epochs):
    best, broken = keep(build_tiny, tmp_path), trainer(0.5, epochs)
    for epoch in range(epochs):
        best.on_validation_epoch_end(trainer(0.5, epoch), None)
    broken.callback_metrics["val_loss"] = torch.tensor(torch.nan)
    kept = "the best weights before it are kept" if epochs else "no weights before it could be kept"
    with pytest.raises(ConfigError, match=f"the validation loss of epoch {epochs + 1} is nan; {kept}"):
        best.on_validation_epoch_end(broken, None)


def train(history: History, *, first: int, epochs: int) -> None:
    metrics = {"train_loss": 0.5, "val_loss": 0.25, "val_dice": 0.75, "other": 1.0}
    optimizer = SimpleNamespace(param_groups=[{"lr": 0.01}, {"lr": 0.1}])
    trainer = SimpleNamespace(
        current_epoch=first, callback_metrics=metrics, optimizers=[optimizer], is_global_zero=True, global_step=4
    )
    history.on_train_start(trainer, None)
    for epoch in range(first, first + epochs):
        trainer.current_epoch, trainer.global_step = epoch, 4 * (epoch + 1)
        history.on_train_epoch_end(trainer, None)


def test_every_epoch_is_a_row_and_a_resumed_run_adds_to_them(tmp_path):
    path = tmp_path / "run/metrics.csv"
    train(History(path, "val_dice"), first=0, epochs=2)
    train(History(path, "val_dice"), first=2, epochs=1)
    assert path.read_text().splitlines() == [
        "epoch,step,learning_rate,train_loss,val_loss,val_dice",
        "0,4,0.1,0.5,0.25,0.75",
        "1,8,0.1,0.5,0.25,0.75",
        "2,12,0.1,0.5,0.25,0.75",
    ]


def test_epochs_after_the_state_that_is_resumed_are_forgotten(tmp_path):
    path = tmp_path / "metrics.csv"
    train(History(path, "val_dice"), first=0, epochs=3)
    train(History(path, "val_dice"), first=1, epochs=1)
    assert [row.split(",")[0] for row in path.read_text().splitlines()] == ["epoch", "0", "1"]


def test_a_new_run_begins_anew(tmp_path):
    train(History(tmp_path / "metrics.csv", "val_dice"), first=0, epochs=3)
    train(History(tmp_path / "metrics.csv", "val_dice"), first=0, epochs=1)
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 2
