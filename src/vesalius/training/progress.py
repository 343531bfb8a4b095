"""What a person sees of a run: a bar while an epoch lasts and a line after it, on stderr."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from pytorch_lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import Progress

from vesalius.progress import progress_bar


class EpochBar(Callback):
    """Progress of training, for terminals and for log files."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bar: Progress | None = None

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Show an empty bar."""
        self._bar = progress_bar(self._console)
        self._bar.add_task(f"Epoch {trainer.current_epoch + 1}", total=trainer.num_training_batches)
        self._bar.start()

    def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
        """Advance it."""
        if self._bar:
            self._bar.advance(self._bar.task_ids[0])

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Put a line in its place."""
        self._stop()
        numbers = {name: float(value) for name, value in trainer.callback_metrics.items()}
        line = "  ".join(f"{name} {numbers[name]:.3f}" for name in ("train_loss", "val_loss", "val_dice"))
        self._console.print(f"epoch {trainer.current_epoch + 1}: {line}")

    def on_exception(self, trainer: Trainer, *_: object) -> None:
        """Give the terminal back."""
        self._stop()

    def _stop(self) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None


def tell(message: str) -> None:
    """One line for people, on stderr."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(message, markup=False)


@contextmanager
def watch(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr while the block lasts; what it gives advances it by so many steps."""
    with progress_bar() as bar:
        yield partial(bar.advance, bar.add_task(name, total=total))


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep back Lightning's advice on hardware, worker processes and log folders; errors still come through."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning")
            warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\).*")
            yield
    finally:
        logger.setLevel(level)
