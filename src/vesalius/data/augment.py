"""Joint augmentation of an image and its mask: one resampling for all geometry, then intensity changes."""

import math
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from vesalius.errors import ConfigError


@dataclass(frozen=True)
class AugmentConfig:
    """Ranges of the random changes; every draw is uniform."""

    horizontal_flip: float = 0.5
    """Probability; the words left and right in the prompt are swapped with it."""
    vertical_flip: float = 0.0
    """Probability; top and bottom are swapped with it."""
    rotation: float = 15.0
    """Degrees, either way."""
    scale: float = 0.2
    """Relative zoom, in or out."""
    translation: float = 0.1
    """Of the side, either way."""
    brightness: float = 0.15
    """Added to intensities in [0, 1], either way."""
    contrast: float = 0.25
    """Relative change around the image's mean, either way."""
    saturation: float = 0.25
    """Relative change around the grey image, either way."""
    gamma: float = 0.25
    """Exponent drawn from exp(±gamma)."""
    hue: float = 0.0
    """Turn of the colours around grey, degrees, either way."""
    blur: float = 0.0
    """Largest standard deviation of a Gaussian blur, pixels of the working size."""
    noise: float = 0.0
    """Largest standard deviation of Gaussian noise on intensities in [0, 1]."""

    def __post_init__(self) -> None:
        for name in ("horizontal_flip", "vertical_flip"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is a probability and must lie in 0–1, got {getattr(self, name)}.")


STILL = AugmentConfig(**{field.name: 0.0 for field in fields(AugmentConfig)})
"""Changes nothing."""


@dataclass(frozen=True)
class Geometry:
    """One drawn change of shape."""

    matrix: Tensor
    """From output to input coordinates in [-1, 1], [2, 3]."""
    flipped_horizontally: bool
    flipped_vertically: bool


def draw_geometry(config: AugmentConfig, generator: torch.Generator) -> Geometry:
    """Draw a flip, rotation, zoom and shift."""
    horizontal = _chance(config.horizontal_flip, generator)
    vertical = _chance(config.vertical_flip, generator)
    angle = math.radians(_symmetric(config.rotation, generator))
    zoom = math.exp(_symmetric(config.scale, generator))
    cosine, sine = zoom * math.cos(angle), zoom * math.sin(angle)
    shift = [2 * _symmetric(config.translation, generator) for _ in range(2)]
    signs = torch.tensor([[-1.0 if horizontal else 1.0], [-1.0 if vertical else 1.0]])
    rotation = torch.tensor([[cosine, -sine, shift[0]], [sine, cosine, shift[1]]])
    return Geometry(signs * rotation, horizontal, vertical)


def resample(image: Tensor, mask: Tensor, geometry: Geometry, size: int) -> tuple[Tensor, Tensor]:
    """Apply a geometry and reach the working size in one interpolation; what lies outside becomes black.

    Args:
        image: [3, H, W].
        mask: [1, H, W], 0 or 1.
        geometry: From ``draw_geometry``.
        size: S.

    Returns:
        Image [3, S, S] (bilinear) and mask [1, S, S] (1 where the interpolated mask is at least a half).
    """
    grid = F.affine_grid(geometry.matrix[None], [1, 1, size, size], align_corners=False)
    both = F.grid_sample(torch.cat([image, mask])[None], grid, align_corners=False)[0]
    return both[:3], (both[3:] >= 0.5).float()


def change_intensity(image: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Gamma, colours, contrast, brightness, blur and noise of RGB [3, H, W] in [0, 1], clipped back to it."""
    image = image.clamp(min=0) ** math.exp(_symmetric(config.gamma, generator))
    grey = image.mean(0, keepdim=True)
    image = grey + (image - grey) * (1 + _symmetric(config.saturation, generator))
    mean = image.mean()
    image = mean + (image - mean) * (1 + _symmetric(config.contrast, generator))
    image = image + _symmetric(config.brightness, generator)
    # What is off draws nothing, so that adding it to a recipe changes none of the draws before it.
    if config.hue:
        image = _turn_hue(image, math.radians(_symmetric(config.hue, generator)))
    if config.blur:
        image = _blur(image, config.blur * torch.rand((), generator=generator).item())
    if config.noise:
        strength = config.noise * torch.rand((), generator=generator)
        image = image + strength * torch.randn(image.shape, generator=generator)
    return image.clamp(0, 1)


def _turn_hue(image: Tensor, angle: float) -> Tensor:
    """Turn RGB around its grey axis (Rodrigues' formula); grey stays grey."""
    along, across = (1 - math.cos(angle)) / 3, math.sin(angle) / math.sqrt(3)
    turn = torch.full((3, 3), along) + math.cos(angle) * torch.eye(3)
    turn = turn + across * torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
    return torch.einsum("oc,chw->ohw", turn, image)


def _blur(image: Tensor, sigma: float) -> Tensor:
    radius = math.ceil(2 * sigma)
    if sigma < 0.2 or radius >= min(image.shape[1:]):
        return image
    kernel = torch.exp(-(torch.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    padded = F.pad(image[:, None], (radius,) * 4, mode="reflect")
    return F.conv2d(F.conv2d(padded, kernel), kernel.transpose(2, 3))[:, 0]


def _symmetric(limit: float, generator: torch.Generator) -> float:
    return limit * (2 * torch.rand((), generator=generator).item() - 1)


def _chance(probability: float, generator: torch.Generator) -> bool:
    return torch.rand((), generator=generator).item() < probability
