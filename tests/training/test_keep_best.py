from types import SimpleNamespace

import torch

from vesalius.models.checkpoint_file import read_notes
from vesalius.training.callbacks import KeepBest


def trainer(score: float, epoch: int = 0, *, main: bool = True) -> SimpleNamespace:
    metrics = {"val_dice": torch.tensor(score)}
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
    first.score = 0.7
    second.load_state_dict(first.state_dict())
    assert second.score == 0.7
