"""``series.toml``: what a person says of series without outlines."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vesalius.data.anatomy.settings import Said, SliceRange
from vesalius.data.prepare.tables import to_split
from vesalius.errors import DataError, unknown_name
from vesalius.prompts.anatomy import MODALITIES, ORGANS, PROTOCOLS, STATIONS

FIELDS = ("path", "name", "patient", "split", "modality", "protocol", "organs", "stations")
RANGE_FIELDS = ("name", "first", "last")
LARGEST_TABLE = 16 * 2**20
"""Bytes."""


@dataclass(frozen=True)
class SeriesRow:
    """One ``[[series]]``."""

    name: str
    path: Path
    patient: str
    split: str | None
    said: Said


def read_series_table(path: Path) -> list[SeriesRow]:
    """Read ``[[series]]`` tables: a path, and what is known of `FIELDS`.

    Paths are relative to the file. Stations and organs are names, or tables ``{name = "chest", first = 10, last = 30}``
    of slices in display order.

    Raises:
        DataError: If it is no TOML, or a row has an unknown or missing field; the message names the row.
    """
    try:
        if path.stat().st_size > LARGEST_TABLE:
            raise DataError(f"{path}: is larger than {LARGEST_TABLE // 2**20} MiB, which no such table is.")
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as TOML ({error}).") from error
    rows = tables.get("series")
    if not isinstance(rows, list) or not rows:
        raise DataError(f'{path}: has no [[series]]; expected tables with path = "…" and what is known of it.')
    found = [_row(row, path, number) for number, row in enumerate(rows, start=1)]
    names = [row.name for row in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise DataError(f"{path}: two series are called '{twice}'; give one another name = \"…\".")
    return found


def check_said(said: Said, place: str) -> None:
    """See that every label exists.

    Raises:
        DataError: Naming the place, and the closest label.
    """
    asked = (
        ("modality", [said.modality] if said.modality else [], MODALITIES),
        ("protocol", [said.protocol] if said.protocol else [], PROTOCOLS),
        ("organ", [each.name for each in said.organs], ORGANS),
        ("station", [each.name for each in said.stations], STATIONS),
    )
    for kind, names, available in asked:
        for name in names:
            if name not in available:
                raise DataError(f"{place}: {unknown_name(kind, name, available)}")


def _row(row: object, path: Path, number: int) -> SeriesRow:
    place = f"{path}, series {number}"
    if not isinstance(row, dict) or not isinstance(row.get("path"), str):
        raise DataError(f'{place}: expected path = "…", a NIfTI volume, DICOM file or folder of one series.')
    _refuse_unknown(row, FIELDS, place)
    image = path.parent / row["path"]
    name = str(row.get("name", image.name.split(".")[0]))
    stations, organs = (_ranges(row, field, place) for field in ("stations", "organs"))
    said = Said(row.get("modality"), row.get("protocol"), stations, organs)
    check_said(said, place)
    try:
        return SeriesRow(name, image, str(row.get("patient", name)), to_split(row.get("split")), said)
    except DataError as error:
        raise DataError(f"{place}: {error}") from error


def _ranges(row: Mapping[str, object], field: str, place: str) -> tuple[SliceRange, ...]:
    given = row.get(field, [])
    if not isinstance(given, list):
        raise DataError(f"{place}: {field} must be a list of names or tables, got {given!r}.")
    return tuple(_range(each, field, place) for each in given)


def _range(given: object, field: str, place: str) -> SliceRange:
    if isinstance(given, str):
        return SliceRange(given)
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        expected = f'{field} are names or tables {{name = "…", first = 10, last = 30}}'
        raise DataError(f"{place}: {expected}, got {given!r}.")
    _refuse_unknown(given, RANGE_FIELDS, place)
    ends = [given.get("first"), given.get("last")]
    if any(end is not None and (not isinstance(end, int) or isinstance(end, bool) or end < 0) for end in ends):
        raise DataError(f"{place}: first and last are numbers of slices from 0, got {ends[0]!r} and {ends[1]!r}.")
    return SliceRange(given["name"], given.get("first"), given.get("last"))


def _refuse_unknown(row: Mapping[str, object], fields: Sequence[str], place: str) -> None:
    for name in row:
        if name not in fields:
            raise DataError(f"{place}: {unknown_name('field', name, fields)}")
