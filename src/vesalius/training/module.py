"""The training step, the validation step and the optimiser, as pytorch-lightning wants them."""

from functools import cached_property
from typing import Any

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torchmetrics import MeanMetric

from vesalius.data.views import Batch
from vesalius.evaluation.metrics import dice
from vesalius.models import ImageFeatures, MaskPrediction, Segmenter, TextFeatures
from vesalius.models.features import resize
from vesalius.models.flat_features import restore_image
from vesalius.models.text_cache import TextCache
from vesalius.training.config import TrainConfig
from vesalius.training.frozen import check_same, fingerprint_state, split_state
from vesalius.training.losses import segmentation_loss
from vesalius.training.optimizer import build_optimizer

MONITOR = "val_dice"
"""What decides which weights are best; higher is better."""


class SegmentationModule(LightningModule):
    """A segmenter while it trains.

    Args:
        model: Already frozen as the configuration says.
        config: Optimiser, schedule and loss.
        steps: Of the whole run.
    """

    def __init__(self, model: Segmenter, config: TrainConfig, steps: int) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.steps = steps
        self._texts = TextCache(model)
        self.train_loss = MeanMetric(nan_strategy="disable")
        # A run resumed inside an epoch goes on with the mean of the whole epoch.
        self.train_loss.persistent(True)

    def on_train_epoch_start(self) -> None:
        """Forget the last epoch's loss, which a checkpoint may have brought back."""
        self.train_loss.reset()

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Loss of one batch."""
        loss = segmentation_loss(self._predict(batch), batch.masks, self.config.loss)
        self.train_loss(loss.detach(), weight=len(batch.prompts))
        self.log("train_loss", self.train_loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Batch, index: int) -> None:
        """Loss and Dice (threshold 0.5, working resolution, both empty = 1) of one batch."""
        prediction = self._predict(batch)
        scores = dice(prediction.logits[:, 0] > 0, batch.masks[:, 0] > 0.5)
        loss = segmentation_loss(prediction, batch.masks, self.config.loss)
        values = {MONITOR: scores.mean(), "val_loss": loss}
        self.log_dict(values, batch_size=len(batch.prompts), sync_dist=True)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """See ``build_optimizer``."""
        return build_optimizer(self.model, self.config, self.steps, MONITOR)

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

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move the tensors of a batch; the prompts stay strings."""
        frozen = {name: tensor.to(device) for name, tensor in batch.frozen.items()}
        return Batch(batch.images.to(device), batch.masks.to(device), batch.prompts, frozen)

    def _predict(self, batch: Batch) -> MaskPrediction:
        prediction = self.model.decode(self._encode_images(batch), self._encode_text(batch.prompts))
        size = (batch.masks.shape[-2], batch.masks.shape[-1])
        return MaskPrediction(resize(prediction.logits, size), prediction.existence)

    def _encode_images(self, batch: Batch) -> ImageFeatures:
        if not batch.frozen:
            return self.model.encode_image(batch.images)
        frozen = restore_image({name: tensor.float() for name, tensor in batch.frozen.items()}, len(batch.prompts))
        return self.model.complete(batch.images, frozen)

    def _encode_text(self, prompts: list[str]) -> TextFeatures:
        return self._texts.encode(prompts) if "text" in self.model.frozen else self.model.encode_text(prompts)
