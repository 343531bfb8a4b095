"""What is asked here is equality to the last bit, on one process and a CPU."""

import csv
import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from safetensors.torch import load_file

from vesalius.data.views import PromptMix
from vesalius.training.callbacks import KeepBest, NextEpoch
from vesalius.training.config import RENAMED, TrainConfig
from vesalius.training.fit import fit
from vesalius.training.runtime_options import RuntimeOptions

pytestmark = pytest.mark.slow

CONFIG = TrainConfig(
    learning_rate=1e-3, batch_size=1, max_epochs=3, freeze=("text",), prompts=PromptMix(paraphrases=0.3, absent=0.2)
)
EVERY_STEP = RuntimeOptions(save_minutes=1e-6)
WAYS = {
    "plateau": CONFIG,
    "averaged": dataclasses.replace(CONFIG, ema_decay=0.9, schedule="cosine"),
    "accumulated": dataclasses.replace(CONFIG, accumulate=2, schedule="one_cycle"),
}


def weights(out: Path) -> dict[str, torch.Tensor]:
    return torch.load(out / "last.ckpt", weights_only=True)["state_dict"]


def history(out: Path) -> list[list[str]]:
    return list(csv.reader((out / "metrics.csv").read_text(encoding="utf-8").splitlines()))


def check_same(one: Path, other: Path) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    assert all(value.equal(second[name]) for name, value in first.items())
    assert history(one) == history(other)
    best, again = (load_file(out / "model.safetensors") for out in (one, other))
    assert best.keys() == again.keys()
    assert all(value.equal(again[name]) for name, value in best.items())


QUICK = ("unet_d", "averaged", 1)
"""For every run of the tests: the way with most to remember, of a model that takes no time to save."""
CASES = [
    *itertools.product(["pocket"], WAYS, [0, 1, 3]),
    *itertools.product(["unet_d"], ["plateau"], [0, 1, 3]),
    ("unet_d", "accumulated", 1),
]


@pytest.mark.parametrize(
    ("name", "way", "step"),
    [QUICK, *(pytest.param(*case, marks=pytest.mark.slow) for case in CASES)],
)
def test_a_run_cut_inside_an_epoch_ends_as_if_it_had_not_been(
    build_tiny, tiny_dataset, tmp_path, monkeypatch, name, way, step
):
    def cut(callback: KeepBest, trainer: Trainer, module: LightningModule, batch: object, index: int) -> None:
        if (trainer.current_epoch, index) == (1, step):
            raise RuntimeError("power cut")

    config = WAYS[way]
    fit(build_tiny(name), [tiny_dataset], tmp_path / "unbroken", config)
    with monkeypatch.context() as patch:
        patch.setattr(KeepBest, "on_train_batch_start", cut, raising=False)
        with pytest.raises(RuntimeError, match="power cut"):
            fit(build_tiny(name), [tiny_dataset], tmp_path / "resumed", config, EVERY_STEP)
    resume = dataclasses.replace(EVERY_STEP, resume=True)
    fit(build_tiny(name), [tiny_dataset], tmp_path / "resumed", config, resume)
    check_same(tmp_path / "unbroken", tmp_path / "resumed")


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize(
    ("hook", "step"),
    [("on_train_epoch_start", 4), ("on_train_batch_start", 5), ("on_validation_start", 6), ("on_train_end", 6)],
)
def test_a_run_of_some_steps_ends_the_same_wherever_it_was_cut(
    build_tiny, tiny_dataset, tmp_path, monkeypatch, hook, step, accumulate
):
    """Of four images, the sixth step lies inside the second epoch, or ends the third."""

    def cut(callback: KeepBest, trainer: Trainer, *_: object) -> None:
        if trainer.global_step >= step:
            raise RuntimeError("power cut")

    config = dataclasses.replace(CONFIG, max_epochs=9, max_steps=6, accumulate=accumulate, min_epochs=9)
    fit(build_tiny("unet_d"), [tiny_dataset], tmp_path / "unbroken", config)
    with monkeypatch.context() as patch:
        patch.setattr(KeepBest, hook, cut, raising=False)
        with pytest.raises(RuntimeError, match="power cut"):
            fit(build_tiny("unet_d"), [tiny_dataset], tmp_path / "resumed", config, EVERY_STEP)
    fit(build_tiny("unet_d"), [tiny_dataset], tmp_path / "resumed", config, EVERY_STEP)
    check_same(tmp_path / "unbroken", tmp_path / "resumed")
    assert history(tmp_path / "resumed")[-1][1] == "6"


def test_a_run_that_stopped_early_is_over(build_tiny, tiny_dataset, tmp_path):
    still = {"learning_rate": 1e-12, "freeze_batch_norm": True}
    config = dataclasses.replace(CONFIG, max_epochs=9, min_epochs=1, patience=1, **still)
    first = fit(build_tiny("unet_d"), [tiny_dataset], tmp_path, config)
    assert first.epochs == 2
    rows = history(tmp_path)
    again = fit(build_tiny("unet_d"), [tiny_dataset], tmp_path, config, RuntimeOptions(resume=True))
    assert (again.epochs, again.earlier) == (2, True)
    (tmp_path / "manifest.json").unlink()
    cut = fit(build_tiny("unet_d"), [tiny_dataset], tmp_path, config)
    assert (cut.epochs, cut.earlier, cut.score) == (2, False, first.score)
    assert history(tmp_path) == rows
    assert (tmp_path / "manifest.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_a_run_resumed_after_an_epoch_lowers_its_learning_rate_when_it_would_have(
    build_tiny, tiny_dataset, tmp_path, monkeypatch, epoch
):
    start = NextEpoch.on_train_epoch_start

    def cut(callback: NextEpoch, trainer: Trainer, module: LightningModule) -> None:
        if trainer.current_epoch == epoch:
            raise RuntimeError("power cut")
        start(callback, trainer, module)

    monkeypatch.setattr("vesalius.training.module.PLATEAU_PATIENCE", 1)
    config = TrainConfig(learning_rate=2e-8, batch_size=4, max_epochs=5, freeze_batch_norm=True)
    fit(build_tiny("unet_d"), [tiny_dataset], tmp_path / "unbroken", config)
    with monkeypatch.context() as patch:
        patch.setattr(NextEpoch, "on_train_epoch_start", cut)
        with pytest.raises(RuntimeError, match="power cut"):
            fit(build_tiny("unet_d"), [tiny_dataset], tmp_path / "resumed", config)
    fit(build_tiny("unet_d"), [tiny_dataset], tmp_path / "resumed", config, RuntimeOptions(resume=True))
    check_same(tmp_path / "unbroken", tmp_path / "resumed")
    assert [float(row[2]) for row in history(tmp_path / "resumed")[1:]] == pytest.approx([2e-8] * 3 + [2e-9] * 2, abs=0)


def give_old_names(path: Path) -> None:
    """Make the record of a run that of a version before settings were renamed and files of the data were compared."""
    notes = json.loads(path.read_text())
    notes["train"]["from"]["data"] = [each[:2] for each in notes["train"]["from"]["data"]]
    config = notes["train"]["from"]["config"]
    notes["train"]["from"]["config"] = {
        **{old: config.pop(new) for old, new in RENAMED.items()},
        **config,
    }
    path.write_text(json.dumps(notes))


@pytest.mark.parametrize("resume", [pytest.param(True, marks=pytest.mark.slow), False])
def test_a_run_begun_before_settings_were_renamed_goes_on(
    build_tiny, tiny_dataset, tmp_path, monkeypatch, capsys, resume
):
    def cut(callback: KeepBest, *_: object) -> None:
        raise RuntimeError("power cut")

    config = dataclasses.replace(CONFIG, ema_decay=0.9, beta2=0.9, encoder_lr_scale=0.5)
    fit(build_tiny("unet_d"), [tiny_dataset], tmp_path / "unbroken", config)
    with monkeypatch.context() as patch:
        patch.setattr(KeepBest, "on_train_end", cut, raising=False)
        with pytest.raises(RuntimeError, match="power cut"):
            fit(build_tiny("unet_d"), [tiny_dataset], tmp_path / "resumed", dataclasses.replace(config, max_epochs=1))
    if not resume:
        config = dataclasses.replace(config, max_epochs=1)
    give_old_names(tmp_path / "resumed" / "made.json")
    capsys.readouterr()
    fit(build_tiny("unet_d"), [tiny_dataset], tmp_path / "resumed", config, RuntimeOptions(resume=resume))
    assert "beta2 for momentum" in capsys.readouterr().err.replace("\n", " ")
    assert not RENAMED.keys() & json.loads((tmp_path / "resumed" / "made.json").read_text())["train"]["from"]["config"]
    if resume:
        check_same(tmp_path / "unbroken", tmp_path / "resumed")


RUN = """
import sys
from pathlib import Path
from vesalius.models import build_model
from vesalius.training.config import TrainConfig
from vesalius.training.fit import fit
from vesalius.training.runtime_options import RuntimeOptions
import torch
torch.set_num_threads(1)
torch.manual_seed(0)
data, out, resume = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "resume"
model = build_model("unet_d", image_size=64)
config = TrainConfig(learning_rate=1e-3, batch_size=1, max_epochs=4, ema_decay=0.9, max_steps=int(sys.argv[4]))
fit(model, [data], out, config, RuntimeOptions(resume=resume, save_minutes=1e-6))
"""


@pytest.mark.parametrize("max_steps", [-1, 14])
def test_a_killed_process_is_resumed_to_the_last_bit(tiny_dataset, tmp_path, max_steps):
    def start(out: str, *, resume: bool) -> subprocess.Popen[bytes]:
        arguments = [str(tiny_dataset), str(tmp_path / out), "resume" if resume else "start", str(max_steps)]
        return subprocess.Popen([sys.executable, "-c", RUN, *arguments], stderr=subprocess.DEVNULL)

    assert start("unbroken", resume=False).wait() == 0
    process, state = start("killed", resume=False), tmp_path / "killed" / "last.ckpt"
    while not (state.is_file() and len(history(state.parent)) >= 3):
        assert process.poll() is None, "the run was over before it was killed"
        time.sleep(0.005)
    time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert start("killed", resume=True).wait() == 0
    check_same(tmp_path / "unbroken", tmp_path / "killed")
