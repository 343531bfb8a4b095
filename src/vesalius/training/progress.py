"""What a person sees of a run: a bar while an epoch lasts and a line after it, on stderr."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_only
from rich.progress import Progress

from vesalius.console import progress_bar, say


class EpochBar(Callback):
    """Progress of training, for terminals and for log files.

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
        tell(f"epoch {trainer.current_epoch + 1}: {line}")

    def on_exception(self, trainer: Trainer, *_: object) -> None:
        """Give the terminal back."""
        self._stop()

    def _stop(self) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None


@rank_zero_only
def tell(message: str) -> None:
    """One line for people, on stderr, from one of a run's processes."""
    say(message)


@contextmanager
def watch(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr while the block lasts; what it gives advances it by so many steps."""
    with progress_bar() as bar:
        yield partial(bar.advance, bar.add_task(name, total=total))


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
