"""A small picture of each image with the outlines of all phrases, for the eye."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vesalius.files import writing
from vesalius.imaging import SliceStack, to_square_pixels
from vesalius.imaging.display import AMBER, outline
from vesalius.volumes import PackedMasks

COLOURS = (AMBER, (86, 180, 233), (255, 120, 220), (0, 200, 140), (60, 110, 255), (255, 255, 255))
"""Of the first, second … phrase, and again from the first; each is drawn with a dark rim, so that all are seen on grey,
on white and on mucosa, by colour-blind readers, too."""
PICTURE_SIDE = 640
TILE_SIDE = 240
"""Pixels of the longer side of a picture, and of a slice of a series."""
MOST_TILES = 12
TILE_COLUMNS = 4
FILL = 0.18
RIM = 0.35
"""Brightness that is left of the pixels around an outline."""
LEAST_COVER = 64
"""Of 255: how much of a small picture's pixel a mask must cover to be drawn."""
QUALITY = 90


def colour_of(place: int) -> tuple[int, int, int]:
    """Red, green and blue of a phrase, by its place among all, from 0."""
    return COLOURS[place % len(COLOURS)]


def write_overview(path: Path, slices: SliceStack, masks: Mapping[int, PackedMasks]) -> None:
    """Draw a picture, or up to 12 slices of a series with their numbers from 1.

    Args:
        path: A .jpg file.
        slices: What to draw.
        masks: Place of each phrase among all -> its mask.

    Raises:
        OutputError: If it cannot be written.
    """
    chosen = choose_slices(len(slices), masks)
    side = PICTURE_SIDE if len(slices) == 1 else TILE_SIDE
    tiles = [_tile(slices, index, masks, side) for index in chosen]
    if len(slices) > 1:
        tiles = [_number(tile, f"{index + 1}/{len(slices)}") for tile, index in zip(tiles, chosen, strict=True)]
    columns = min(TILE_COLUMNS, len(tiles))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[start : start + columns], axis=1) for start in range(0, len(tiles), columns)]
    with writing(path) as unfinished:
        Image.fromarray(np.concatenate(rows)).save(unfinished, "JPEG", quality=QUALITY, subsampling=0)


def choose_slices(count: int, masks: Mapping[int, PackedMasks]) -> list[int]:
    """Up to 12 slices, evenly spread over those with a mark; over all, if none has one."""
    marked = np.flatnonzero(np.sum([each.marked for each in masks.values()], axis=0)) if masks else np.empty(0)
    first, last = (marked[0], marked[-1]) if len(marked) else (0, count - 1)
    return sorted({int(each) for each in np.linspace(first, last, MOST_TILES).round()})


def _tile(slices: SliceStack, index: int, masks: Mapping[int, PackedMasks], side: int) -> NDArray[np.uint8]:
    rgb = to_square_pixels(slices.render_small(index, side), slices.pixel_spacing_mm)
    factor = min(1.0, side / max(rgb.shape[:2])) if len(slices) == 1 else side / max(rgb.shape[:2])
    size = max(1, round(rgb.shape[1] * factor)), max(1, round(rgb.shape[0] * factor))
    levels = np.rint(np.clip(rgb, 0, 1) * 255).astype(np.uint8)
    canvas = np.asarray(Image.fromarray(levels).resize(size, Image.Resampling.BILINEAR)).astype(np.float32)
    small = {place: _shrink(each[index], size) for place, each in masks.items() if each.marked[index]}
    for place, mask in small.items():
        canvas[mask] = canvas[mask] * (1 - FILL) + np.array(colour_of(place), np.float32) * FILL
    for mask in small.values():
        canvas[_grow(mask) & ~mask] *= RIM
    for place, mask in small.items():
        canvas[outline(mask, thickness=1 + (len(slices) == 1 and min(mask.shape) >= TILE_SIDE))] = colour_of(place)
    drawn: NDArray[np.uint8] = np.rint(canvas).astype(np.uint8)
    return drawn


def _shrink(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    how = Image.Resampling.BOX if size[0] < mask.shape[1] else Image.Resampling.BILINEAR
    cover = Image.fromarray(mask.view(np.uint8) * np.uint8(255)).resize(size, how)
    covered: NDArray[np.bool_] = np.asarray(cover) >= (LEAST_COVER if size[0] < mask.shape[1] else 128)
    return covered


def _grow(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask and one pixel around it."""
    padded = np.pad(mask, 1)
    grown: NDArray[np.bool_] = padded[1:-1, 1:-1] | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2]
    return grown | padded[1:-1, 2:]


def _number(tile: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    """Put a slice's number into a corner, light on dark."""
    picture = Image.fromarray(tile)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=13)
    left, top, right, bottom = draw.textbbox((4, 2), text, font=font)
    draw.rectangle((left - 4, top - 3, right + 4, bottom + 3), fill=(0, 0, 0))
    draw.text((4, 2), text, font=font, fill=(235, 235, 235))
    return np.asarray(picture)
