"""Frozen encoders: what they are, in one number, and a run's state without them."""

import hashlib
from collections.abc import Collection, Iterable

import torch
from torch import Tensor

from vesalius.errors import ConfigError
from vesalius.models.encoder import Part, VisionLanguageEncoder


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
