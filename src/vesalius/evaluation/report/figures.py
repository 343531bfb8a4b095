"""Figures of a report, as SVG inside its page.

A strip has no view box: its places along are per cent of its width, so that it fills any screen and text and dots keep
their size, which matplotlib cannot do. Curves are matplotlib's.
"""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from vesalius.evaluation.report.content import ALL, NamedCurve, Strip
from vesalius.imaging.slices import series_colour
from vesalius.pages import render_page

BINS = 40
"""Bins of a strip's histogram, over Dice 0 to 1."""
HEIGHT = 34
"""Pixels of a strip: bars above, mean and interval below."""
GROUND = 22
"""Bottom of the bars, in pixels from the top."""
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
SQUARE = 320
"""Pixels of the plot of curves."""


def draw_strip(strip: Strip) -> Markup:
    """Histogram of images, their median as a tick, and their mean as a dot on its interval."""
    counts, _ = np.histogram(strip.values, bins=BINS, range=(0, 1))
    heights = counts / max(1, counts.max()) * (GROUND - 2)
    ends = strip.mean.low, strip.mean.high
    low, high = (strip.mean.value if end is None else end for end in ends)
    bars = [(place / BINS, height) for place, height in enumerate(heights) if height]
    colour = series_colour(strip.series)
    values = {"strip": strip, "bars": bars, "width": 0.9 / BINS, "low": low, "high": high, "colour": colour}
    return Markup(render_page("evaluation/report/strip.svg", ticks=TICKS, height=HEIGHT, ground=GROUND, **values))


def draw_curves(curves: Sequence[NamedCurve]) -> Markup:
    """ROC curves, one line an evaluation."""
    from vesalius.evaluation.plots import draw_curve, draw_unit_square, new_figure, to_svg  # matplotlib

    with new_figure(SQUARE, SQUARE) as figure:
        axes = figure.add_subplot()
        draw_unit_square(axes, "", "false positive rate", "true positive rate")
        for each in curves:
            draw_curve(axes, each.series, each.curve.fpr, each.curve.tpr)
        return Markup(
            to_svg(figure, "; ".join(f"{tell_curve(each)}: area {each.curve.area.value:.3f}" for each in curves))
        )


def tell_curve(named: NamedCurve) -> str:
    """Name of the evaluation and of the prompts."""
    return f"{named.name}, {named.curve.family or ALL}"
