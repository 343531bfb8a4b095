"""A report as Markdown: everything but figures and pictures."""

from collections.abc import Iterable, Iterator, Sequence

from vesalius.console import markdown_table, to_markdown
from vesalius.evaluation.report.content import Cell, Report, Table
from vesalius.evaluation.report.gallery import Shown
from vesalius.evaluation.report.manifest import flatten


def render_markdown(report: Report) -> str:
    """The report as text that reads well as it is."""
    parts = [
        f"# {to_markdown(report.title)}",
        _list(report.facts.items()),
        *(part for table in report.tables for part in _section(table)),
        "## What is not there",
        *([_table(report.existence.columns, report.existence.rows)] if report.existence else []),
        to_markdown(report.existence_note),
        "## Images",
        *(["\n".join(_shown(report.gallery))] if report.gallery else []),
        to_markdown(report.gallery_note),
        *(part for name, manifest in report.manifests.items() for part in _manifest(name, flatten(manifest))),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(table: Table) -> Iterator[str]:
    yield f"## {to_markdown(table.title)}"
    yield _table(table.columns, table.rows)
    yield to_markdown(table.note)


def _table(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    return markdown_table(columns, rows)


def _shown(gallery: Sequence[Shown]) -> Iterator[str]:
    """One row an image; pictures are in the page."""
    columns = ("", "image", "prompt", "Dice", "mean over prompts")
    rows = [
        (each.kind, each.row.image, f"{each.row.family}: {each.row.prompt}", f"{each.row.dice:.3f}", f"{each.mean:.3f}")
        for each in (shown.example for shown in gallery)
    ]
    yield _table(columns, rows)


def _manifest(name: str, manifest: dict[str, str]) -> Iterator[str]:
    yield f"## How it was made: {to_markdown(name)}"
    yield _list(manifest.items())


def _list(pairs: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"- **{to_markdown(name)}**: {to_markdown(value)}" for name, value in pairs)
