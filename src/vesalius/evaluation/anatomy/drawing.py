"""Parts of figures as SVG that stands alone: square panels with curves, and a legend.

Files of their own, so a page of Markdown can show them; text and colours are within, on white.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vesalius.console import to_html
from vesalius.evaluation.report.figures import TICKS, colour
from vesalius.files import write_text

INK, SOFT, LINE = "#1d2327", "#5b656c", "#dedbd3"
FONT = 'font-family="system-ui, Segoe UI, Roboto, DejaVu Sans, sans-serif" font-size="11"'
HALO = 'stroke="#fff" stroke-width="3" paint-order="stroke"'
"""Keeps text readable on a curve."""
LETTER = 6.2
"""Width of a letter of the legend, about."""
LEGEND = 22
"""Height of the legend."""
EDGE = 12.0
"""Left of it."""


@dataclass(frozen=True)
class Curve:
    """Points in the unit square, from left to right."""

    series: int
    """Number of the system, which decides the colour."""
    across: Sequence[float]
    up: Sequence[float]
    dots: bool = False
    """Mark the points."""


@dataclass(frozen=True)
class Panel:
    """A unit square with a scale."""

    title: str
    across: str
    """What the horizontal axis is."""
    up: str
    curves: Sequence[Curve]
    notes: Sequence[tuple[int, str]] = ()
    """Series and a text in its colour, below one another in the lower right."""
    diagonal: bool = True
    """Whether to draw a dashed line from corner to corner."""

    def draw(self, left: float, top: float, side: float) -> str:
        """The panel at a place; axes' names and numbers lie outside the square.

        Args:
            left: Of the square.
            top: Likewise.
            side: Of the square, pixels.
        """
        frame = f'<rect width="{side}" height="{side}" fill="none" stroke="{SOFT}"/>'
        dashed = f'<line x1="0" y1="{side}" x2="{side}" y2="0" stroke="{LINE}" stroke-dasharray="4 4"/>'
        parts = [
            frame,
            dashed if self.diagonal else "",
            *(_draw_curve(each, side) for each in self.curves),
            *_draw_scale(side),
            *self._words(side),
        ]
        return f'<g transform="translate({left} {top})">{"".join(parts)}</g>'

    def _words(self, side: float) -> Iterable[str]:
        half = side / 2
        yield f'<text x="{half}" y="-7" text-anchor="middle" fill="{INK}">{to_html(self.title)}</text>'
        yield f'<text x="{half}" y="{side + 29}" text-anchor="middle" fill="{SOFT}">{to_html(self.across)}</text>'
        turned = f"translate(-30 {half}) rotate(-90)"
        yield f'<text transform="{turned}" text-anchor="middle" fill="{SOFT}">{to_html(self.up)}</text>'
        for place, (series, note) in enumerate(reversed(self.notes)):
            y = side - 7 - 13 * place
            where = f'x="{side - 6}" y="{y}" text-anchor="end" fill="{colour(series)}"'
            yield f"<text {where} {HALO}>{to_html(note)}</text>"


def draw_legend(names: Sequence[str]) -> str:
    """Names of systems beside their colours, in one line at the top."""
    parts, left = [], EDGE
    for series, name in enumerate(names):
        parts.append(f'<rect x="{left:.0f}" y="6" width="10" height="10" rx="2" fill="{colour(series)}"/>')
        parts.append(f'<text x="{left + 15:.0f}" y="15" fill="{INK}">{to_html(name)}</text>')
        left += 35 + LETTER * len(name)
    return "".join(parts)


def legend_width(names: Sequence[str]) -> float:
    """Pixels that the legend takes."""
    return EDGE + sum(35 + LETTER * len(name) for name in names)


def to_svg(width: float, height: float, label: str, parts: Iterable[str]) -> str:
    """A whole file.

    Args:
        width: Pixels.
        height: Pixels.
        label: What the figure says, for those who cannot see it.
        parts: SVG elements.
    """
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img" aria-label="{to_html(label)}" {FONT}>'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def write_svg(svg: str, path: Path) -> None:
    """Write a figure, whole or not at all.

    Raises:
        OutputError: If it cannot be written.
    """
    write_text(path, svg)


def _draw_curve(curve: Curve, side: float) -> str:
    paint = colour(curve.series)
    places = [(x * side, (1 - y) * side) for x, y in zip(curve.across, curve.up, strict=True)]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    line = f'<polyline points="{points}" fill="none" stroke="{paint}" stroke-width="1.8" stroke-linejoin="round"/>'
    dots = (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{paint}"/>' for x, y in places if curve.dots)
    return line + "".join(dots)


def _draw_scale(side: float) -> Iterable[str]:
    for tick in (TICKS[0], TICKS[len(TICKS) // 2], TICKS[-1]):
        x, y = tick * side, (1 - tick) * side
        yield f'<text x="{x:.0f}" y="{side + 14}" text-anchor="middle" fill="{SOFT}">{tick:g}</text>'
        yield f'<text x="-5" y="{y + 4:.0f}" text-anchor="end" fill="{SOFT}">{tick:g}</text>'
