"""What every epoch of a run came to, as a table."""

import csv
from pathlib import Path

from pytorch_lightning import Callback, LightningModule, Trainer


class History(Callback):
    """Add a row an epoch to a CSV file; a resumed run goes on where its state was saved.

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
