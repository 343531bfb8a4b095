"""A report as Markdown: everything but figures and pictures."""

from collections.abc import Iterable, Iterator, Sequence

from vesalius.evaluation.report.content import Cell, Number, Report, Table
from vesalius.evaluation.report.gallery import Shown
from vesalius.evaluation.report.manifest import flatten

SPECIAL = str.maketrans({character: f"\\{character}" for character in "\\`*[]<>|#"} | {"\n": " "})
"""What would change the text around it."""


def render_markdown(report: Report) -> str:
    """The report as text that reads well as it is."""
    parts = [
        f"# {_plain(report.title)}",
        _list(report.facts.items()),
        *(part for table in report.tables for part in _section(table)),
        "## What is not there",
        *([_table(report.existence.columns, report.existence.rows)] if report.existence else []),
        _plain(report.existence_note),
        "## Images",
        *(["\n".join(_shown(report.gallery))] if report.gallery else []),
        _plain(report.gallery_note),
        *(part for name, manifest in report.manifests.items() for part in _manifest(name, flatten(manifest))),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(table: Table) -> Iterator[str]:
    yield f"## {_plain(table.title)}"
    yield _table(table.columns, table.rows)
    yield _plain(table.note)


def _table(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    lines = [
        [_plain(name) for name in columns],
        ["---"] * len(columns),
        *([_cell(cell) for cell in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(cell: Cell) -> str:
    if isinstance(cell, Number):
        return f"{cell.value} ({cell.ends})" if cell.ends else cell.value
    return "–" if cell is None else _plain(cell)


def _shown(gallery: Sequence[Shown]) -> Iterator[str]:
    """One row an image; pictures are in the page."""
    columns = ("", "image", "prompt", "Dice", "mean over prompts")
    rows = [
        (each.kind, each.row.image, f"{each.row.family}: {each.row.prompt}", f"{each.row.dice:.3f}", f"{each.mean:.3f}")
        for each in (shown.example for shown in gallery)
    ]
    yield _table(columns, rows)


def _manifest(name: str, manifest: dict[str, str]) -> Iterator[str]:
    yield f"## How it was made: {_plain(name)}"
    yield _list(manifest.items())


def _list(pairs: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"- **{_plain(name)}**: {_plain(value)}" for name, value in pairs)


def _plain(text: str) -> str:
    return text.translate(SPECIAL)
