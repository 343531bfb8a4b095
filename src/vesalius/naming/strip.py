"""One picture of a series: slices along the axis, and below them what is named where, and how surely."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vesalius.console import to_terminal
from vesalius.errors import ConfigError
from vesalius.imaging import MedicalImage, write_rgb
from vesalius.imaging.display import shrink
from vesalius.imaging.formats import RASTER_SUFFIXES
from vesalius.naming.names import SeriesName
from vesalius.naming.strip_bands import GUTTER, INK, PAPER, SOFT, WIDTH, Axis, draw_organs, draw_scale, draw_stations

THUMBNAILS = 8
GAP = 6
MARGIN = 18
TITLE = 62


def draw_strip(series: SeriesName, stacks: Sequence[MedicalImage]) -> Image.Image:
    """Draw a series.

    From top to bottom: what it is; slices spread evenly over it, the first (axial: nearest the feet) at the left; a
    band for each station, with the probability of every slice as a curve and each named range as a bar with its name;
    the likeliest organs in thinner bands; slice numbers and millimetres.

    Args:
        series: As named.
        stacks: Of which it was named, see ``choose_stacks``.
    """
    axis = Axis(len(series.slices))
    parts = [_title(series), _thumbnails(stacks, axis), draw_stations(series, axis), draw_organs(series, axis)]
    parts.append(draw_scale(series.slices, axis))
    height = sum(part.height for part in parts) + GAP * (len(parts) - 1) + 2 * MARGIN
    sheet = Image.new("RGB", (WIDTH + 2 * MARGIN, height), PAPER)
    top = MARGIN
    for part in parts:
        sheet.paste(part, (MARGIN, top))
        top += part.height + GAP
    return sheet


def check_strip(path: Path) -> None:
    """Refuse a picture that could not be written, before anything is computed.

    Raises:
        ConfigError: If its suffix is none of ours.
    """
    if path.suffix.lower() not in RASTER_SUFFIXES:
        raise ConfigError(f"--strip {path}: expected a name that ends in {', '.join(RASTER_SUFFIXES)}.")


def write_strip(path: Path, series: SeriesName, stacks: Sequence[MedicalImage]) -> None:
    """Write ``draw_strip`` as a picture; its suffix says the format.

    Raises:
        ImageError: If the format is none of ours.
        OutputError: If the file cannot be written.
    """
    write_rgb(path, np.asarray(draw_strip(series, stacks)))


def _title(series: SeriesName) -> Image.Image:
    part = Image.new("RGB", (WIDTH, TITLE), PAPER)
    pen = ImageDraw.Draw(part)
    pen.text((0, 0), to_terminal(series.source.name), INK, ImageFont.load_default(24))
    pen.text((0, 34), to_terminal(" · ".join(describe(series))), SOFT, ImageFont.load_default(16))
    return part


def describe(series: SeriesName) -> list[str]:
    """What a series is, in a few words."""
    count = len(series.slices)
    plane = series.plane.label or (series.plane.evidence if series.stacks > 1 else "")
    modality = " ".join(word for word in (series.modality.label, series.protocol.label) if word)
    words = [modality or "modality unsure", plane, series.purpose.label or ""]
    return [*(word for word in words if word), f"{count} slices" if count > 1 else "1 slice"]


def _thumbnails(stacks: Sequence[MedicalImage], axis: Axis) -> Image.Image:
    """Evenly spread slices, each above its own place, or as near as there is room."""
    places = _spread(axis.count)
    side = (axis.width - GAP * (THUMBNAILS - 1)) // THUMBNAILS
    part = Image.new("RGB", (WIDTH, side + 22), PAPER)
    pen = ImageDraw.Draw(part)
    step = axis.width / max(1, len(places))
    for number, place in enumerate(places):
        tile = _tile(stacks, place, side)
        left = GUTTER + round(step * (number + 0.5) - side / 2)
        part.paste(tile, (left, 0))
        pen.text((left + side / 2, side + 4), f"{place}", SOFT, ImageFont.load_default(14), anchor="ma")
    pen.text((GUTTER - 12, side + 4), "slice", SOFT, ImageFont.load_default(14), anchor="ra")
    return part


def _spread(count: int) -> list[int]:
    """Middles of equal parts of the series."""
    parts = min(THUMBNAILS, count)
    return [int((number + 0.5) * count / parts) for number in range(parts)]


def _tile(stacks: Sequence[MedicalImage], place: int, side: int) -> Image.Image:
    for stack in stacks:
        if place < len(stack.pixels):
            levels = np.rint(stack.slices()[place].rgb_square() * 255).astype(np.uint8)
            small = Image.fromarray(shrink(levels, side, Image.Resampling.BOX))
            tile = Image.new("RGB", (side, side))
            tile.paste(small, ((side - small.width) // 2, (side - small.height) // 2))
            return tile
        place -= len(stack.pixels)
    raise IndexError(place)
