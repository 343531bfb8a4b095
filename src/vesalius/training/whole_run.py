"""A run from its first epoch to its manifest, whatever it trains."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pytorch_lightning import Callback

from vesalius.data.loading import ResumableLoader
from vesalius.errors import ConfigError
from vesalius.files import write_json
from vesalius.training.averaging import WeightAverage
from vesalius.training.config import FitConfig
from vesalius.training.history import History
from vesalius.training.keep_best import KeepBest
from vesalius.training.lean_module import LeanModule, Model
from vesalius.training.lora import merge_lora
from vesalius.training.progress import quiet_lightning
from vesalius.training.resuming import NextEpoch
from vesalius.training.running import Running
from vesalius.training.trainer import LAST, build_trainer

HISTORY = "metrics.csv"
MANIFEST = "manifest.json"


def check_resumable(out: Path, running: Running) -> None:
    """Complain early.

    Raises:
        ConfigError: If a run is to be resumed that has left no state.
    """
    if running.resume and not (out / LAST).is_file():
        raise ConfigError(f"{out / LAST}: nothing to resume; start the run without --resume.")


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
        write_json(out / MANIFEST, best.notes | {best.monitor: best.score, "seconds": seconds})
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
