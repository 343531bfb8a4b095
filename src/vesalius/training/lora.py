"""LoRA (Hu et al., 2021): train low-rank changes of an encoder's matrices, not the matrices.

A matrix W answers as W + alpha / rank · B A while A and B train, and is saved as that sum: the checkpoint of such a run
is an ordinary one.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from vesalius.errors import ConfigError, check_at_least, check_below_one, check_positive, require
from vesalius.models.encoder import Part, VisionLanguageEncoder
from vesalius.models.layers import TransformerLayer

Matrix = Literal["qkv", "out", "up", "down"]


@dataclass(frozen=True)
class LoraConfig:
    """Settings of LoRA on frozen encoders."""

    rank: int = 0
    """Rank of each change; 0 for no LoRA."""
    alpha: float = 16.0
    """The change is scaled by ``alpha / rank``."""
    dropout: float = 0.0
    """Dropout on the inputs of each change while it trains."""
    parts: tuple[Part, ...] = ("image", "text")
    """Encoders to change; ``freeze`` must name them, for their own weights are held still."""
    matrices: tuple[Matrix, ...] = ("qkv", "out")
    """Linear layers of each transformer layer: "qkv" and "out" of the attention, "up" and "down" of the MLP."""

    def __post_init__(self) -> None:
        check_at_least(self, 0, "rank")
        check_positive(self, "alpha")
        check_below_one(self, "dropout")
        for name in ("parts", "matrices"):
            if not getattr(self, name):
                raise ConfigError(f"{name} of [lora] must name one at least; rank = 0 switches it off.")

    @property
    def adapted(self) -> tuple[Part, ...]:
        """The encoders that change."""
        return self.parts if self.rank else ()


def add_lora(model: VisionLanguageEncoder, config: LoraConfig) -> None:
    """Give encoders changes to train, all zero, and hold their own weights still.

    Args:
        model: Its other encoders are frozen as they will be, these are not: they are encoded anew in every step.
        config: Says which, and how.

    Raises:
        ConfigError: If an encoder has no transformer layer.
        MissingPackageError: If peft is not installed.
    """
    for part in config.adapted:
        layers = [layer for encoder in model.encoder_modules(part) for layer in _transformer_layers(encoder)]
        if not layers:
            remedy = "Leave it out of parts in [lora], or train it whole: leave it out of freeze, too"
            raise ConfigError(
                f"The {part} encoder of {model.recipe.name} has no transformer layers, which LoRA changes. {remedy}."
            )
        for encoder in model.encoder_modules(part):
            encoder.requires_grad_(False)
        for layer in layers:
            _adapt(layer, config)


def merge_lora(model: nn.Module) -> None:
    """Make changes part of the matrices they belong to, and the model an ordinary one."""
    _put_merged(model)
    for layer in _transformer_layers(model):
        # What peft leaves there makes it warn of a second change when the model is trained again.
        vars(layer).pop("peft_config", None)


@contextmanager
def lora_merged(model: nn.Module) -> Iterator[None]:
    """``merge_lora`` while the block lasts; what trains is the same after it, bit for bit."""
    changed = _put_merged(model)
    try:
        yield
    finally:
        for name, layer in changed.items():
            model.set_submodule(name, layer)


def _transformer_layers(module: nn.Module) -> list[TransformerLayer]:
    return [layer for layer in module.modules() if isinstance(layer, TransformerLayer)]


def _adapt(layer: TransformerLayer, config: LoraConfig) -> None:
    peft = require("peft", extra="lora")
    settings = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=list(config.matrices),
    )
    peft.inject_adapter_in_model(settings, layer)


def _put_merged(model: nn.Module) -> dict[str, nn.Module]:
    """Linear layers in the place of those that peft made of them, which come back by name."""
    # peft keeps the linear layer as ``base_layer``; looking for that needs no peft.
    changed = {name: module for name, module in model.named_modules() if hasattr(module, "base_layer")}
    for name, layer in changed.items():
        model.set_submodule(name, _merge(layer))
    return changed


def _merge(layer: nn.Module) -> nn.Linear:
    """The linear layer with its change; the given one stays as it is."""
    merged: Any = copy.deepcopy(layer)  # peft, whose layer this is, is not imported here
    merged.merge()
    linear = merged.get_base_layer()
    assert isinstance(linear, nn.Linear)
    return linear
