"""The training step, the validation step and the optimiser, as pytorch-lightning wants them."""

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from vesalius.data.views import Batch
from vesalius.evaluation.metrics import dice
from vesalius.models import MaskPrediction, Segmenter, TextFeatures
from vesalius.models.features import resize
from vesalius.models.text_cache import TextCache
from vesalius.training.config import TrainConfig
from vesalius.training.losses import segmentation_loss

PLATEAU_FACTOR, PLATEAU_PATIENCE = 0.1, 5


class SegmentationModule(LightningModule):
    """A segmenter while it trains.

    Args:
        model: Already frozen as the configuration says.
        config: Optimiser, schedule and loss.
    """

    def __init__(self, model: Segmenter, config: TrainConfig) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self._texts = TextCache(model)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Loss of one batch."""
        loss = segmentation_loss(self._predict(batch), batch.masks, self.config.loss)
        self.log("train_loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(batch.prompts))
        return loss

    def validation_step(self, batch: Batch, index: int) -> None:
        """Loss and Dice (threshold 0.5, working resolution, both empty = 1) of one batch."""
        prediction = self._predict(batch)
        scores = dice(prediction.logits[:, 0] > 0, batch.masks[:, 0] > 0.5)
        loss = segmentation_loss(prediction, batch.masks, self.config.loss)
        values = {"val_dice": scores.mean(), "val_loss": loss}
        self.log_dict(values, prog_bar=True, batch_size=len(batch.prompts))

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW over what is not frozen, and the schedule."""
        trainable = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trainable, lr=self.config.learning_rate, weight_decay=self.config.weight_decay)
        if self.config.schedule == "one_cycle":
            steps = int(self.trainer.estimated_stepping_batches)
            cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.config.learning_rate, total_steps=steps)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, mode="max", factor=PLATEAU_FACTOR, patience=PLATEAU_PATIENCE
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "val_dice"}}

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move the tensors of a batch; the prompts stay strings."""
        return Batch(batch.images.to(device), batch.masks.to(device), batch.prompts)

    def _predict(self, batch: Batch) -> MaskPrediction:
        prediction = self.model.decode(self.model.encode_image(batch.images), self._encode_text(batch.prompts))
        size = (batch.masks.shape[-2], batch.masks.shape[-1])
        return MaskPrediction(resize(prediction.logits, size), prediction.existence)

    def _encode_text(self, prompts: list[str]) -> TextFeatures:
        return self._texts.encode(prompts) if "text" in self.model.frozen else self.model.encode_text(prompts)
