"""Bands of a strip: where a label is named, and how probable it is on every slice."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageColor, ImageDraw, ImageFont

from vesalius.imaging.display import PALETTE
from vesalius.naming.names import LabelRange, SeriesName, SliceName
from vesalius.prompts.anatomy import STATIONS

PAPER, INK, SOFT, FAINT = "#ffffff", "#1d2327", "#5b656c", "#eef0f2"
WIDTH = 1100
GUTTER = 130
"""Left of the axis, for names."""
EDGE = 66
"""Right of it, for numbers."""
STATION_HEIGHT = 40
ORGAN_HEIGHT = 22
BAR = 17
"""Of a named range, below the curve."""
SPACE = 4
SHOWN_ORGANS = 6
TICKS = 8
LIGHT = 140
"""Luminance, 0 to 255, from which dark letters read better than white ones."""
PALE = 0.45
"""Share of white in a curve's colour."""
LEAST_LABEL = 5
"""Pixels that a bar must be wider than its text."""


@dataclass(frozen=True)
class Axis:
    """Slices from left to right."""

    count: int

    @property
    def width(self) -> int:
        """Pixels of all slices together."""
        return WIDTH - GUTTER - EDGE

    def left(self, place: int) -> int:
        """Where a slice begins; ``count`` gives the end."""
        return GUTTER + round(place / self.count * self.width)


def draw_stations(series: SeriesName, axis: Axis) -> Image.Image:
    """A band for every station, feet below head."""
    names = [name for name in STATIONS if any(name in each.station_probabilities for each in series.slices)]
    part, pen = _sheet(20 + len(names) * (STATION_HEIGHT + SPACE))
    pen.text((0, 0), _heading("Stations", "stations", series), SOFT, _font(13))
    for row, name in enumerate(names):
        top, paint = 20 + row * (STATION_HEIGHT + SPACE), PALETTE[row % len(PALETTE)]
        ranges = [each for each in series.stations if each.label == name]
        _name_row(pen, name, top + STATION_HEIGHT / 2, 16, bool(ranges))
        values = [each.station_probabilities.get(name, 0.0) for each in series.slices]
        _curve(part, values, axis, (top, STATION_HEIGHT - BAR), _tint(paint))
        for each in ranges:
            _bar(pen, each, axis, top + STATION_HEIGHT - BAR, paint)
        pen.text((WIDTH, top + 12), f"max {max(values):.2f}", SOFT, _font(13), anchor="rm")
    return part


def draw_organs(series: SeriesName, axis: Axis) -> Image.Image:
    """Thin bands for the likeliest organs."""
    peaks = {name: max(each.organ_probabilities[name] for each in series.slices) for name in _organs(series)}
    likeliest = sorted(peaks, key=lambda name: -peaks[name])[:SHOWN_ORGANS]
    part, pen = _sheet(20 + len(likeliest) * (ORGAN_HEIGHT + SPACE))
    pen.text((0, 0), _heading("Likeliest organs", "organs", series), SOFT, _font(13))
    for row, name in enumerate(likeliest):
        top = 20 + row * (ORGAN_HEIGHT + SPACE)
        _name_row(pen, name, top + ORGAN_HEIGHT / 2, 14, any(each.label == name for each in series.organs))
        values = [each.organ_probabilities[name] for each in series.slices]
        _curve(part, values, axis, (top, ORGAN_HEIGHT), _tint(SOFT))
        pen.text((WIDTH, top + ORGAN_HEIGHT / 2), f"max {peaks[name]:.2f}", SOFT, _font(13), anchor="rm")
    return part


def draw_scale(slices: Sequence[SliceName], axis: Axis) -> Image.Image:
    """Numbers of slices, and below them millimetres where they are known."""
    part, pen = _sheet(40)
    step = max(1, -(-axis.count // TICKS))
    for place in range(0, axis.count, step):
        middle = (axis.left(place) + axis.left(place + 1)) / 2
        pen.line((middle, 0, middle, 5), SOFT)
        pen.text((middle, 7), str(place), INK, _font(13), anchor="ma")
        position = slices[place].position_mm
        if position is not None:
            pen.text((middle, 23), f"{position:.0f} mm", SOFT, _font(13), anchor="ma")
    pen.text((GUTTER - 12, 7), "slice", SOFT, _font(13), anchor="ra")
    return part


def _sheet(height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    part = Image.new("RGB", (WIDTH, height), PAPER)
    return part, ImageDraw.Draw(part)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _heading(title: str, kind: str, series: SeriesName) -> str:
    told = "calibrated probabilities" if kind in series.calibrated else "uncalibrated shares among all labels"
    return f"{title}: {told}, each slice alone"


def _tint(paint: str) -> str:
    """A lighter shade, so that bars of named ranges stand out."""
    levels = (round(PALE * 255 + (1 - PALE) * level) for level in ImageColor.getrgb(paint)[:3])
    return "#" + "".join(f"{level:02x}" for level in levels)


def _organs(series: SeriesName) -> list[str]:
    return list(series.slices[0].organ_probabilities)


def _name_row(pen: ImageDraw.ImageDraw, name: str, middle: float, size: int, named: bool) -> None:
    pen.text((GUTTER - 12, middle), name, INK if named else "#98a1a7", _font(size), anchor="rm")


def _curve(part: Image.Image, values: Sequence[float], axis: Axis, place: tuple[int, int], paint: str) -> None:
    """Probability of every slice as a step, 0 at the bottom and 1 at the top of the band."""
    top, height = place
    pen = ImageDraw.Draw(part)
    pen.rectangle((GUTTER, top, axis.left(axis.count) - 1, top + height - 1), FAINT)
    for index, value in enumerate(values):
        left, right = axis.left(index), max(axis.left(index), axis.left(index + 1) - 1)
        high = round(value * (height - 1))
        if high:
            pen.rectangle((left, top + height - 1 - high, right, top + height - 1), paint)


def _bar(pen: ImageDraw.ImageDraw, found: LabelRange, axis: Axis, top: int, paint: str) -> None:
    """The named range, with its name where there is room: it must be read without its colour."""
    left, right = axis.left(found.first), axis.left(found.last + 1) - 2  # neighbours stay apart
    pen.rectangle((left, top + 2, right, top + BAR), paint)
    text = next((text for text in _texts(found) if _fits(pen, text, right - left)), "")
    pen.text(((left + right) / 2, top + 2 + BAR / 2), text, _readable_on(paint), _font(13), anchor="mm")


def _readable_on(paint: str) -> str:
    red, green, blue = ImageColor.getrgb(paint)[:3]
    return INK if 0.3 * red + 0.6 * green + 0.1 * blue > LIGHT else PAPER


def _texts(found: LabelRange) -> tuple[str, ...]:
    return f"{found.label}, slices {found.first} to {found.last}", str(found.label)


def _fits(pen: ImageDraw.ImageDraw, text: str, width: int) -> bool:
    return pen.textlength(text, _font(13)) + LEAST_LABEL < width
