"""What every model has while it trains: its loss so far, and a state without what does not train."""

from functools import cached_property
from typing import Any, Generic, TypeVar

import torch
import torch.distributed as dist
from pytorch_lightning import LightningModule
from torch import Tensor
from torchmetrics import Metric

from vesalius.models.encoder import VisionLanguageEncoder
from vesalius.training.frozen import check_same, fingerprint_state, split_state

Model = TypeVar("Model", bound=VisionLanguageEncoder)


class ExampleMean(Metric):
    """A mean over examples, whatever process and batch they came in.

    Not torchmetrics' MeanMetric: as long as it lets NaN through, it takes no notice of weights (1.9).
    """

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("total", "count"):
            self.add_state(name, torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, value: Tensor, count: int) -> None:
        """Take in the mean of so many examples."""
        self.total = self.total + value.detach() * count
        self.count = self.count + count

    def compute(self) -> Tensor:
        """The mean of all since the last reset."""
        return self.total / self.count


class LeanModule(LightningModule, Generic[Model]):
    """A model while it trains.

    Args:
        model: Already frozen as the configuration says.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        self.train_loss = ExampleMean()
        # A run resumed inside an epoch goes on with the mean of the whole epoch.
        self.train_loss.persistent(True)

    def on_train_epoch_start(self) -> None:
        """Forget the last epoch's loss, which a checkpoint may have brought back."""
        self.train_loss.reset()

    def log_loss(self, loss: Tensor, count: int) -> None:
        """Remember the loss of a batch of so many examples."""
        self.train_loss.update(loss, count)
        self.log("train_loss", self.train_loss, on_step=False, on_epoch=True)

    def share_of_step(self, count: int) -> float:
        """What the loss of this process counts for in a step, so that every example of all processes counts alike.

        Gradients are averaged over processes, whose parts of a batch may differ by one example.

        Args:
            count: Examples of this process.
        """
        if not (dist.is_available() and dist.is_initialized()):
            return 1.0
        total = torch.tensor(float(count), device=self.device)
        dist.all_reduce(total)
        return count * dist.get_world_size() / total.item()

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
