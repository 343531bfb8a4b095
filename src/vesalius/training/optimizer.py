"""AdamW over what trains, in groups of their own step size, and how the step sizes change."""

import math
import re
from collections.abc import Iterator, Sequence
from functools import partial

from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR, ReduceLROnPlateau

from vesalius.models.encoder import PARTS, VisionLanguageEncoder
from vesalius.training.config import FitConfig

PLATEAU_FACTOR, PLATEAU_PATIENCE = 0.1, 5
_BLOCK = re.compile(r"^(.*?\.)?\d+\.")


def build_optimizer(
    model: VisionLanguageEncoder, config: FitConfig, steps: int, monitor: str, extra: Sequence[nn.Parameter] = ()
) -> OptimizerLRSchedulerConfig:
    """The optimiser and its schedule, as pytorch-lightning wants them.

    Args:
        model: Frozen as it will be.
        config: Step sizes and schedule.
        steps: Of the whole run.
        monitor: The metric, higher being better, whose standstill counts for "plateau".
        extra: What trains beside the model and is no part of it.
    """
    groups = group_parameters(model, config, extra)
    optimizer = AdamW(groups, lr=config.learning_rate, betas=(0.9, config.momentum), eps=config.epsilon)
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
    """Share of the largest step size: a straight rise, then half a cosine down to 0 (Loshchilov & Hutter, 2017)."""
    rise = warm_up * steps
    if step < rise:
        return (step + 1) / (rise + 1)
    return (1 + math.cos(math.pi * min(1, (step - rise) / max(1, steps - rise)))) / 2


def group_parameters(
    model: VisionLanguageEncoder, config: FitConfig, extra: Sequence[nn.Parameter] = ()
) -> list[dict[str, object]]:
    """What trains, by step size and weight decay.

    Encoders take ``encoder_rate`` of the learning rate, the text's ``text_rate`` of that, and every block below an
    encoder's last ``layer_decay`` of the one above it (Clark et al., ELECTRA, 2020).
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
        rate = config.encoder_rate * (config.text_rate if part == "text" else 1.0)
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
