"""How large a named model is, without allocating it."""

from dataclasses import dataclass

import torch

from vesalius.models.encoder import PARTS
from vesalius.models.registry import build_model


@dataclass(frozen=True)
class ParameterCount:
    """Numbers in a model's weights."""

    total: int
    decoder: int
    """Those that train when both encoders are frozen, as in the papers' recipe."""


def count_parameters(name: str) -> ParameterCount:
    """Count a named model's parameters at its default sizes.

    >>> count_parameters("unet_d").total
    11833593

    Raises:
        ModelError: If the name is unknown.
    """
    with torch.device("meta"):
        model = build_model(name).freeze(*PARTS)
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return ParameterCount(sum(size for size, _ in sizes), sum(size for size, trains in sizes if trains))
