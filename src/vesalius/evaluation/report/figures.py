"""Figures as inline SVG: no library, no pixels, sharp on paper.

A strip has no view box. Its places along are per cent of its width, so that it fills any screen and text and dots keep
their size.
"""

from collections.abc import Sequence

import numpy as np

from vesalius.console import to_html
from vesalius.evaluation.report.content import ALL, NamedCurve, Strip
from vesalius.imaging.slices import PALETTE

BINS = 40
"""Of the distribution, over Dice 0 to 1."""
HEIGHT = 34
"""Pixels of a strip: bars above, mean and interval below."""
GROUND = 22
"""Where the bars stand, in pixels from the top."""
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
SQUARE = 240
"""Units of a side of the curves' square."""
MARGIN = 52
"""Units left of it and below, for the scale."""


def colour(series: int) -> str:
    """Of an evaluation, by its number."""
    return PALETTE[series % len(PALETTE)]


def draw_strip(strip: Strip) -> str:
    """Distribution of images as bars, median as a tick, mean as a dot on its interval."""
    paint = colour(strip.series)
    mean, middle = strip.mean, GROUND + 6
    low, high = (mean.value if end is None else end for end in (mean.low, mean.high))
    return (
        f'<svg class="strip" width="100%" height="{HEIGHT}" role="img" aria-label="{to_html(_tell(strip))}">'
        f"{_grid(HEIGHT)}{_bars(strip.values, paint)}"
        f'<line x1="{low:.2%}" x2="{high:.2%}" y1="{middle}" y2="{middle}" stroke="{paint}" stroke-width="3"/>'
        f'<line x1="{strip.median:.2%}" x2="{strip.median:.2%}" y1="2" y2="{GROUND}" stroke="#1d2327"/>'
        f'<circle cx="{mean.value:.2%}" cy="{middle}" r="4" fill="{paint}" stroke="#fff"/></svg>'
    )


def draw_axis() -> str:
    """The scale below strips."""
    anchors = ["start", *["middle"] * (len(TICKS) - 2), "end"]
    labels = "".join(
        f'<text x="{tick:.0%}" y="12" text-anchor="{anchor}">{tick:g}</text>'
        for tick, anchor in zip(TICKS, anchors, strict=True)
    )
    return f'<svg class="axis" width="100%" height="16" aria-hidden="true">{labels}</svg>'


def draw_curves(curves: Sequence[NamedCurve]) -> str:
    """Hits over false alarms, one line an evaluation."""
    names = "; ".join(f"{tell_curve(each)}: area {each.curve.area.value:.3f}" for each in curves)
    lines = "".join(_line(each) for each in curves)
    box = f"{-MARGIN} -8 {SQUARE + MARGIN + 10} {SQUARE + MARGIN + 8}"
    return (
        f'<svg class="curves" viewBox="{box}" role="img" aria-label="{to_html(names)}">{_square()}'
        f'<line x1="0" y1="{SQUARE}" x2="{SQUARE}" y2="0" stroke="#9aa3a9" stroke-dasharray="4 4"/>{lines}</svg>'
    )


def tell_curve(named: NamedCurve) -> str:
    """Whose curve it is, and of which prompts."""
    return f"{named.name}, {named.curve.family or ALL}"


def _tell(strip: Strip) -> str:
    return f"{strip.name}: mean Dice {strip.mean}, median {strip.median:.3f}, {len(strip.values)} images"


def _grid(height: int) -> str:
    return "".join(f'<line x1="{tick:.0%}" x2="{tick:.0%}" y1="0" y2="{height}" stroke="#e4e1d9"/>' for tick in TICKS)


def _bars(values: Sequence[float], paint: str) -> str:
    counts, _ = np.histogram(values, bins=BINS, range=(0, 1))
    heights = counts / max(1, counts.max()) * (GROUND - 2)
    return "".join(
        f'<rect x="{place / BINS:.2%}" y="{GROUND - height:.1f}" width="{0.9 / BINS:.2%}" height="{height:.1f}" '
        f'fill="{paint}" opacity=".35"/>'
        for place, height in enumerate(heights)
        if height
    )


def _line(named: NamedCurve) -> str:
    points = " ".join(
        f"{alarm * SQUARE:.1f},{(1 - hit) * SQUARE:.1f}"
        for alarm, hit in zip(named.curve.false_alarms, named.curve.hits, strict=True)
    )
    return f'<polyline points="{points}" fill="none" stroke="{colour(named.series)}" stroke-width="2.5"/>'


def _square() -> str:
    frame = f'<rect width="{SQUARE}" height="{SQUARE}" fill="none" stroke="#9aa3a9"/>'
    across = "".join(
        f'<text x="{tick * SQUARE:.0f}" y="{SQUARE + 14}" text-anchor="middle">{tick:g}</text>' for tick in TICKS
    )
    up = "".join(f'<text x="-6" y="{(1 - tick) * SQUARE + 4:.0f}" text-anchor="end">{tick:g}</text>' for tick in TICKS)
    half = SQUARE / 2
    names = (
        f'<text x="{half}" y="{SQUARE + 31}" text-anchor="middle">absent, taken for present</text>'
        f'<text transform="translate(-40 {half}) rotate(-90)" text-anchor="middle">present, taken for present</text>'
    )
    return frame + across + up + names
