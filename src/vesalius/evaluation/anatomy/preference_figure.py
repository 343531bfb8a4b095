"""Figure: how sure systems are of a true caption against one that contradicts it (Figure 3 of the paper)."""

from collections.abc import Iterator, Sequence

import numpy as np

from vesalius.evaluation.anatomy.contradiction import ContradictionResult
from vesalius.evaluation.anatomy.drawing import INK, LEGEND, LINE, SOFT, draw_legend, legend_width, to_svg
from vesalius.evaluation.anatomy.evaluate import AnatomyEvaluation
from vesalius.evaluation.report.figures import TICKS, colour
from vesalius.prompts.anatomy import Aspect

WIDTH, HEIGHT, GROUND = 440, 40, 28
"""Of a strip, pixels, and where its bars stand; mean and interval lie below."""
BINS = 40
LEFT, TOP, STEP = 24, LEGEND + 14, HEIGHT + 6
TITLE = 20
"""Height of a kind's title."""
TITLES: dict[Aspect, str] = {"stations": "right organ, wrong station", "organs": "wrong organ, right station"}


def draw_preferences(evaluations: Sequence[AnatomyEvaluation]) -> str | None:
    """Draw images as bars over the softmax probability of the true caption, their mean as a dot on its interval.

    Args:
        evaluations: Of the same test slices; those that read no captions have no strip.

    Returns:
        SVG; None if there is nothing to draw.
    """
    names, parts, top = [each.name for each in evaluations], [], float(TOP)
    for aspect, title in TITLES.items():
        found = list(_of(evaluations, aspect))
        if not found:
            continue
        parts.append(f'<text x="{LEFT}" y="{top + 12}" fill="{INK}">{title}</text>')
        parts += [_strip(series, each, top + TITLE + place * STEP) for place, (series, each) in enumerate(found)]
        top += TITLE + len(found) * STEP + 6
    if not parts:
        return None
    width = max(LEFT + WIDTH + 90, legend_width(names))
    label = f"Preference for true captions: {', '.join(names)}"
    return to_svg(width, top + 34, label, [draw_legend(names), *parts, _scale(top)])


def _of(evaluations: Sequence[AnatomyEvaluation], aspect: Aspect) -> Iterator[tuple[int, ContradictionResult]]:
    for series, each in enumerate(evaluations):
        result = each.contradictions.get(aspect)
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
        f'<g transform="translate({LEFT} {top})">{grid}{bars}'
        f'<line x1="{low * WIDTH:.1f}" x2="{high * WIDTH:.1f}" y1="{middle}" y2="{middle}" stroke="{paint}" '
        f'stroke-width="3"/><circle cx="{mean.value * WIDTH:.1f}" cy="{middle}" r="4" fill="{paint}" stroke="#fff"/>'
        f'<text x="{WIDTH + 10}" y="{GROUND}" fill="{paint}">wins {result.win_rate.value:.0%}</text></g>'
    )


def _scale(top: float) -> str:
    ticks = "".join(
        f'<text x="{LEFT + tick * WIDTH:.0f}" y="{top + 6}" text-anchor="middle" fill="{SOFT}">{tick:g}</text>'
        for tick in TICKS
    )
    words = "softmax probability of the true caption against one false caption"
    return f'{ticks}<text x="{LEFT + WIDTH / 2}" y="{top + 24}" text-anchor="middle" fill="{SOFT}">{words}</text>'
