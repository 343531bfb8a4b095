"""Change pictures and their masks, whole batches at once, on whatever device they are."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Freedom:
    """How far pictures of one kind may be changed."""

    flip: bool
    """Whether a mirrored one could be real; never where sides of the body tell organs apart."""
    upside: bool
    """The same of one upside down; also of folders whose pictures are turned, so that upright ones are learnt too."""
    rotation: float
    """Degrees either way."""
    deep_zoom: float
    """Share of pictures that are cut down to a small part, which may not show the target any more."""
    colour: float
    """How far hue and saturation may move, 0 to 1."""


FREEDOM = {
    "endoscopy": Freedom(flip=True, upside=True, rotation=180, deep_zoom=0.12, colour=1.0),
    "dermoscopy": Freedom(flip=True, upside=True, rotation=180, deep_zoom=0.05, colour=0.7),
    "photo": Freedom(flip=True, upside=False, rotation=60, deep_zoom=0.08, colour=0.7),
    "microscopy": Freedom(flip=True, upside=True, rotation=180, deep_zoom=0.05, colour=1.0),
    "fundus": Freedom(flip=True, upside=False, rotation=45, deep_zoom=0.05, colour=0.7),
    "us": Freedom(flip=True, upside=False, rotation=15, deep_zoom=0.05, colour=0.1),
    "breast us": Freedom(flip=True, upside=False, rotation=15, deep_zoom=0.12, colour=0.1),
    "xray": Freedom(flip=False, upside=False, rotation=15, deep_zoom=0.0, colour=0.1),
    "ct": Freedom(flip=False, upside=False, rotation=15, deep_zoom=0.0, colour=0.1),
    "mr": Freedom(flip=False, upside=False, rotation=15, deep_zoom=0.0, colour=0.1),
    "head": Freedom(flip=True, upside=False, rotation=25, deep_zoom=0.0, colour=0.1),
}
"""By modality; ``head`` for brains, whose halves look alike."""
TURNED = {
    "aorta": "flip",
    "pancreas-t2w-mri": "flip",
    "kidney-disease-t2w": "upside",
    "lumbar-spine": "upside",
    "spider-t2w-subset": "upside",
    "full-head-t1w": "upside",
    "multiclass-brats2023-subset": "upside",
    "brisc2026-brain-tumor": "upside",
    "brisc2025-braintumor": "upside",
    "heads_mr": "upside",
}
"""Folders whose pictures are mirrored or upside down."""


@dataclass(frozen=True)
class Moves:
    """What was done to each picture of a batch."""

    grid: Tensor
    """Where each pixel comes from, [B, H, W, 2]."""
    unlike: Tensor
    """Pictures whose prompts of places ("in the top left") no longer fit, [B]."""


def draw_moves(kinds: list[Freedom], side: int, strength: float, device: torch.device) -> Moves:
    """Random flips, turns, zooms, stretches and shifts."""
    count = len(kinds)

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(count, device=device).uniform_(low, high)

    flips = torch.tensor([each.flip for each in kinds], device=device)
    turns = torch.tensor([each.rotation for each in kinds], device=device)
    zooms = torch.tensor([each.deep_zoom for each in kinds], device=device)
    mirrored = flips & (uniform(0, 1) < 0.5)
    upside = torch.tensor([each.upside for each in kinds], device=device) & (uniform(0, 1) < 0.5)
    angle = uniform(-1, 1) * turns * strength * (math.pi / 180)
    angle = torch.where(uniform(0, 1) < 0.7, angle, angle * 0)
    deep = uniform(0, 1) < zooms
    scale = torch.exp(uniform(math.log(0.65), math.log(1.35)) * strength)
    scale = torch.where(deep, uniform(0.25, 0.5), scale)
    stretch = torch.exp(uniform(-0.2, 0.2) * strength)
    reach = torch.where(deep, 1 - scale, 0.25 * strength + torch.zeros_like(scale))
    shift_x, shift_y = uniform(-1, 1) * reach, uniform(-1, 1) * reach
    cosine, sine = torch.cos(angle), torch.sin(angle)
    wide, high = scale * stretch * (1 - 2.0 * mirrored), scale / stretch * (1 - 2.0 * upside)
    theta = torch.stack(
        [
            torch.stack([cosine * wide, -sine * high, shift_x], dim=1),
            torch.stack([sine * wide, cosine * high, shift_y], dim=1),
        ],
        dim=1,
    )
    grid = F.affine_grid(theta, [count, 1, side, side], align_corners=False)
    grid = grid + _ripples(count, side, strength, device)
    return Moves(grid, mirrored | upside | deep | (angle.abs() > 0.5))


def move(images: Tensor, masks: Tensor, which: Tensor, moves: Moves) -> tuple[Tensor, Tensor]:
    """Pictures [B, 3, S, S] in [0, 1] and masks [M, 1, S, S] of the pictures ``which`` [M], moved alike."""
    moved = F.grid_sample(images, moves.grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return moved, F.grid_sample(masks, moves.grid[which], mode="bilinear", padding_mode="zeros", align_corners=False)


def recolour(images: Tensor, kinds: list[Freedom], strength: float) -> Tensor:
    """Random light, contrast, gamma, colour, a bright side, blur, coarser resolution and noise."""
    count, device = len(images), images.device

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(count, 1, 1, 1, device=device).uniform_(low, high)

    def sometimes(share: float) -> Tensor:
        return uniform(0, 1) < share

    colour = torch.tensor([each.colour for each in kinds], device=device).view(-1, 1, 1, 1) * strength
    x = images
    gains = 1 + colour * torch.empty(count, 3, 1, 1, device=device).uniform_(-0.15, 0.15)
    x = torch.where(sometimes(0.5), x * gains, x)
    grey = x.mean(dim=1, keepdim=True)
    x = torch.where(sometimes(0.5), grey + (x - grey) * (1 + colour * uniform(-0.45, 0.35)), x)
    gamma = torch.exp(uniform(-0.5, 0.5) * strength)
    x = torch.where(sometimes(0.5), x.clamp(1e-4, 1) ** gamma, x)
    middle = x.mean(dim=(1, 2, 3), keepdim=True)
    x = torch.where(sometimes(0.6), middle + (x - middle) * (1 + uniform(-0.4, 0.4) * strength), x)
    x = torch.where(sometimes(0.6), x + uniform(-0.15, 0.15) * strength, x)
    light = F.interpolate(
        torch.empty(count, 1, 3, 3, device=device).uniform_(-0.35, 0.35) * strength, size=x.shape[-2:], mode="bicubic"
    )
    x = torch.where(sometimes(0.3), x * (1 + light), x)
    coarse = F.interpolate(x, scale_factor=0.5, mode="bilinear", antialias=True)
    coarse = F.interpolate(coarse, size=x.shape[-2:], mode="bilinear")
    x = torch.where(sometimes(0.15 * strength), coarse, x)
    sharp = x + uniform(0.2, 1.0) * (x - F.avg_pool2d(x, 5, 1, 2, count_include_pad=False))
    x = torch.where(sometimes(0.15 * strength), sharp, x)
    noise = torch.randn_like(x) * uniform(0, 0.05) * strength
    return torch.where(sometimes(0.3), x + noise, x).clamp(0, 1)


def _ripples(count: int, side: int, strength: float, device: torch.device) -> Tensor:
    """Small smooth distortions of a third of the pictures, [B, H, W, 2]."""
    coarse = torch.randn(count, 2, 5, 5, device=device) * 0.025 * strength
    coarse = coarse * (torch.rand(count, 1, 1, 1, device=device) < 0.35)
    return F.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
