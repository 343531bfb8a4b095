"""Callbacks of a run: averaged weights, best weights, metrics.csv, progress, and what makes resuming exact.

Their state in ``last.ckpt`` is found by the classes' names.
"""

import csv
import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_only
from rich.progress import Progress
from torch import Tensor

from vesalius.console import progress_bar, say
from vesalius.data.draws import seed_of
from vesalius.data.loading import ResumableLoader
from vesalius.errors import ConfigError
from vesalius.models.checkpoints import save_model
from vesalius.models.encoder import VisionLanguageEncoder
from vesalius.training.lora import lora_merged
from vesalius.training.module import split_state


class WeightAverage(Callback):
    """Validate and keep an exponential moving average of everything that trains, batch norms' statistics included.

    Lightning's own ``WeightAveraging`` copies frozen encoders too, in memory and in every checkpoint. Early on
    the decay is lower, (1 + n) / (10 + n) after n steps, or the average would hold on to the initial weights.

    Args:
        model: The model that trains, frozen as it will be.
        decay: Share of the average that stays at every step, below 1.
    """

    def __init__(self, model: VisionLanguageEncoder, decay: float) -> None:
        self.model = model
        self.decay = decay
        self.steps = 0
        self._average: dict[str, Tensor] = {}

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Begin with the weights as they are, unless the run is resumed."""
        moving = self._moving()
        if not self._average:
            self._average = {name: value.detach().clone() for name, value in moving.items()}
        self._average = {name: value.to(moving[name].device) for name, value in self._average.items()}

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
        """Take in the weights of a new step."""
        if trainer.global_step == self.steps:
            return
        self.steps = trainer.global_step
        weight = 1 - min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, value in self._moving().items():
            average = self._average[name]
            average.lerp_(value, weight) if average.is_floating_point() else average.copy_(value)

    def on_validation_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Put the average in place of the weights."""
        self._swap()

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Put the weights back."""
        self._swap()

    def state_dict(self) -> dict[str, Any]:
        """State of a resumed run."""
        return {"steps": self.steps, "average": self._average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore ``state_dict``."""
        self.steps, self._average = state["steps"], state["average"]

    def _moving(self) -> dict[str, Tensor]:
        return split_state(self.model)[1]

    @torch.no_grad()
    def _swap(self) -> None:
        for name, value in self._moving().items():
            kept = value.clone()
            value.copy_(self._average[name])
            self._average[name].copy_(kept)


class EndInTime(Callback):
    """End a run after its last step, wherever in an epoch that falls, and at once if it is resumed after its end.

    pytorch-lightning's own ``max_steps`` leaves the weights of the last steps without validation and takes up finished
    epochs when it resumes; and that early stopping ended a run is not part of its state.

    Args:
        max_steps: Steps at most; -1 for no limit.
    """

    def __init__(self, max_steps: int) -> None:
        self.max_steps = max_steps

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """See whether the run is over."""
        patience = trainer.early_stopping_callback
        trainer.should_stop = patience is not None and patience.stopped_epoch > 0
        self._stop_after_the_last(trainer)

    def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
        """Stop as early stopping does, which validates first."""
        self._stop_after_the_last(trainer)

    def _stop_after_the_last(self, trainer: Trainer) -> None:
        if 0 < self.max_steps <= trainer.global_step:
            trainer.fit_loop.min_epochs = 0  # or it would not stop before these
            trainer.should_stop = True


class KeepBest(Callback):
    """Save our own checkpoint whenever a validation metric rises, or after every epoch.

    Args:
        model: What to save.
        path: Where.
        notes: Facts stored beside the weights.
        monitor: Name of the metric; higher is better.
        keep: "best", or "last" for those of the last epoch, whatever they score.
    """

    def __init__(
        self,
        model: VisionLanguageEncoder,
        path: Path,
        notes: dict[str, object],
        monitor: str,
        keep: Literal["best", "last"] = "best",
    ) -> None:
        self.model = model
        self.path = path
        self.notes = notes
        self.monitor = monitor
        self.keep = keep
        self.score = -1.0

    def on_validation_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Compare and save.

        Raises:
            ConfigError: If the loss is not finite, so that the weights are worth nothing.
        """
        loss = float(trainer.callback_metrics["val_loss"])
        if not math.isfinite(loss):
            epoch = f"the validation loss of epoch {trainer.current_epoch + 1} is {loss}"
            kept = "the best weights before it are kept" if self.score >= 0 else "no weights before it could be kept"
            raise ConfigError(
                f"{self.path.parent}: the training diverged, as {epoch}; {kept}. Begin anew with --overwrite and a "
                "lower learning_rate, or precision 32-true."
            )
        score = float(trainer.callback_metrics[self.monitor])
        if self.keep == "best" and score <= self.score:
            return
        self.score = score
        if trainer.is_global_zero:
            with lora_merged(self.model):
                save_model(self.model, self.path, self.notes | {self.monitor: score, "epoch": trainer.current_epoch})

    def state_dict(self) -> dict[str, float]:
        """State of a resumed run."""
        return {"score": self.score}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Restore ``state_dict``.

        Raises:
            ConfigError: If the weights with this score are gone.
        """
        self.score = state["score"]
        if self.score >= 0 and not self.path.is_file():
            raise ConfigError(f"{self.path}: the run's best weights are gone; begin anew with --overwrite.")


class History(Callback):
    """Add a row an epoch to a CSV file; rows of epochs that a resumed run repeats are dropped.

    Lightning's ``CSVLogger`` writes other columns and keeps such rows twice.

    Args:
        path: The file; its folder is made.
        monitor: Name of the run's validation metric.
    """

    def __init__(self, path: Path, monitor: str) -> None:
        self.path = path
        self.metrics = ("train_loss", "val_loss", monitor)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Begin the table, with the epochs before this one where the run is resumed."""
        if trainer.is_global_zero:
            before = self._read(trainer.current_epoch)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._write("w", [("epoch", "step", "learning_rate", *self.metrics), *before])

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Add the epoch."""
        if trainer.is_global_zero:
            rate = max(group["lr"] for group in trainer.optimizers[0].param_groups)
            metrics = [float(trainer.callback_metrics[name]) for name in self.metrics]
            self._write("a", [(trainer.current_epoch, trainer.global_step, rate, *metrics)])

    def _read(self, epochs: int) -> list[list[str]]:
        if epochs == 0 or not self.path.is_file():
            return []
        with self.path.open(newline="", encoding="utf-8") as file:
            _, *rows = csv.reader(file)
        return [row for row in rows if int(row[0]) < epochs]

    def _write(self, mode: str, rows: list[tuple[object, ...] | list[str]]) -> None:
        with self.path.open(mode, newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)


class EpochBar(Callback):
    """A bar for terminals, and a line an epoch that stays, also in log files.

    Args:
        monitor: Name of the run's validation metric.
    """

    def __init__(self, monitor: str) -> None:
        self._metrics = ("train_loss", "val_loss", monitor)
        self._bar: Progress | None = None

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Show an empty bar."""
        if not trainer.is_global_zero:
            return
        self._bar = progress_bar()
        self._bar.add_task(f"Epoch {trainer.current_epoch + 1}", total=trainer.num_training_batches)
        self._bar.start()

    def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
        """Advance it."""
        if self._bar:
            self._bar.advance(self._bar.task_ids[0])

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Put a line in its place."""
        self._stop()
        line = "  ".join(f"{name} {float(trainer.callback_metrics[name]):.3f}" for name in self._metrics)
        say_once(f"epoch {trainer.current_epoch + 1}: {line}")

    def on_exception(self, trainer: Trainer, *_: object) -> None:
        """Give the terminal back."""
        self._stop()

    def _stop(self) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None


@rank_zero_only
def say_once(message: str) -> None:
    """One line for people, on stderr, from one of a run's processes."""
    say(message)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep back Lightning's advice on hardware, worker processes and log folders; errors still come through."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning")
            for harmless in (r".*find_unused_parameters=True was specified", r".*Grad strides do not match"):
                warnings.filterwarnings("ignore", message=harmless)
            warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\).*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class NextEpoch(Callback):
    """Tell the loaders their process and epoch, and seed every step, so that a resumed run ends the same.

    Random numbers follow from the seed, the epoch and the number of the batch (and, for dropout, the process).

    Args:
        train: Batches to train on.
        val: Batches to validate on.
        seed: The run's.
    """

    def __init__(self, train: ResumableLoader, val: ResumableLoader, seed: int) -> None:
        self.train = train
        self.val = val
        self.seed = seed

    def setup(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        """Share the batches out: only now are the processes known."""
        for loader in (self.train, self.val):
            loader.batches.share(trainer.global_rank, trainer.world_size)

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Pass the number on. Lightning leaves this out where a resumed run begins, whose loader knows it."""
        self.train.set_epoch(trainer.current_epoch)

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: object, batch_idx: int) -> None:
        """Restart the random numbers behind dropout."""
        torch.manual_seed(seed_of(self.seed, trainer.current_epoch, batch_idx, trainer.global_rank))
