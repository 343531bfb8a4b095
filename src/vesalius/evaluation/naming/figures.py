"""Figures of naming: ROC curves, preferences for true captions, calibration and abstention.

Files of their own, so a page of Markdown can show them; text and colours are within, on white.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vesalius.console import to_html
from vesalius.evaluation.naming.contradictions import ContradictionResult
from vesalius.evaluation.naming.evaluate import AnatomyEvaluation
from vesalius.evaluation.report.figures import TICKS, colour
from vesalius.files import write_text
from vesalius.prompts.anatomy import LabelKind

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


COLUMNS = 5
ROC_SIDE = 150
"""Of a panel's square, pixels."""
ROC_WIDE, ROC_HIGH = ROC_SIDE + 48, ROC_SIDE + 66
"""From a panel to the next, with room for its scale and names."""
LEFT, TOP = 48, LEGEND + 26
"""Of the first square."""


def draw_roc(evaluations: Sequence[AnatomyEvaluation], kind: LabelKind) -> str | None:
    """Draw one versus the rest, with the areas; labels that too few patients show have that number beside their name.

    Args:
        evaluations: Of the same test slices.
        kind: Whose labels.

    Returns:
        SVG; None if no label is both present and absent.
    """
    panels = list(_panels(evaluations, kind))
    if not panels:
        return None
    names = [each.name for each in evaluations]
    squares = [
        panel.draw(LEFT + place % COLUMNS * ROC_WIDE, TOP + place // COLUMNS * ROC_HIGH, ROC_SIDE)
        for place, panel in enumerate(panels)
    ]
    width = max(min(COLUMNS, len(panels)) * ROC_WIDE + 16, legend_width(names))
    height = LEGEND + -(-len(panels) // COLUMNS) * ROC_HIGH + 4
    label = f"ROC curves of {', '.join(panel.title for panel in panels)}: {', '.join(names)}"
    return to_svg(width, height, label, [draw_legend(names), *squares])


def _panels(evaluations: Sequence[AnatomyEvaluation], kind: LabelKind) -> Iterator[Panel]:
    results = [each.label_kinds[kind] for each in evaluations]
    for place, label in enumerate(results[0].labels):
        found = [(series, each.judged.rankings[place].curve()) for series, each in enumerate(results)]
        curves = [Curve(series, curve.false_alarms.tolist(), curve.hits.tolist()) for series, curve in found if curve]
        if curves:
            areas = [(series, each.labels[place].auroc) for series, each in enumerate(results)]
            notes = [(series, f"{area.value:.2f}") for series, area in areas if area]
            title = label.label if label.counted else f"{label.label} (n = {label.patients})"
            yield Panel(title, "absent, but named", "present and named", curves, notes)


TRUST_SIDE = 260
TRUST_WIDE = TRUST_SIDE + 64
"""From a square to the next."""


def draw_trust(evaluations: Sequence[AnatomyEvaluation], kind: LabelKind) -> str:
    """Draw reliability in bins of equal mass, and the share of wrong names over the share of images named.

    Args:
        evaluations: Of the same test slices.
        kind: Whose labels.
    """
    results = [(series, each.label_kinds[kind]) for series, each in enumerate(evaluations)]
    reliability = [
        Curve(
            series, [point.stated for point in each.reliability], [point.observed for point in each.reliability], True
        )
        for series, each in results
    ]
    silence = [
        Curve(series, each.abstention.coverage, each.abstention.risk) for series, each in results if each.abstention
    ]
    names = [each.name for each in evaluations]
    panels = [
        Panel(f"{kind}: probabilities", "stated", "observed", reliability),
        Panel(f"{kind}: first names", "share of images named, the surest first", "wrong", silence, diagonal=False),
    ]
    squares = [panel.draw(LEFT + place * TRUST_WIDE, TOP, TRUST_SIDE) for place, panel in enumerate(panels)]
    label = f"Reliability and risk over coverage of {kind}: {', '.join(names)}"
    width = max(2 * TRUST_WIDE + 10, legend_width(names))
    return to_svg(width, TOP + TRUST_SIDE + 42, label, [draw_legend(names), *squares])


WIDTH, HEIGHT, GROUND = 440, 40, 28
"""Of a strip, pixels, and where its bars stand; mean and interval lie below."""
BINS = 40
STRIP_LEFT, STRIP_TOP, STRIP_STEP = 24, LEGEND + 14, HEIGHT + 6
TITLE = 20
"""Height of a kind's title."""
TITLES: dict[LabelKind, str] = {"stations": "right organ, wrong station", "organs": "wrong organ, right station"}


def draw_preferences(evaluations: Sequence[AnatomyEvaluation]) -> str | None:
    """Draw images as bars over the softmax probability of the true caption, their mean as a dot on its interval.

    Args:
        evaluations: Of the same test slices; those that read no captions have no strip.

    Returns:
        SVG; None if there is nothing to draw.
    """
    names, parts, top = [each.name for each in evaluations], [], float(STRIP_TOP)
    for kind, title in TITLES.items():
        found = list(_of(evaluations, kind))
        if not found:
            continue
        parts.append(f'<text x="{STRIP_LEFT}" y="{top + 12}" fill="{INK}">{title}</text>')
        parts += [_strip(series, each, top + TITLE + place * STRIP_STEP) for place, (series, each) in enumerate(found)]
        top += TITLE + len(found) * STRIP_STEP + 6
    if not parts:
        return None
    width = max(STRIP_LEFT + WIDTH + 90, legend_width(names))
    label = f"Preference for true captions: {', '.join(names)}"
    return to_svg(width, top + 34, label, [draw_legend(names), *parts, _scale(top)])


def _of(evaluations: Sequence[AnatomyEvaluation], kind: LabelKind) -> Iterator[tuple[int, ContradictionResult]]:
    for series, each in enumerate(evaluations):
        result = each.contradictions.get(kind)
        if result is not None:
            yield series, result


def _strip(series: int, result: ContradictionResult, top: float) -> str:
    paint, mean, middle = colour(series), result.preference, GROUND + 6
    low, high = (mean.value if end is None else end for end in (mean.low, mean.high))
    grid = "".join(
        f'<line x1="{tick * WIDTH}" x2="{tick * WIDTH}" y1="0" y2="{HEIGHT}" stroke="{SOFT if tick == 0.5 else LINE}"/>'
        for tick in TICKS
    )
    counts, _ = np.histogram(result.preferences, bins=BINS, range=(0, 1))
    heights = counts / max(1, counts.max()) * (GROUND - 2)
    bars = "".join(
        f'<rect x="{place * WIDTH / BINS:.1f}" y="{GROUND - height:.1f}" width="{0.9 * WIDTH / BINS:.1f}" '
        f'height="{height:.1f}" fill="{paint}" opacity=".4"/>'
        for place, height in enumerate(heights)
        if height
    )
    return (
        f'<g transform="translate({STRIP_LEFT} {top})">{grid}{bars}'
        f'<line x1="{low * WIDTH:.1f}" x2="{high * WIDTH:.1f}" y1="{middle}" y2="{middle}" stroke="{paint}" '
        f'stroke-width="3"/><circle cx="{mean.value * WIDTH:.1f}" cy="{middle}" r="4" fill="{paint}" stroke="#fff"/>'
        f'<text x="{WIDTH + 10}" y="{GROUND}" fill="{paint}">wins {result.win_rate.value:.0%}</text></g>'
    )


def _scale(top: float) -> str:
    ticks = "".join(
        f'<text x="{STRIP_LEFT + tick * WIDTH:.0f}" y="{top + 6}" text-anchor="middle" fill="{SOFT}">{tick:g}</text>'
        for tick in TICKS
    )
    words = "softmax probability of the true caption against one false caption"
    return f'{ticks}<text x="{STRIP_LEFT + WIDTH / 2}" y="{top + 24}" text-anchor="middle" fill="{SOFT}">{words}</text>'
