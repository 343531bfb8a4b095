"""One picture of a series: slices along the axis, and bands that show what is named where, and how sure."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from vesalius.console import to_terminal
from vesalius.errors import ConfigError, reason_of
from vesalius.imaging import MedicalImage, write_rgb
from vesalius.imaging.formats import RASTER_SUFFIXES
from vesalius.imaging.slices import PALETTE, shrink, to_bytes
from vesalius.naming.labels import LabelRange, SeriesName, SliceName
from vesalius.prompts.anatomy import STATIONS

PAPER, INK, SOFT, FAINT, UNNAMED = "#ffffff", "#1d2327", "#5b656c", "#eef0f2", "#98a1a7"
WIDTH = 1100
GUTTER = 130
"""Pixels left of the axis, for names."""
EDGE = 66
"""Pixels right of it, for numbers."""
MARGIN = 18
"""Pixels around the whole picture."""
GAP = 6
"""Pixels between its parts, and between thumbnails."""
TITLE, SCALE = 62, 40
"""Height of the title and of the scale."""
HEADING = 20
"""Height of the line above bands."""
STATION_HEIGHT, ORGAN_HEIGHT = 40, 22
"""Height of a band."""
BAR = 17
"""Height of a named range, below the curve."""
SPACE = 4
"""Pixels between bands."""
THUMBNAILS = 8
SHOWN_ORGANS = 6
TICKS = 8
LIGHT = 140
"""Luminance, 0 to 255, from which dark letters read better than white ones."""
PALE = 0.45
"""Share of white in a curve's colour."""
TEXT_MARGIN = 5
"""Pixels that a bar must be wider than its text."""


def draw_strip(series: SeriesName, stacks: Sequence[MedicalImage]) -> Image.Image:
    """Draw a series.

    From top to bottom: what it is; slices spread evenly over it, the first (axial: nearest the feet) at the left; a
    band for each station, with the probability of every slice as a curve and each named range as a bar with its name;
    the likeliest organs in thinner bands; slice numbers and millimetres.

    Args:
        series: The names.
        stacks: Stacks that were named, see ``choose_stacks``.
    """
    axis = Axis(len(series.slices))
    parts = [_draw_title(series), _draw_thumbnails(stacks, axis), _draw_stations(series, axis)]
    parts += [_draw_organs(series, axis), _draw_scale(series.slices, axis)]
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
        ConfigError: If its suffix names no format of pictures.
    """
    if path.suffix.lower() not in RASTER_SUFFIXES:
        raise ConfigError(f"--strip {path}: expected a name that ends in {', '.join(RASTER_SUFFIXES)}.")


def write_strip(path: Path, series: SeriesName, stacks: Sequence[MedicalImage]) -> None:
    """Write ``draw_strip`` as a picture in the format of its suffix.

    Raises:
        ImageError: If the suffix names no format of pictures.
        OutputError: If the file cannot be written.
    """
    write_rgb(path, np.asarray(draw_strip(series, stacks)))


def try_strip(path: Path, series: SeriesName, stacks: Sequence[MedicalImage]) -> str | None:
    """Write a strip whose failure must lose no name.

    Returns:
        Why it could not be written; None if it was.
    """
    try:
        write_strip(path, series, stacks)
    except Exception as error:  # a fault of ours, too
        return reason_of(path, error)
    return None


@dataclass(frozen=True)
class Axis:
    """Slices from left to right."""

    count: int
    """Number of slices."""

    @property
    def width(self) -> int:
        """Pixels of all slices together."""
        return WIDTH - GUTTER - EDGE

    def left(self, place: int) -> int:
        """Pixel at which a slice begins; ``count`` gives the end."""
        return GUTTER + round(place / self.count * self.width)


def _sheet(height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    part = Image.new("RGB", (WIDTH, height), PAPER)
    return part, ImageDraw.Draw(part)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _draw_title(series: SeriesName) -> Image.Image:
    part, pen = _sheet(TITLE)
    pen.text((0, 0), to_terminal(series.source.name), INK, _font(24))
    pen.text((0, 34), to_terminal(" · ".join(series.facts)), SOFT, _font(16))
    return part


def _draw_thumbnails(stacks: Sequence[MedicalImage], axis: Axis) -> Image.Image:
    """Evenly spread slices, each above its own place, or as near as there is room."""
    side = (axis.width - GAP * (THUMBNAILS - 1)) // THUMBNAILS
    part, pen = _sheet(side + 22)
    count = min(THUMBNAILS, axis.count)
    step = axis.width / max(1, count)
    for number in range(count):
        place = int((number + 0.5) * axis.count / count)  # the middle of one of equal parts of the series
        left = GUTTER + round(step * (number + 0.5) - side / 2)
        part.paste(_tile(stacks, place, side), (left, 0))
        pen.text((left + side / 2, side + 4), f"{place}", SOFT, _font(14), anchor="ma")
    pen.text((GUTTER - 12, side + 4), "slice", SOFT, _font(14), anchor="ra")
    return part


def _tile(stacks: Sequence[MedicalImage], place: int, side: int) -> Image.Image:
    for stack in stacks:
        if place < len(stack.pixels):
            levels = to_bytes(stack.slices()[place].rgb_square())
            small = Image.fromarray(shrink(levels, side, Image.Resampling.BOX))
            tile = Image.new("RGB", (side, side))
            tile.paste(small, ((side - small.width) // 2, (side - small.height) // 2))
            return tile
        place -= len(stack.pixels)
    raise IndexError(place)


def _draw_stations(series: SeriesName, axis: Axis) -> Image.Image:
    """A band for every station, feet below head."""
    names = [name for name in STATIONS if any(name in each.station_probabilities for each in series.slices)]
    part, pen = _sheet(HEADING + len(names) * (STATION_HEIGHT + SPACE))
    pen.text((0, 0), _heading("Stations", "stations", series), SOFT, _font(13))
    for row, name in enumerate(names):
        top, paint = HEADING + row * (STATION_HEIGHT + SPACE), PALETTE[row % len(PALETTE)]
        ranges = [each for each in series.stations if each.label == name]
        _write_name(pen, name, top + STATION_HEIGHT / 2, 16, bool(ranges))
        values = [each.station_probabilities.get(name, 0.0) for each in series.slices]
        _draw_curve(pen, values, axis, (top, STATION_HEIGHT - BAR), paint)
        for each in ranges:
            _draw_bar(pen, each, axis, top + STATION_HEIGHT - BAR, paint)
        pen.text((WIDTH, top + 12), f"max {max(values):.2f}", SOFT, _font(13), anchor="rm")
    return part


def _draw_organs(series: SeriesName, axis: Axis) -> Image.Image:
    """Thin bands for the likeliest organs."""
    organs = series.slices[0].organ_probabilities
    curves = {name: [each.organ_probabilities[name] for each in series.slices] for name in organs}
    likeliest = sorted(curves, key=lambda name: -max(curves[name]))[:SHOWN_ORGANS]
    part, pen = _sheet(HEADING + len(likeliest) * (ORGAN_HEIGHT + SPACE))
    pen.text((0, 0), _heading("Likeliest organs", "organs", series), SOFT, _font(13))
    for row, name in enumerate(likeliest):
        top = HEADING + row * (ORGAN_HEIGHT + SPACE)
        middle = top + ORGAN_HEIGHT / 2
        _write_name(pen, name, middle, 14, any(each.label == name for each in series.organs))
        _draw_curve(pen, curves[name], axis, (top, ORGAN_HEIGHT), SOFT)
        pen.text((WIDTH, middle), f"max {max(curves[name]):.2f}", SOFT, _font(13), anchor="rm")
    return part


def _draw_scale(slices: Sequence[SliceName], axis: Axis) -> Image.Image:
    """Numbers of slices, and below them millimetres where they are known."""
    part, pen = _sheet(SCALE)
    for place in range(0, axis.count, max(1, -(-axis.count // TICKS))):
        middle = (axis.left(place) + axis.left(place + 1)) / 2
        pen.line((middle, 0, middle, 5), SOFT)
        pen.text((middle, 7), str(place), INK, _font(13), anchor="ma")
        position = slices[place].position_mm
        if position is not None:
            pen.text((middle, 23), f"{position:.0f} mm", SOFT, _font(13), anchor="ma")
    pen.text((GUTTER - 12, 7), "slice", SOFT, _font(13), anchor="ra")
    return part


def _heading(title: str, question: str, series: SeriesName) -> str:
    told = "calibrated probabilities" if question in series.calibrated else "uncalibrated shares among all labels"
    return f"{title}: {told}, each slice alone"


def _write_name(pen: ImageDraw.ImageDraw, name: str, middle: float, size: int, named: bool) -> None:
    pen.text((GUTTER - 12, middle), name, INK if named else UNNAMED, _font(size), anchor="rm")


def _draw_curve(
    pen: ImageDraw.ImageDraw, values: Sequence[float], axis: Axis, place: tuple[int, int], paint: str
) -> None:
    """Probability of every slice as a step, 0 at the bottom and 1 at the top; paler than bars, so that these stand out.

    Args:
        pen: What draws.
        values: One probability a slice.
        axis: Where slices begin.
        place: Top and height of the band.
        paint: Colour of the band's bars.
    """
    top, height = place
    pale = tuple(round(PALE * 255 + (1 - PALE) * level) for level in ImageColor.getrgb(paint)[:3])
    pen.rectangle((GUTTER, top, axis.left(axis.count) - 1, top + height - 1), FAINT)
    for index, value in enumerate(values):
        left, right = axis.left(index), max(axis.left(index), axis.left(index + 1) - 1)
        high = round(value * (height - 1))
        if high:
            pen.rectangle((left, top + height - 1 - high, right, top + height - 1), pale)


def _draw_bar(pen: ImageDraw.ImageDraw, found: LabelRange, axis: Axis, top: int, paint: str) -> None:
    """A named range, with its name where there is room: it must be read without its colour."""
    left, right = axis.left(found.first), axis.left(found.last + 1) - 2  # neighbours stay apart
    pen.rectangle((left, top + 2, right, top + BAR), paint)
    texts = (f"{found.label}, slices {found.first} to {found.last}", str(found.label))
    fitting = (text for text in texts if pen.textlength(text, _font(13)) + TEXT_MARGIN < right - left)
    red, green, blue = ImageColor.getrgb(paint)[:3]
    ink = INK if 0.3 * red + 0.6 * green + 0.1 * blue > LIGHT else PAPER
    pen.text(((left + right) / 2, top + 2 + BAR / 2), next(fitting, ""), ink, _font(13), anchor="mm")
