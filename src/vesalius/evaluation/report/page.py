"""A report as one HTML page that needs nothing but itself, and as Markdown.

A strip of the page has no view box: its places along are per cent of its width, so that it fills any screen and text
and dots keep their size, which matplotlib cannot do. Curves are matplotlib's.
"""

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from datetime import date

import numpy as np
from markupsafe import Markup, escape

from vesalius import __version__, pages
from vesalius.console import markdown_table, to_markdown, to_terminal
from vesalius.evaluation.report.content import ALL, NamedCurve, Report, Strip, flatten, to_number
from vesalius.evaluation.report.gallery import ERROR_COLOURS, KINDS, Example
from vesalius.imaging.slices import series_colour

CAPTIONS = {"image": "image", "truth": "truth", "prediction": "prediction", "errors": "agreement"}


def render_html(report: Report) -> str:
    """The whole page; all text is escaped, pictures are within."""
    return pages.render_page(
        "evaluation/report/page.html",
        report=report,
        kinds=KINDS,
        captions=CAPTIONS,
        error_colours=ERROR_COLOURS,
        ticks=TICKS,
        draw_curves=draw_curves,
        draw_strip_plot=draw_strip_plot,
        series_colour=series_colour,
        tell_curve=tell_curve,
        to_number=to_number,
        flatten=flatten,
        mark_code=_mark_code,
        data_url=lambda picture: f"data:image/jpeg;base64,{b64encode(picture).decode('ascii')}",
        version=__version__,
        date=date.today().isoformat(),
    )


def _mark_code(text: str) -> Markup:
    """Text between back ticks as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(to_terminal(text)))))


BINS = 40
"""Bins of a strip's histogram, over Dice 0 to 1."""
HEIGHT = 34
"""Pixels of a strip: bars above, mean and interval below."""
GROUND = 22
"""Bottom of the bars, in pixels from the top."""
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
SQUARE = 320
"""Pixels of the plot of curves."""


def draw_strip_plot(strip: Strip) -> Markup:
    """Histogram of images, their median as a tick, and their mean as a dot on its interval."""
    counts, _ = np.histogram(strip.values, bins=BINS, range=(0, 1))
    heights = counts / max(1, counts.max()) * (GROUND - 2)
    ends = strip.mean.low, strip.mean.high
    low, high = (strip.mean.value if end is None else end for end in ends)
    bars = [(place / BINS, height) for place, height in enumerate(heights) if height]
    colour = series_colour(strip.series)
    values = {"strip": strip, "bars": bars, "width": 0.9 / BINS, "low": low, "high": high, "colour": colour}
    return Markup(pages.render_page("evaluation/report/strip.svg", ticks=TICKS, height=HEIGHT, ground=GROUND, **values))


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


def render_markdown(report: Report) -> str:
    """The report as text that reads well as it is."""
    parts = [
        f"# {to_markdown(report.title)}",
        _markdown_list(report.facts.items()),
        *(part for table in report.tables for part in table.sections()),
        "## What is not there",
        *([markdown_table(report.existence.columns, report.existence.rows)] if report.existence else []),
        to_markdown(report.existence_note),
        "## Images",
        *([_list_gallery(shown.example for shown in report.gallery)] if report.gallery else []),
        to_markdown(report.gallery_note),
        *(part for name, manifest in report.manifests.items() for part in _manifest(name, flatten(manifest))),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _list_gallery(examples: Iterable[Example]) -> str:
    """One row an image; pictures are in the page."""
    columns = ("", "image", "prompt", "Dice", "mean over prompts")
    rows = [
        (each.kind, each.row.image, f"{each.row.family}: {each.row.prompt}", f"{each.row.dice:.3f}", f"{each.mean:.3f}")
        for each in examples
    ]
    return markdown_table(columns, rows)


def _manifest(name: str, manifest: dict[str, str]) -> Iterator[str]:
    yield f"## How it was made: {to_markdown(name)}"
    yield _markdown_list(manifest.items())


def _markdown_list(pairs: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"- **{to_markdown(name)}**: {to_markdown(value)}" for name, value in pairs)
