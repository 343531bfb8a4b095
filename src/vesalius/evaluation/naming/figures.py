"""Figures of naming: ROC curves, calibration and abstention, preferences for true captions.

Each is a file of its own, so that a page of Markdown can show it; text and colours are within, on white.
"""

from collections.abc import Iterator, Sequence

from matplotlib.axes import Axes

from vesalius.evaluation.naming.contradictions import TITLES, ContradictionResult
from vesalius.evaluation.naming.evaluate import AnatomyEvaluation
from vesalius.evaluation.plots import LINE, SOFT, draw_curve, draw_unit_square, new_figure, to_svg
from vesalius.imaging.slices import series_colour
from vesalius.prompts.anatomy import LabelKind

COLUMNS = 5
ROC_SIDE, TRUST_SIDE = 200, 330
"""Pixels of a panel with its scale."""


def draw_figures(evaluations: Sequence[AnatomyEvaluation]) -> Iterator[tuple[str, str]]:
    """All figures as file names and SVG.

    Args:
        evaluations: Of the same test slices.
    """
    for kind in evaluations[0].label_kinds:
        if roc := draw_roc(evaluations, kind):
            yield f"roc_{kind}.svg", roc
        yield f"trust_{kind}.svg", draw_trust(evaluations, kind)
    if preferences := draw_preferences(evaluations):
        yield "contradictions.svg", preferences


def draw_roc(evaluations: Sequence[AnatomyEvaluation], kind: LabelKind) -> str | None:
    """ROC curves and areas, one label versus the rest; labels that too few patients show have that number in the title.

    Returns:
        SVG; None if no label is both present and absent.
    """
    results, names = [each.label_kinds[kind] for each in evaluations], [each.name for each in evaluations]
    curves = [[each.judged.rankings[place].curve() for each in results] for place in range(len(results[0].labels))]
    places = [place for place, several in enumerate(curves) if any(several)]
    if not places:
        return None
    rows, columns = -(-len(places) // COLUMNS), min(COLUMNS, len(places))
    titles = []
    with new_figure(columns * ROC_SIDE, rows * (ROC_SIDE + 10) + 40, names) as figure:
        for number, place in enumerate(places, 1):
            axes, label = figure.add_subplot(rows, columns, number), results[0].labels[place]
            titles.append(label.label if label.counted else f"{label.label} (n = {label.patients})")
            draw_unit_square(axes, titles[-1], "false positive rate", "true positive rate")
            for series, curve in enumerate(curves[place]):
                if curve:
                    draw_curve(axes, series, curve.fpr.tolist(), curve.tpr.tolist())
            areas = [(series, area.value) for series, each in enumerate(results) if (area := each.labels[place].auroc)]
            _write_areas(axes, areas)
        return to_svg(figure, f"ROC curves of {', '.join(titles)}: {', '.join(names)}")


def _write_areas(axes: Axes, areas: Sequence[tuple[int, float]]) -> None:
    """Below one another in the lower right, each in its colour."""
    halo = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}
    for row, (series, area) in enumerate(reversed(areas)):
        place = 0.97, 0.04 + 0.09 * row
        axes.text(*place, f"{area:.2f}", color=series_colour(series), ha="right", bbox=halo, clip_on=False)


def draw_trust(evaluations: Sequence[AnatomyEvaluation], kind: LabelKind) -> str:
    """Reliability in bins of equal mass, and the share of wrong names over the share of images named."""
    names = [each.name for each in evaluations]
    with new_figure(2 * TRUST_SIDE, TRUST_SIDE + 30, names) as figure:
        reliability, abstention = figure.subplots(1, 2)
        draw_unit_square(reliability, f"{kind}: probabilities", "stated", "observed")
        x_label = "share of images named, the surest first"
        draw_unit_square(abstention, f"{kind}: top-1 labels", x_label, "share wrong", diagonal=False)
        for series, each in enumerate(evaluations):
            result = each.label_kinds[kind]
            stated, observed = zip(*((point.stated, point.observed) for point in result.reliability), strict=True)
            draw_curve(reliability, series, stated, observed, "o")
            if result.abstention:
                draw_curve(abstention, series, result.abstention.coverage, result.abstention.risk)
        return to_svg(figure, f"Reliability and risk over coverage of {kind}: {', '.join(names)}")


def draw_preferences(evaluations: Sequence[AnatomyEvaluation]) -> str | None:
    """Histograms of the softmax probability of the true caption over images, and below each its mean and interval.

    Returns:
        SVG; None if no system reads captions.
    """
    names = [each.name for each in evaluations]
    strips = [
        (series, kind, result)
        for kind in TITLES
        for series, each in enumerate(evaluations)
        if (result := each.contradictions.get(kind))
    ]
    if not strips:
        return None
    with new_figure(560, 70 * len(strips) + 100, names) as figure:
        several = figure.subplots(len(strips), sharex=True, squeeze=False)[:, 0]
        shown: set[LabelKind] = set()
        for axes, (series, kind, result) in zip(several, strips, strict=True):
            _draw_strip(axes, series, result)
            if kind not in shown:
                axes.set_title(TITLES[kind], loc="left")
            shown.add(kind)
        several[-1].set_xlabel("softmax probability of the true caption against one false caption")
        return to_svg(figure, f"Preference for true captions: {', '.join(names)}")


def _draw_strip(axes: Axes, series: int, result: ContradictionResult) -> None:
    colour, mean = series_colour(series), result.preference
    axes.hist(result.preferences, bins=40, range=(0, 1), color=colour, alpha=0.4, rwidth=0.9)
    top = axes.get_ylim()[1]
    low, high = (mean.value if end is None else end for end in (mean.low, mean.high))
    axes.plot((low, high), (-top / 5,) * 2, color=colour, linewidth=3)
    axes.plot(mean.value, -top / 5, "o", color=colour, markeredgecolor="white", markersize=8)
    axes.text(1.02, 0, f"wins {result.win_rate.value:.0%}", color=colour)
    axes.set(xlim=(0, 1), ylim=(-top / 2.5, top), xticks=(0, 0.25, 0.5, 0.75, 1), yticks=())
    axes.xaxis.set_major_formatter("{x:g}")
    axes.grid(axis="x", color=LINE)
    axes.axvline(0.5, color=SOFT, linewidth=1)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
