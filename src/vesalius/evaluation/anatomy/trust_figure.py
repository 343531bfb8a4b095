"""Figure: whether stated probabilities hold, and what staying silent spares."""

from collections.abc import Sequence

from vesalius.evaluation.anatomy.drawing import LEGEND, Curve, Panel, draw_legend, legend_width, to_svg
from vesalius.evaluation.anatomy.evaluate import AnatomyEvaluation
from vesalius.prompts.anatomy import Aspect

SIDE = 260
WIDE = SIDE + 64
"""From a square to the next."""
LEFT, TOP = 48, LEGEND + 26


def draw_trust(evaluations: Sequence[AnatomyEvaluation], aspect: Aspect) -> str:
    """Draw reliability in bins of equal mass, and the share of wrong names over the share of images named.

    Args:
        evaluations: Of the same test slices.
        aspect: Whose labels.
    """
    results = [(series, each.aspects[aspect]) for series, each in enumerate(evaluations)]
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
        Panel(f"{aspect}: probabilities", "stated", "observed", reliability),
        Panel(f"{aspect}: first names", "share of images named, the surest first", "wrong", silence, diagonal=False),
    ]
    squares = [panel.draw(LEFT + place * WIDE, TOP, SIDE) for place, panel in enumerate(panels)]
    label = f"Reliability and risk over coverage of {aspect}: {', '.join(names)}"
    width = max(2 * WIDE + 10, legend_width(names))
    return to_svg(width, TOP + SIDE + 42, label, [draw_legend(names), *squares])
