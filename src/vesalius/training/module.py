"""The training step, the validation step and the optimiser, as pytorch-lightning wants them."""

import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from vesalius.data.views import Batch
from vesalius.evaluation.metrics import dice
from vesalius.models import ImageFeatures, MaskPrediction, Segmenter, TextFeatures
from vesalius.models.features import resize
from vesalius.models.flat_features import restore_image
from vesalius.models.text_cache import TextCache
from vesalius.training.config import TrainConfig
from vesalius.training.lean_module import ExampleMean, LeanModule
from vesalius.training.losses import segmentation_loss
from vesalius.training.optimizer import build_optimizer

MONITOR = "val_dice"
"""What decides which weights are best; higher is better."""


class SegmentationModule(LeanModule[Segmenter]):
    """A segmenter while it trains.

    Args:
        model: Already frozen as the configuration says.
        config: Optimiser, schedule and loss.
        steps: Of the whole run.
    """

    def __init__(self, model: Segmenter, config: TrainConfig, steps: int) -> None:
        super().__init__(model)
        self.config = config
        self.steps = steps
        # A resumed run meets prompts in other company, and is to end with the same weights.
        self._texts = TextCache(model, at_once=1)
        self.val_dice, self.val_loss = ExampleMean(), ExampleMean()

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Loss of one batch."""
        loss = segmentation_loss(self._predict(batch, self.config.text_noise), batch.masks, self.config.loss)
        self.log_loss(loss, len(batch.prompts))
        return loss * self.share_of_step(len(batch.prompts))

    def validation_step(self, batch: Batch, index: int) -> None:
        """Loss and Dice (threshold 0.5, working resolution, both empty = 1) of one batch."""
        prediction = self._predict(batch)
        scores = dice(prediction.logits[:, 0] > 0, batch.masks[:, 0] > 0.5)
        loss = segmentation_loss(prediction, batch.masks, self.config.loss)
        for name, mean, value in ((MONITOR, self.val_dice, scores.mean()), ("val_loss", self.val_loss, loss)):
            mean.update(value, len(batch.prompts))
            self.log(name, mean, on_step=False, on_epoch=True)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """See ``build_optimizer``."""
        return build_optimizer(self.model, self.config, self.steps, MONITOR)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move the tensors of a batch; the prompts stay strings."""
        frozen = {name: tensor.to(device) for name, tensor in batch.frozen.items()}
        return Batch(batch.images.to(device), batch.masks.to(device), batch.prompts, frozen)

    def _predict(self, batch: Batch, text_noise: float = 0.0) -> MaskPrediction:
        text = self._encode_text(batch.prompts)
        prediction = self.model.decode(self._encode_images(batch), text.blur(text_noise) if text_noise else text)
        size = (batch.masks.shape[-2], batch.masks.shape[-1])
        return MaskPrediction(resize(prediction.logits, size), prediction.existence)

    def _encode_images(self, batch: Batch) -> ImageFeatures:
        if not batch.frozen:
            return self.model.encode_image(batch.images)
        frozen = restore_image({name: tensor.float() for name, tensor in batch.frozen.items()}, len(batch.prompts))
        return self.model.complete(batch.images, frozen)

    def _encode_text(self, prompts: list[str]) -> TextFeatures:
        return self._texts.encode(prompts) if "text" in self.model.frozen else self.model.encode_text(prompts)
