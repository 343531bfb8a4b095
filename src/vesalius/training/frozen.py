"""Frozen encoders: what they are, in one number, and a run's state without them."""

import hashlib
from collections.abc import Collection

import torch
from torch import Tensor

from vesalius.errors import ConfigError
from vesalius.models import Segmenter
from vesalius.models.encoder import Part


def fingerprint_encoders(model: Segmenter, parts: Collection[Part]) -> str:
    """SHA-256 over names, shapes and values of everything that ``freeze(*parts)`` holds still."""
    digest = hashlib.sha256()
    for part in sorted(parts):
        for module in model.encoder_modules(part):
            for name, value in module.state_dict().items():
                digest.update(f"{part} {name} {value.dtype} {tuple(value.shape)}".encode())
                digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def frozen_state(model: Segmenter) -> dict[str, Tensor]:
    """The entries of the model's state that do not train, by their names there."""
    frozen = {module for part in model.frozen for module in model.encoder_modules(part)}
    places = tuple(f"{name}." for name, module in model.named_modules() if module in frozen)
    return {name: value for name, value in model.state_dict().items() if name.startswith(places)}


def check_same(expected: str, got: str) -> None:
    """Refuse to go on from a state that was left by a run with other frozen weights.

    Raises:
        ConfigError: If the fingerprints differ.
    """
    if expected != got:
        found = f"expected SHA-256 {expected[:12]}…, got {got[:12]}…"
        remedy = "Resume with the model, options, weights and seed that the run was started with"
        raise ConfigError(f"The run to resume had other weights in its frozen encoders: {found}. {remedy}.")
