"""Random changes of a slice that leave its caption true.

Nothing is flipped, for a mirrored or upturned slice is another one, and nothing is zoomed or moved so far that an organ
leaves the picture. What the paper gives no numbers for has ranges of the field's tools, see docs/anatomy-training.md.
"""

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from vesalius.data.anatomy.clahe import clahe
from vesalius.data.augment import AugmentConfig, draw_geometry, resample
from vesalius.errors import ConfigError

Range = tuple[float, float]


@dataclass(frozen=True)
class SliceAugment:
    """Probabilities, and ranges of uniform draws."""

    clahe: float = 0.2
    """Probability of adaptive histogram equalisation in 8 × 8 tiles."""
    clahe_limit: Range = (1.0, 4.0)
    """Where histograms are cut, in units of their mean height."""
    contrast: float = 0.3
    """Probability of stretching shades around their mean."""
    contrast_range: Range = (0.75, 1.5)
    """By which factor."""
    gamma: float = 0.3
    """Probability of raising shades to a power."""
    gamma_range: Range = (0.7, 1.5)
    """Which."""
    rotation: float = 0.5
    """Probability of a turn."""
    rotation_degrees: float = 15.0
    """At most, either way."""
    translation: float = 0.5
    """Probability of a shift."""
    translation_share: float = 0.1
    """Of the side, at most, either way."""
    scale: float = 0.5
    """Probability of a zoom."""
    scale_factor: float = 1.15
    """At most, in or out; up to 1.4, beyond which organs leave the picture."""

    def __post_init__(self) -> None:
        for name in ("clahe", "contrast", "gamma", "rotation", "translation", "scale"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is a probability from 0 to 1, got {getattr(self, name)}.")
        for field in fields(self):
            ends = getattr(self, field.name)
            if isinstance(ends, tuple) and not (len(ends) == 2 and 0 < ends[0] <= ends[1]):
                raise ConfigError(f"{field.name} is a range, two numbers above 0 in ascending order, got {ends}.")
        if self.clahe_limit[0] < 1:
            raise ConfigError(f"clahe_limit must be at least 1, got {self.clahe_limit[0]}.")
        if self.rotation_degrees < 0 or not 0 <= self.translation_share <= 0.25 or not 1 <= self.scale_factor <= 1.4:
            raise ConfigError(
                "rotation_degrees must be 0 or more, translation_share 0 to 0.25 and scale_factor 1 to 1.4, got "
                f"{self.rotation_degrees}, {self.translation_share} and {self.scale_factor}."
            )


UNCHANGED = SliceAugment(clahe=0, contrast=0, gamma=0, rotation=0, translation=0, scale=0)
"""Slices as they are."""


def augment_slice(image: Tensor, config: SliceAugment, size: int, generator: torch.Generator) -> Tensor:
    """A slice changed at random, at the working size.

    Args:
        image: RGB in [0, 1], [3, H, W].
        config: How often and how far.
        size: S.
        generator: Decides every draw.

    Returns:
        [3, S, S]; black where nothing was.
    """
    geometry = AugmentConfig(
        horizontal_flip=0,
        rotation=config.rotation_degrees if _chance(config.rotation, generator) else 0,
        translation=config.translation_share if _chance(config.translation, generator) else 0,
        scale=math.log(config.scale_factor) if _chance(config.scale, generator) else 0,
    )
    turned, _ = resample(image, image[:1], draw_geometry(geometry, generator), size)
    return _change_shades(turned, config, generator)


def _change_shades(image: Tensor, config: SliceAugment, generator: torch.Generator) -> Tensor:
    if _chance(config.clahe, generator):
        grey = image.mean(0)
        image = (image + clahe(grey, _between(config.clahe_limit, generator)) - grey).clamp(0, 1)
    if _chance(config.contrast, generator):
        mean = image.mean()
        image = (mean + (image - mean) * _between(config.contrast_range, generator)).clamp(0, 1)
    if _chance(config.gamma, generator):
        image = image.clamp(0, 1) ** _between(config.gamma_range, generator)
    return image


def _between(ends: Range, generator: torch.Generator) -> float:
    return ends[0] + (ends[1] - ends[0]) * torch.rand((), generator=generator).item()


def _chance(probability: float, generator: torch.Generator) -> bool:
    return torch.rand((), generator=generator).item() < probability
