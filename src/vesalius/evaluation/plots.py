"""Plots by matplotlib as SVG: text stays text, and the same content gives the same bytes. No pyplot, so no state."""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch

from vesalius.console import to_html, to_terminal
from vesalius.imaging.slices import series_colour

INK, SOFT, LINE = "#1d2327", "#5b656c", "#dedbd3"
STYLE: dict[Any, Any] = {
    "figure.dpi": 72,  # a point is a pixel
    "font.size": 11,
    "text.color": INK,
    "text.parse_math": False,  # names may hold dollar signs
    "axes.edgecolor": SOFT,
    "axes.labelcolor": SOFT,
    "axes.titlesize": 11,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",
    "svg.hashsalt": "vesalius",
    **{f"{axis}tick.{name}": value for axis in "xy" for name, value in (("labelcolor", SOFT), ("major.size", 0))},
}


@contextmanager
def new_figure(width: float, height: float, names: Sequence[str] = ()) -> Iterator[Figure]:
    """A figure that arranges itself; what is drawn and written within the context has our style.

    Args:
        width: Pixels; a long legend makes the figure wider.
        height: Pixels.
        names: Names of systems, shown above in their colours.
    """
    shown = [to_terminal(name) for name in names]
    width = max(width, 24 + sum(40 + 7 * len(name) for name in shown))
    with rc_context(STYLE):
        figure = Figure((width / 72, height / 72), layout=ConstrainedLayoutEngine(w_pad=8 / 72, h_pad=8 / 72))
        if shown:
            patches = [Patch(color=series_colour(number)) for number in range(len(shown))]
            figure.legend(patches, shown, loc="outside upper left", ncols=len(shown), handlelength=1, handleheight=1)
        yield figure


def draw_unit_square(axes: Axes, title: str, x_label: str, y_label: str, *, diagonal: bool = True) -> None:
    """A square from 0 to 1 both ways, with a dashed line from corner to corner if wanted."""
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel=x_label, ylabel=y_label, title=to_terminal(title), box_aspect=1)
    for set_ticks in (axes.set_xticks, axes.set_yticks):
        set_ticks((0, 0.5, 1), ("0", "0.5", "1"))
    if diagonal:
        axes.plot((0, 1), (0, 1), color=SOFT, alpha=0.6, linestyle="--", linewidth=1, clip_on=False)


def draw_curve(axes: Axes, series: int, x: Sequence[float], y: Sequence[float], marker: str = "") -> None:
    """A line in the colour of a series."""
    axes.plot(x, y, color=series_colour(series), marker=marker, markersize=5, clip_on=False)


def to_svg(figure: Figure, label: str) -> str:
    """An SVG element that may stand in a file or in a page of HTML.

    Args:
        figure: Made by ``new_figure``, within its context.
        label: What the figure says, for those who cannot see it.
    """
    file = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # only the space that a letter takes is guessed
        figure.savefig(file, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    width, height = (f"{72 * inches:.0f}" for inches in figure.get_size_inches())
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", file.getvalue(), count=1, flags=re.DOTALL)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 {width} '
        f'{height}" width="{width}" height="{height}" role="img" aria-label="{to_html(label)}" stroke-linejoin="round">'
        + body.partition("<svg")[2].partition(">")[2]
    )
