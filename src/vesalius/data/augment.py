"""Random changes: of an image and its mask jointly, and of a slice whose caption must stay true.

`AugmentConfig` is for segmentation: geometry and intensity, flips reported so that prompts can swap their sides.
`SliceAugment` is for naming: slices are never flipped, as a mirrored slice is another one, nor zoomed or moved so far
that an organ leaves the picture. Ranges for which the paper gives no numbers are those of the field's tools, see
docs/anatomy-training.md. `clahe` equalises histograms tile by tile.
"""

import math
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from vesalius.errors import ConfigError, check_at_least

LARGEST_EXPONENT = 5
"""Largest limit of zoom and gamma, which are both drawn from exp(±limit)."""


@dataclass(frozen=True)
class AugmentConfig:
    """Ranges of the random changes; every draw is uniform."""

    horizontal_flip: float = 0.5
    """Probability; the words left and right in the prompt are swapped with it."""
    vertical_flip: float = 0.0
    """Probability; top and bottom are swapped with it."""
    rotation: float = 15.0
    """Largest turn, degrees, either way."""
    scale: float = 0.2
    """Largest relative zoom, in or out."""
    translation: float = 0.1
    """Largest shift, as a share of the side, either way."""
    brightness: float = 0.15
    """Largest amount added to intensities in [0, 1], either way."""
    contrast: float = 0.25
    """Largest relative change around the image's mean, either way."""
    saturation: float = 0.25
    """Largest relative change around the grey image, either way."""
    gamma: float = 0.25
    """Exponent drawn from exp(±gamma)."""
    hue: float = 0.0
    """Largest turn of the colours around grey, degrees, either way."""
    blur: float = 0.0
    """Largest standard deviation of a Gaussian blur, pixels of the working size."""
    noise: float = 0.0
    """Largest standard deviation of Gaussian noise on intensities in [0, 1]."""

    def __post_init__(self) -> None:
        for name in ("horizontal_flip", "vertical_flip"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is a probability and must lie in 0–1, got {getattr(self, name)}.")
        check_at_least(self, 0, *(each.name for each in fields(self)))
        for name in ("scale", "gamma"):
            if getattr(self, name) > LARGEST_EXPONENT:
                raise ConfigError(f"{name} must be at most {LARGEST_EXPONENT}, got {getattr(self, name)}.")


STILL = AugmentConfig(**{field.name: 0.0 for field in fields(AugmentConfig)})
"""Settings that change nothing."""


@dataclass(frozen=True)
class Geometry:
    """One drawn change of shape."""

    matrix: Tensor
    """Map from output to input coordinates in [-1, 1], [2, 3]."""
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
    """Apply a geometry and reach the working size; what lies outside becomes black.

    What has more pixels than are asked for is shrunk first, as for predictions: each pixel is a mean of what it covers.

    Args:
        image: [3, H, W].
        mask: [1, H, W], 0 or 1.
        geometry: From ``draw_geometry``.
        size: S.

    Returns:
        Image [3, S, S] (bilinear) and mask [1, S, S] (1 where the interpolated mask is at least a half).
    """
    both = torch.cat([image, mask])[None]
    # One of its pixels for every pixel of the result, as far as there are so many.
    side = math.ceil(size / geometry.matrix[:, :2].det().abs().sqrt().item() - 1e-3)
    height, width = (min(length, side) for length in image.shape[1:])
    if (height, width) != tuple(image.shape[1:]):
        both = F.interpolate(both, (height, width), mode="bilinear", align_corners=False, antialias=True)
    grid = F.affine_grid(geometry.matrix[None], [1, 1, size, size], align_corners=False)
    both = F.grid_sample(both, grid, align_corners=False)[0]
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


LEVELS = 256
TILES = 8
"""Tiles along either side, each equalised by its own histogram."""


def clahe(grey: Tensor, limit: float, tiles: int = TILES) -> Tensor:
    """Contrast-limited adaptive histogram equalisation, interpolated between tiles.

    Histograms are cut where they exceed ``limit`` times the mean height, what is cut off is given to all levels alike;
    a limit of 1 leaves levels nearly as they are, a high one equalises fully.

    Args:
        grey: Intensities in [0, 1], [H, W]; rounded to 256 levels. Sides that the tiles do not divide are continued by
            reflection.
        limit: 1 or more.
        tiles: Parts of either side.

    Returns:
        [H, W], in [0, 1].
    """
    height, width = grey.shape
    tall, wide = (-(-side // tiles) for side in (height, width))
    padding = (0, wide * tiles - width, 0, tall * tiles - height)
    levels = F.pad((grey.clamp(0, 1) * (LEVELS - 1)).round()[None, None], padding, mode="reflect")[0, 0].long()
    tables = _tables(levels, (tall, wide), limit, tiles)
    rows, columns = _neighbours(height, tall, tiles), _neighbours(width, wide, tiles)
    shown, result = levels[:height, :width], torch.zeros(height, width)
    for row, share_down in rows:
        for column, share_across in columns:
            result += share_down[:, None] * share_across * tables[row[:, None], column, shown]
    return result


def _tables(levels: Tensor, size: tuple[int, int], limit: float, tiles: int) -> Tensor:
    """New value of every level in every tile, [T, T, 256]."""
    tall, wide = size
    parts = levels.view(tiles, tall, tiles, wide).transpose(1, 2).reshape(tiles * tiles, tall * wide)
    counts = torch.zeros(tiles * tiles, LEVELS).scatter_add_(1, parts, torch.ones(parts.shape))
    kept = counts.clamp(max=max(1.0, limit * tall * wide / LEVELS))
    kept += (counts - kept).sum(1, keepdim=True) / LEVELS
    return (kept.cumsum(1) / (tall * wide)).view(tiles, tiles, LEVELS)


def _neighbours(length: int, step: int, tiles: int) -> list[tuple[Tensor, Tensor]]:
    """For every pixel of a side the two tiles whose centres lie around it, and how much each counts."""
    places = (torch.arange(length) + 0.5) / step - 0.5
    first = places.floor()
    share = places - first
    return [(tile.long().clamp(0, tiles - 1), weight) for tile, weight in ((first, 1 - share), (first + 1, share))]


Range = tuple[float, float]


@dataclass(frozen=True)
class SliceAugment:
    """Probabilities, and ranges of uniform draws."""

    clahe: float = 0.2
    """Probability of adaptive histogram equalisation in 8 × 8 tiles."""
    clahe_limit: Range = (1.0, 4.0)
    """Range of the height at which histograms are cut, in units of their mean height."""
    contrast: float = 0.3
    """Probability of stretching intensities around their mean."""
    contrast_range: Range = (0.75, 1.5)
    """Range of the factor."""
    gamma: float = 0.3
    """Probability of raising intensities to a power."""
    gamma_range: Range = (0.7, 1.5)
    """Range of the exponent."""
    rotation: float = 0.5
    """Probability of a turn."""
    rotation_degrees: float = 15.0
    """Largest turn, degrees, either way."""
    translation: float = 0.5
    """Probability of a shift."""
    translation_share: float = 0.1
    """Largest shift, as a share of the side, either way."""
    scale: float = 0.5
    """Probability of a zoom."""
    scale_factor: float = 1.15
    """Largest factor of the zoom, in or out; up to 1.4, beyond which organs leave the picture."""

    def __post_init__(self) -> None:
        for name in ("clahe", "contrast", "gamma", "rotation", "translation", "scale"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is a probability from 0 to 1, got {getattr(self, name)}.")
        for field in fields(self):
            ends = getattr(self, field.name)
            if isinstance(ends, tuple) and not (len(ends) == 2 and 0 < ends[0] <= ends[1] < math.inf):
                raise ConfigError(f"{field.name} is a range, two numbers above 0 in ascending order, got {ends}.")
        if self.clahe_limit[0] < 1:
            raise ConfigError(f"clahe_limit must be at least 1, got {self.clahe_limit[0]}.")
        check_at_least(self, 0, "rotation_degrees")
        if not 0 <= self.translation_share <= 0.25 or not 1 <= self.scale_factor <= 1.4:
            got = f"{self.translation_share} and {self.scale_factor}"
            raise ConfigError(f"translation_share must be 0 to 0.25 and scale_factor 1 to 1.4, got {got}.")


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
    return _change_grey_levels(turned, config, generator)


def _change_grey_levels(image: Tensor, config: SliceAugment, generator: torch.Generator) -> Tensor:
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
