"""A run from its first epoch to its manifest, whatever it trains."""

import dataclasses
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pytorch_lightning import Callback
from pytorch_lightning.utilities import rank_zero_only

from vesalius.data.fingerprints import fingerprints_path
from vesalius.data.loading import ResumableLoader
from vesalius.errors import ConfigError, DataError
from vesalius.files import parse_json, read_json, to_json, write_json
from vesalius.folders import Claim, read_notes, tell_differences
from vesalius.models.checkpoint_file import CHECKPOINT_NAME
from vesalius.models.encoder import VisionLanguageEncoder
from vesalius.training.averaging import WeightAverage
from vesalius.training.config import FitConfig
from vesalius.training.frozen import fingerprint_state
from vesalius.training.history import History
from vesalius.training.keep_best import KeepBest
from vesalius.training.lean_module import LeanModule, Model
from vesalius.training.lora import merge_lora
from vesalius.training.manifest import fingerprint
from vesalius.training.progress import quiet_lightning
from vesalius.training.resuming import NextEpoch
from vesalius.training.running import Running
from vesalius.training.trainer import LAST, build_trainer

HISTORY = "metrics.csv"
MANIFEST = "manifest.json"
SCORE = "score"
"""Field of the manifest: what the best weights came to in validation."""
FILES = (CHECKPOINT_NAME, fingerprints_path(Path(CHECKPOINT_NAME)).name, HISTORY, LAST, MANIFEST)
"""What a run leaves in its folder, beside stored features and loggers' folders."""


@dataclass(frozen=True)
class Finished:
    """A run that came to its end earlier."""

    score: float
    """Of its best weights."""
    epochs: int


MAY_CHANGE = ("weights ", "config.max_epochs ", "config.max_steps ")
"""Of what a run began with, when it is resumed."""


def begin(
    model: VisionLanguageEncoder, data: Sequence[Path], out: Path, config: FitConfig, running: Running, command: str
) -> Running | Finished:
    """See what the folder of a run holds, before anything is computed.

    Args:
        model: As training begins with it.
        data: Folders of data.
        out: Folder of the run.
        config: What decides the result.
        running: What does not.
        command: "train" or "train-naming".

    Returns:
        How to go on, resuming what the same run has left there; or what came of it, if it is finished.

    Raises:
        ConfigError: If a run is to be resumed that has left no state.
        OutputError: If the folder holds another run, or other results.
    """
    if running.resume and not (out / LAST).is_file():
        raise ConfigError(f"{out / LAST}: nothing to resume; start the run without --resume.")
    same = rank_zero_only(_claim, default=True)(model, data, out, config, running, command)
    if running.overwrite or not same:
        return running
    finished = None if running.resume else _read_finished(out)
    return finished or dataclasses.replace(running, resume=running.resume or (out / LAST).is_file())


def _claim(
    model: VisionLanguageEncoder, data: Sequence[Path], out: Path, config: FitConfig, running: Running, command: str
) -> bool:
    """Whether the folder holds this very run."""
    origin = {
        "model": dataclasses.asdict(model.recipe),
        "weights": fingerprint_state(model.state_dict().items())[:16],
        "data": [[str(root.resolve()), fingerprint(root)] for root in data],
        "config": config.to_dict(),
    }
    if running.resume:
        _check_resumed(out, command, origin)
        return True
    if running.overwrite and command in read_notes(out):
        for name in FILES:
            (out / name).unlink(missing_ok=True)
    return Claim(out, command, origin, FILES, running.overwrite).make()


def _check_resumed(out: Path, command: str, origin: Mapping[str, object]) -> None:
    """A run may go on for longer, and from its own weights: what is held still is compared when its state is read."""
    note = read_notes(out).get(command)
    if note is None:  # left by a version that wrote none
        return
    before, now = note["from"], parse_json(to_json(origin), "origin")
    changes = [each for each in tell_differences(before, now) if not each.startswith(MAY_CHANGE)]
    if changes:
        raise ConfigError(f"{out}: the run to resume was begun with other settings ({'; '.join(changes[:3])}).")


def _read_finished(out: Path) -> Finished | None:
    try:
        manifest = read_json(out / MANIFEST)
        epochs = len((out / HISTORY).read_text(encoding="utf-8").splitlines()) - 1
        score = manifest.get(SCORE) if isinstance(manifest, dict) else None
    except (DataError, OSError, UnicodeDecodeError):
        return None
    there = isinstance(score, float) and (out / CHECKPOINT_NAME).is_file()
    return Finished(score, epochs) if there and isinstance(score, float) else None


def train_module(
    module: LeanModule[Model],
    loaders: tuple[ResumableLoader, ResumableLoader],
    best: KeepBest,
    out: Path,
    config: FitConfig,
    running: Running,
) -> int:
    """Train, keep the best weights, merge LoRA's changes, and write the run's table, state and manifest.

    Args:
        module: What trains.
        loaders: Batches to train on, and to validate on.
        best: Keeps the weights.
        out: Folder of the run.
        config: What decides the result.
        running: What does not.

    Returns:
        Passes over the training data.
    """
    train, val = loaders
    callbacks: list[Callback] = [best, NextEpoch(train, val, config.seed), History(out / HISTORY, best.monitor)]
    if config.average:
        callbacks.append(WeightAverage(module.model, config.average))
    started = time.monotonic()
    with quiet_lightning():
        trainer = build_trainer(out, config, running, callbacks, batches=len(train), monitor=best.monitor)
        for logger in trainer.loggers:
            logger.log_hyperparams(config.to_dict())
        checkpoint = out / LAST if running.resume else None
        with _passing_interrupts():
            trainer.fit(module, train, val, ckpt_path=checkpoint, weights_only=True)
    merge_lora(module.model)
    if trainer.is_global_zero:
        seconds = round(time.monotonic() - started, 1)
        write_json(out / MANIFEST, best.notes | {best.monitor: best.score, SCORE: best.score, "seconds": seconds})
    return trainer.current_epoch


@contextmanager
def _passing_interrupts() -> Iterator[None]:
    """Let Ctrl-C be seen by whoever asked for the run, and go on working; Lightning turns it off and exits with 1."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):
            signal.signal(signal.SIGINT, handler)
            raise KeyboardInterrupt from stop
        raise
