"""Optimiser and schedule, fingerprints of frozen weights, and the steps of a segmenter's training and validation.

``BaseModule`` is what every training run shares; ``contrastive`` builds on it too.
"""

import hashlib
import math
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property, partial
from typing import Any, Generic

import torch
import torch.distributed as dist
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities.types import LRSchedulerTypeUnion, OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR, ReduceLROnPlateau
from torchmetrics import Metric

from vesalius.data.views import Batch
from vesalius.errors import ConfigError
from vesalius.evaluation.metrics import dice
from vesalius.models import ImageFeatures, MaskPrediction, Segmenter, TextFeatures
from vesalius.models.encoder import PARTS, Part, VisionLanguageEncoder, height_width, resize
from vesalius.models.exported import restore_image
from vesalius.models.inference import Model, TextCache
from vesalius.training.config import FitConfig, TrainConfig
from vesalius.training.losses import segmentation_loss

PLATEAU_FACTOR, PLATEAU_PATIENCE = 0.1, 5
_BLOCK = re.compile(r"^(.*?\.)?\d+\.")


def build_optimizer(
    model: VisionLanguageEncoder, config: FitConfig, steps: int, monitor: str, extra: Sequence[nn.Parameter] = ()
) -> OptimizerLRSchedulerConfig:
    """AdamW and its schedule, as pytorch-lightning's ``configure_optimizers`` returns them.

    Args:
        model: Frozen as it will be.
        config: Learning rates, weight decay and schedule.
        steps: Optimiser steps of the whole run.
        monitor: The metric, higher being better, whose standstill counts for "plateau".
        extra: Trainable parameters that are no part of the model.
    """
    groups = group_parameters(model, config, extra)
    optimizer = AdamW(groups, lr=config.learning_rate, betas=(0.9, config.beta2), eps=config.epsilon)
    if config.schedule == "plateau":
        plateau = ReduceLROnPlateau(optimizer, mode="max", factor=PLATEAU_FACTOR, patience=PLATEAU_PATIENCE)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": monitor}}
    if config.schedule == "one_cycle":
        largest = [group["lr"] for group in optimizer.param_groups]
        return _each_step(optimizer, OneCycleLR(optimizer, largest, total_steps=steps))
    return _each_step(optimizer, LambdaLR(optimizer, partial(cosine, steps=steps, warm_up=config.warm_up)))


def count_steps(config: FitConfig, batches: int) -> int:
    """Steps of a whole run with so many batches an epoch, unless it stops early.

    Not pytorch-lightning's estimate: that sets up the loaders before a resumed run has told them where to go on.
    """
    steps = -(-batches // config.accumulate) * config.max_epochs
    return steps if config.max_steps == -1 else min(steps, config.max_steps)


def cosine(step: int, steps: int, warm_up: float) -> float:
    """Factor of the largest learning rate: a linear rise, then half a cosine down to 0 (Loshchilov & Hutter, 2017)."""
    rise = warm_up * steps
    if step < rise:
        return (step + 1) / (rise + 1)
    return (1 + math.cos(math.pi * min(1, (step - rise) / max(1, steps - rise)))) / 2


def group_parameters(
    model: VisionLanguageEncoder, config: FitConfig, extra: Sequence[nn.Parameter] = ()
) -> list[dict[str, object]]:
    """Trainable parameters, grouped by learning rate and weight decay.

    Encoders take ``encoder_lr_scale`` times the learning rate, text encoders ``text_lr_scale`` times that, and every
    block ``layer_decay`` times that of the block above it (Clark et al., ELECTRA, 2020).
    """
    rates = dict(_encoder_rates(model, config))
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in (*model.parameters(), *extra):
        if parameter.requires_grad:
            decays = config.decay_vectors or parameter.dim() > 1
            place = (rates.get(parameter, 1.0), config.weight_decay if decays else 0.0)
            groups.setdefault(place, []).append(parameter)
    return [
        {"params": group, "lr": config.learning_rate * rate, "weight_decay": decay}
        for (rate, decay), group in groups.items()
    ]


def _encoder_rates(model: VisionLanguageEncoder, config: FitConfig) -> Iterator[tuple[nn.Parameter, float]]:
    for part in PARTS:
        rate = config.encoder_lr_scale * (config.text_lr_scale if part == "text" else 1.0)
        for encoder in model.encoder_modules(part):
            depths = list(_depths(encoder))
            deepest = max((depth for _, depth in depths), default=0)
            for parameter, depth in depths:
                yield parameter, rate * config.layer_decay ** (deepest - depth)


def _depths(encoder: nn.Module) -> Iterator[tuple[nn.Parameter, int]]:
    """Each parameter with the number of blocks before its own; a block is a numbered module of the outermost kind."""
    blocks: dict[str, int] = {}
    for name, parameter in encoder.named_parameters():
        block = _BLOCK.match(name)
        if block:
            blocks.setdefault(block.group(), len(blocks) + 1)
        yield parameter, blocks[block.group()] if block else len(blocks)


def _each_step(optimizer: AdamW, scheduler: LambdaLR | OneCycleLR) -> OptimizerLRSchedulerConfig:
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def fingerprint_encoders(model: VisionLanguageEncoder, parts: Collection[Part]) -> str:
    """SHA-256 over names, shapes and values of everything that ``freeze(*parts)`` holds still."""
    return fingerprint_state(
        (f"{part} {name}", value)
        for part in sorted(parts)
        for module in model.encoder_modules(part)
        for name, value in module.state_dict().items()
    )


def fingerprint_state(entries: Iterable[tuple[str, Tensor]]) -> str:
    """SHA-256 over names, shapes and values, in this order."""
    digest = hashlib.sha256()
    for name, value in entries:
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def split_state(model: VisionLanguageEncoder) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The entries of the model's state that do not train, and those that do, by their names there.

    The first are all that frozen encoders hold, and the matrices of those that only LoRA changes.
    """
    still = {module for part in model.frozen for module in model.encoder_modules(part)}
    places = tuple(f"{name}." for name, module in model.named_modules() if module in still)
    held = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    state: dict[str, Tensor] = model.state_dict()
    frozen = {name: value for name, value in state.items() if name.startswith(places) or name in held}
    return frozen, {name: value for name, value in state.items() if name not in frozen}


def check_same(expected: str, got: str) -> None:
    """Refuse to go on from a state that was left by a run with other frozen weights.

    Raises:
        ConfigError: If the fingerprints differ.
    """
    if expected != got:
        found = f"expected SHA-256 {expected[:12]}…, got {got[:12]}…"
        remedy = "Resume with the model, options, weights and seed that the run was started with"
        raise ConfigError(f"The run to resume had other weights in its frozen encoders: {found}. {remedy}.")


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


class BaseModule(LightningModule, Generic[Model]):
    """A model while it trains.

    Args:
        model: Already frozen as the configuration says.
    """

    monitor: str
    """Validation metric that decides which weights are best; higher is better."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        self.train_loss = ExampleMean()
        # A run resumed inside an epoch goes on with the mean of the whole epoch.
        self.train_loss.persistent(True)

    def on_train_epoch_start(self) -> None:
        """Forget the last epoch's loss, which a checkpoint may have brought back."""
        self.train_loss.reset()

    def on_train_epoch_end(self) -> None:
        """Let "plateau" see the epoch before the run's state is saved, so that a resumed run goes on as it would."""
        scheduler = self.lr_schedulers()
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(self.trainer.callback_metrics[self.monitor])

    def lr_scheduler_step(self, scheduler: LRSchedulerTypeUnion, metric: object) -> None:
        """Step the others; Lightning comes here for a "plateau" only after it has saved the epoch's state."""
        if not isinstance(scheduler, ReduceLROnPlateau):
            super().lr_scheduler_step(scheduler, metric)

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as in the class above
        """Average the last group of an epoch over the batches it has, where Lightning divides by ``accumulate``."""
        group, batches = self.trainer.accumulate_grad_batches, int(self.trainer.num_training_batches)
        rest = batches % group
        if rest and self.trainer.fit_loop.batch_idx >= batches - rest:
            loss = loss * (group / rest)
        super().backward(loss, *args, **kwargs)

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


class SegmentationModule(BaseModule[Segmenter]):
    """A segmenter while it trains.

    Args:
        model: Already frozen as the configuration says.
        config: Optimiser, schedule and loss.
        steps: Optimiser steps of the whole run.
    """

    monitor = "val_dice"

    def __init__(self, model: Segmenter, config: TrainConfig, steps: int) -> None:
        super().__init__(model)
        self.config = config
        self.steps = steps
        # A resumed run meets prompts in other batches, and is to end with the same weights.
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
        scores = dice(prediction.mask, batch.masks[:, 0] > 0.5)
        loss = segmentation_loss(prediction, batch.masks, self.config.loss)
        for name, mean, value in ((self.monitor, self.val_dice, scores.mean()), ("val_loss", self.val_loss, loss)):
            mean.update(value, len(batch.prompts))
            self.log(name, mean, on_step=False, on_epoch=True)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """See ``build_optimizer``."""
        return build_optimizer(self.model, self.config, self.steps, self.monitor)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move the tensors of a batch; the prompts stay strings."""
        frozen = {name: tensor.to(device) for name, tensor in batch.frozen.items()}
        return Batch(batch.images.to(device), batch.masks.to(device), batch.prompts, frozen)

    def _predict(self, batch: Batch, text_noise: float = 0.0) -> MaskPrediction:
        text = self._encode_text(batch.prompts)
        prediction = self.model.decode(self._encode_images(batch), text.add_noise(text_noise) if text_noise else text)
        size = height_width(batch.masks)
        return MaskPrediction(resize(prediction.logits, size), prediction.existence)

    def _encode_images(self, batch: Batch) -> ImageFeatures:
        if not batch.frozen:
            return self.model.encode_image(batch.images)
        frozen = restore_image({name: tensor.float() for name, tensor in batch.frozen.items()}, len(batch.prompts))
        return self.model.complete(batch.images, frozen)

    def _encode_text(self, prompts: list[str]) -> TextFeatures:
        return self._texts.encode(prompts) if "text" in self.model.frozen else self.model.encode_text(prompts)
