"""What every epoch of a run came to, as a table."""

import csv
from pathlib import Path

from pytorch_lightning import Callback, LightningModule, Trainer

FIELDS = ("epoch", "step", "train_loss", "val_loss", "val_dice")


class History(Callback):
    """Add a row an epoch to a CSV file; a resumed run goes on where the file ends.

    Args:
        path: The file; its folder is made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Begin the table, unless the run is resumed."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if trainer.current_epoch == 0 or not self.path.is_file():
            self._write("w", FIELDS)

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Add the epoch."""
        metrics = [float(trainer.callback_metrics[name]) for name in FIELDS[2:]]
        self._write("a", (trainer.current_epoch, trainer.global_step, *metrics))

    def _write(self, mode: str, row: tuple[object, ...]) -> None:
        with self.path.open(mode, newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(row)
