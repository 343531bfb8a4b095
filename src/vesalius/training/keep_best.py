"""The weights that a run leaves behind, kept as they come."""

from pathlib import Path
from typing import Literal

from pytorch_lightning import Callback, LightningModule, Trainer

from vesalius.models.checkpoints import save_model
from vesalius.models.encoder import VisionLanguageEncoder
from vesalius.training.lora import lora_merged


class KeepBest(Callback):
    """Save our own checkpoint whenever a validation metric rises, or after every epoch.

    Args:
        model: What to save.
        path: Where.
        notes: What to remember beside the weights.
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
        """Compare and save."""
        score = float(trainer.callback_metrics[self.monitor])
        if self.keep == "best" and score <= self.score:
            return
        self.score = score
        if trainer.is_global_zero:
            with lora_merged(self.model):
                save_model(self.model, self.path, self.notes | {self.monitor: score, "epoch": trainer.current_epoch})

    def state_dict(self) -> dict[str, float]:
        """What a resumed run must know."""
        return {"score": self.score}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Take it up again."""
        self.score = state["score"]
