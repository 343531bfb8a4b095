"""A report as one HTML page that needs nothing but itself, and as Markdown."""

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from importlib.resources import files
from itertools import groupby
from string import Template

from vesalius import __version__
from vesalius.console import markdown_table, to_html, to_markdown
from vesalius.evaluation.report.content import Cell, Number, Report, StripGroup, Table, flatten, to_number
from vesalius.evaluation.report.figures import colour, draw_axis, draw_curves, draw_strip, tell_curve
from vesalius.evaluation.report.gallery import ERROR_COLOURS, Shown


def render_markdown(report: Report) -> str:
    """The report as text that reads well as it is."""
    parts = [
        f"# {to_markdown(report.title)}",
        _markdown_list(report.facts.items()),
        *(part for table in report.tables for part in _section(table)),
        "## What is not there",
        *([_markdown_table(report.existence.columns, report.existence.rows)] if report.existence else []),
        to_markdown(report.existence_note),
        "## Images",
        *(["\n".join(_markdown_gallery(report.gallery))] if report.gallery else []),
        to_markdown(report.gallery_note),
        *(part for name, manifest in report.manifests.items() for part in _manifest(name, flatten(manifest))),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(table: Table) -> Iterator[str]:
    yield f"## {to_markdown(table.title)}"
    yield _markdown_table(table.columns, table.rows)
    yield to_markdown(table.note)


def _markdown_table(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    return markdown_table(columns, rows)


def _markdown_gallery(gallery: Sequence[Shown]) -> Iterator[str]:
    """One row an image; pictures are in the page."""
    columns = ("", "image", "prompt", "Dice", "mean over prompts")
    rows = [
        (each.kind, each.row.image, f"{each.row.family}: {each.row.prompt}", f"{each.row.dice:.3f}", f"{each.mean:.3f}")
        for each in (shown.example for shown in gallery)
    ]
    yield _markdown_table(columns, rows)


def _manifest(name: str, manifest: dict[str, str]) -> Iterator[str]:
    yield f"## How it was made: {to_markdown(name)}"
    yield _markdown_list(manifest.items())


def _markdown_list(pairs: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"- **{to_markdown(name)}**: {to_markdown(value)}" for name, value in pairs)


KINDS = {
    "worst": "Worst",
    "median": "In the middle",
    "best": "Best",
    "false alarm": "False alarms",
}
CODE = re.compile("`([^`]+)`")
CAPTIONS = {"image": "image", "truth": "truth", "prediction": "prediction", "errors": "agreement"}


def render_page(report: Report) -> str:
    """The whole page; all text is escaped, pictures are within."""
    return Template(files(__package__).joinpath("page.html").read_text(encoding="utf-8")).substitute(
        title=to_html(report.title),
        facts=_list(report.facts),
        headline="".join(_headline(name, number) for name, number in report.headline),
        tables="".join(_table(table) for table in report.tables),
        strips=_strips(report.strips),
        strips_note=to_html(report.strips_note),
        existence=_existence(report),
        gallery="".join(_kind(kind, list(shown)) for kind, shown in groupby(report.gallery, _kind_of)),
        gallery_note=_text(report.gallery_note),
        errors=_error_legend() if report.gallery else "",
        manifests="".join(f"<h3>{to_html(name)}</h3>{_list(flatten(each))}" for name, each in report.manifests.items()),
        footer=to_html(f"vesalius {__version__} · {date.today().isoformat()}"),
    )


def _text(text: str) -> str:
    """Escaped, what stands between back ticks as code; nothing for nothing."""
    marked = CODE.sub(r"<code>\1</code>", to_html(text))
    return f"<p>{marked}</p>" if text else ""


def _list(pairs: Mapping[str, str]) -> str:
    rows = "".join(f"<dt>{to_html(name)}</dt><dd>{to_html(value)}</dd>" for name, value in pairs.items())
    return f"<dl>{rows}</dl>"


def _headline(name: str, number: Number) -> str:
    return f"<li><b>{to_html(number.value)}</b> {_ends(number)}<span>{to_html(name)}</span></li>"


def _ends(number: Number) -> str:
    return f"<small>{to_html(number.ends)}</small>" if number.ends else ""


def _table(table: Table) -> str:
    return f"<h3>{to_html(table.title)}</h3>{_grid(table.columns, table.rows)}{_text(table.note)}"


def _grid(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    head = "".join(f'<th scope="col">{to_html(name)}</th>' for name in columns)
    body = "".join(f'<tr><th scope="row">{_cell(first)}</th>{_cells(rest)}</tr>' for first, *rest in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cells(cells: Iterable[Cell]) -> str:
    return "".join(f"<td>{_cell(cell)}</td>" for cell in cells)


def _cell(cell: Cell) -> str:
    if isinstance(cell, Number):
        return f"{to_html(cell.value)}{_ends(cell)}"
    return "–" if cell is None else to_html(cell)


def _strips(groups: Sequence[StripGroup]) -> str:
    return "".join(_group(group) for group in groups) + f'<div class="scale">{draw_axis()}</div>'


def _group(group: StripGroup) -> str:
    example = f" <q>{to_html(group.example)}</q>" if group.example else ""
    several = len(group.strips) > 1
    strips = "".join(
        f'<div class="row">{_name(each.name, each.series) if several else ""}{draw_strip(each)}'
        f"<span>{_cell(to_number(each.mean))}</span></div>"
        for each in group.strips
    )
    return f'<div class="group"><h4>{to_html(group.title)}{example}</h4>{strips}</div>'


def _name(name: str, series: int) -> str:
    return f'<em><i style="background:{colour(series)}"></i>{to_html(name)}</em>'


def _existence(report: Report) -> str:
    note = _text(report.existence_note)
    if report.existence is None:
        return note
    legend = " ".join(_name(tell_curve(each), each.series) for each in report.curves)
    figure = f"<figure>{draw_curves(report.curves)}<figcaption>{legend}</figcaption></figure>"
    return f'<div class="beside">{figure}<div>{_table(report.existence)}</div></div>{note}'


def _error_legend() -> str:
    names = " ".join(
        f'<em><i style="background:rgb{paint}"></i>{to_html(name)}</em>' for name, paint in ERROR_COLOURS.items()
    )
    return f'<p class="legend">{names}</p>'


def _kind_of(shown: Shown) -> str:
    return shown.example.kind


def _kind(kind: str, shown: Sequence[Shown]) -> str:
    return f'<section class="kind"><h3>{KINDS[kind]}</h3>{"".join(_shown(each) for each in shown)}</section>'


def _shown(shown: Shown) -> str:
    example = shown.example
    row = example.row
    asked = f"<q>{to_html(row.prompt)}</q>" if row.prompt else "no words"
    spread = (
        f", {example.lowest:.3f}–{example.highest:.3f} over {example.answers} answers" if example.answers > 1 else ""
    )
    text = f"<b>Dice {row.dice:.3f}</b>{spread} · {to_html(row.family)}: {asked} · {to_html(row.image)}"
    tiles = "".join(_tile(name, picture, row.image) for name, picture in shown.tiles.items())
    return f'<article><div class="tiles">{tiles}</div><p>{text}</p></article>'


def _tile(name: str, picture: bytes, image: str) -> str:
    caption, source = CAPTIONS[name], b64encode(picture).decode("ascii")
    alt = to_html(f"{caption}, {image}")
    return f'<figure><img src="data:image/jpeg;base64,{source}" alt="{alt}"><figcaption>{caption}</figcaption></figure>'
