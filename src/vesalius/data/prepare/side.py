"""Groups and splits that the authors of a data set tell in tables and lists beside the images."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from vesalius.data.catalog import DataSetCard, SideTable
from vesalius.data.prepare.matching import match_files
from vesalius.data.prepare.naming import plain_stem
from vesalius.data.prepare.report import Problem
from vesalius.data.prepare.sources import Source
from vesalius.data.prepare.tables import Row, parse_csv, to_split
from vesalius.errors import DataError


@dataclass(frozen=True)
class Sides:
    """What the tables say."""

    groups: Mapping[str, str] = field(default_factory=dict)
    """Image -> group."""
    splits: Mapping[str, str] = field(default_factory=dict)
    """Image or group -> split."""
    problems: tuple[Problem, ...] = ()
    leaks: tuple[Problem, ...] = ()
    """A table of groups that is not there."""


def read_sides(card: DataSetCard, source: Source) -> Sides:
    """Read the tables and lists that the catalog names, where the source has them."""
    from_lists = _read_lists(card, source)
    if card.table is None:
        return Sides(splits=from_lists)
    path = _find(card.table.file, source)
    if path is None:
        return Sides(splits=from_lists, leaks=_missing(card.table, source))
    return _read_table(card.table, source, path)


def _read_table(table: SideTable, source: Source, path: str) -> Sides:
    groups: dict[str, str] = {}
    splits: dict[str, str] = {}
    problems = []
    for number, row in enumerate(parse_csv(source.read_text(path), table.separator), start=2):
        place = f"{source.describe(path)}, line {number}"
        try:
            name = plain_stem(_cell(row, table.key))
            if table.group:
                groups[name] = _cell(row, table.group)
            if table.split and (split := to_split(row.get(table.split))):
                splits[name] = split
        except DataError as error:
            problems.append(Problem(place, f"{error} The row is ignored."))
    return Sides(groups, splits, tuple(problems))


def _cell(row: Row, column: str) -> str:
    if row.get(column) is None:
        raise DataError(f"has no '{column}'; its columns are {', '.join(row)}.")
    return str(row[column])


def _read_lists(card: DataSetCard, source: Source) -> dict[str, str]:
    splits: dict[str, str] = {}
    for split, pattern in card.lists.items():
        if path := _find(pattern, source):
            splits |= dict.fromkeys(source.read_text(path).split(), split)
    return splits


def _missing(table: SideTable, source: Source) -> tuple[Problem, ...]:
    if not table.group:
        return ()
    name = table.file.replace("\\", "")
    what = f"has no {name} that tells '{table.group}', so related images may lie in different splits"
    return (Problem(str(source.root), f"{what}; put it beside the images if you can get it."),)


def _find(pattern: str, source: Source) -> str | None:
    found = match_files(pattern, source)
    return found[0].path if found else None
