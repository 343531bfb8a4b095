"""A model made ready to train: what is held still, and what changes."""

from torch import nn

from vesalius.errors import ConfigError
from vesalius.models.encoder import VisionLanguageEncoder
from vesalius.training.config import FitConfig
from vesalius.training.lora import add_lora


def prepare(model: VisionLanguageEncoder, config: FitConfig) -> None:
    """Freeze encoders, add LoRA's matrices, and set training mode.

    Raises:
        ConfigError: If an encoder has nothing that LoRA changes.
        MissingPackageError: If LoRA's package is needed and not installed.
    """
    model.freeze(*(part for part in config.freeze if part not in config.lora.adapted))
    add_lora(model, config.lora)
    # Lightning keeps the mode it finds, and loaded models come in evaluation mode.
    model.train()
    if config.keep_norms:
        hold_norms(model)


def check_encoders(model: VisionLanguageEncoder, config: FitConfig) -> None:
    """Refuse to hold still what was never trained: a decoder on random features learns next to nothing.

    Args:
        model: Built anew, no weights loaded.
        config: Says which encoders are frozen.

    Raises:
        ConfigError: If one of them is.
    """
    still = [part for part in config.freeze if model.encoder_modules(part)]
    if still:
        name, parts = model.recipe.name, " and ".join(still)
        found = f"{name}: its {parts} encoder{'s are' if len(still) > 1 else ' is'} untrained and would be held still"
        remedy = "start from public weights with --pretrained, let encoders train with --set 'freeze=[]'"
        raise ConfigError(f"{found}, so that it learns on random features; {remedy}, or insist with --from-scratch.")


def hold_norms(model: nn.Module) -> None:
    """Put every batch norm in evaluation mode; its weight and bias still train."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.eval()
