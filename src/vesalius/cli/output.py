"""What every command prints: one JSON object on stdout if asked, a table otherwise."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.table import Table


def print_json(content: Mapping[str, object]) -> None:
    """One object on stdout."""
    sys.stdout.write(json.dumps(content, indent=2, default=str) + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """A table on stdout; what is too wide is folded, never cut."""
    table = Table(title=title, title_justify="left")
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    Console().print(table)


def say(message: str) -> None:
    """One line for people, on stderr."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(message, markup=False)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
