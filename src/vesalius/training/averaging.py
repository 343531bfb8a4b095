"""A moving average of the weights: smoother than the weights themselves, and usually better.

Not pytorch-lightning's callback, because that copies frozen encoders too, in memory and in every checkpoint.
"""

from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from vesalius.models.encoder import VisionLanguageEncoder
from vesalius.training.frozen import split_state


class WeightAverage(Callback):
    """Validate and keep an exponential moving average of everything that trains, batch norms' statistics included.

    Early on the average forgets faster, (1 + n) / (10 + n) after n steps, or it would hold on to the initial weights.

    Args:
        model: The model that trains, frozen as it will be.
        decay: What of the average stays at every step, below 1.
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
        """What a resumed run must know."""
        return {"steps": self.steps, "average": self._average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it up again."""
        self.steps, self._average = state["steps"], state["average"]

    def _moving(self) -> dict[str, Tensor]:
        return split_state(self.model)[1]

    @torch.no_grad()
    def _swap(self) -> None:
        for name, value in self._moving().items():
            kept = value.clone()
            value.copy_(self._average[name])
            self._average[name].copy_(kept)
