"""What every model has while it trains: its loss so far, and a state without what does not train."""

from functools import cached_property
from typing import Any, Generic, TypeVar

from pytorch_lightning import LightningModule
from torch import Tensor
from torchmetrics import MeanMetric

from vesalius.models.encoder import VisionLanguageEncoder
from vesalius.training.frozen import check_same, fingerprint_state, split_state

Model = TypeVar("Model", bound=VisionLanguageEncoder)


class LeanModule(LightningModule, Generic[Model]):
    """A model while it trains.

    Args:
        model: Already frozen as the configuration says.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        self.train_loss = MeanMetric(nan_strategy="disable")
        # A run resumed inside an epoch goes on with the mean of the whole epoch.
        self.train_loss.persistent(True)

    def on_train_epoch_start(self) -> None:
        """Forget the last epoch's loss, which a checkpoint may have brought back."""
        self.train_loss.reset()

    def log_loss(self, loss: Tensor, count: int) -> None:
        """Remember the loss of a batch of so many examples."""
        self.train_loss(loss.detach(), weight=count)
        self.log("train_loss", self.train_loss, on_step=False, on_epoch=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave out what does not train, most of a state's bytes, but for its fingerprint."""
        for name in split_state(self.model)[0]:
            del checkpoint["state_dict"][f"model.{name}"]
        checkpoint["frozen"] = self._fingerprint

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put them back.

        Raises:
            ConfigError: If the model's are others.
        """
        check_same(checkpoint.get("frozen", ""), self._fingerprint)
        for name, value in split_state(self.model)[0].items():
            checkpoint["state_dict"][f"model.{name}"] = value

    @cached_property
    def _fingerprint(self) -> str:
        return fingerprint_state(split_state(self.model)[0].items())
