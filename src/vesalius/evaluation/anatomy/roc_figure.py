"""Figure: ROC curves, one panel a label and one curve a system (Figure 2 of the paper)."""

from collections.abc import Iterator, Sequence

from vesalius.evaluation.anatomy.drawing import LEGEND, Curve, Panel, draw_legend, legend_width, to_svg
from vesalius.evaluation.anatomy.evaluate import AnatomyEvaluation
from vesalius.prompts.anatomy import Aspect

COLUMNS = 5
SIDE = 150
"""Of a panel's square, pixels."""
WIDE, HIGH = SIDE + 48, SIDE + 66
"""From a panel to the next, with room for its scale and names."""
LEFT, TOP = 48, LEGEND + 26
"""Of the first square."""


def draw_roc(evaluations: Sequence[AnatomyEvaluation], aspect: Aspect) -> str | None:
    """Draw one versus the rest, with the areas; labels that too few patients show have that number beside their name.

    Args:
        evaluations: Of the same test slices.
        aspect: Whose labels.

    Returns:
        SVG; None if no label is both present and absent.
    """
    panels = list(_panels(evaluations, aspect))
    if not panels:
        return None
    names = [each.name for each in evaluations]
    squares = [
        panel.draw(LEFT + place % COLUMNS * WIDE, TOP + place // COLUMNS * HIGH, SIDE)
        for place, panel in enumerate(panels)
    ]
    width = max(min(COLUMNS, len(panels)) * WIDE + 16, legend_width(names))
    height = LEGEND + -(-len(panels) // COLUMNS) * HIGH + 4
    label = f"ROC curves of {', '.join(panel.title for panel in panels)}: {', '.join(names)}"
    return to_svg(width, height, label, [draw_legend(names), *squares])


def _panels(evaluations: Sequence[AnatomyEvaluation], aspect: Aspect) -> Iterator[Panel]:
    results = [each.aspects[aspect] for each in evaluations]
    for place, label in enumerate(results[0].labels):
        found = [(series, each.judged.rankings[place].curve()) for series, each in enumerate(results)]
        curves = [Curve(series, curve.false_alarms.tolist(), curve.hits.tolist()) for series, curve in found if curve]
        if curves:
            areas = [(series, each.labels[place].auroc) for series, each in enumerate(results)]
            notes = [(series, f"{area.value:.2f}") for series, area in areas if area]
            title = label.label if label.counted else f"{label.label} (n = {label.patients})"
            yield Panel(title, "absent, but named", "present and named", curves, notes)
