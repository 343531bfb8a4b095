"""What a person says of series that nobody outlined: the tables of a series.toml."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vesalius.data.prepare.tables import to_split
from vesalius.errors import DataError, unknown_name
from vesalius.files import read_toml
from vesalius.imaging.formats import path_stem
from vesalius.prompts.anatomy import MODALITIES, ORGANS, PROTOCOLS, STATIONS


@dataclass(frozen=True)
class SliceRange:
    """Slices that show a station or an organ."""

    name: str
    first: int | None = None
    """First slice in display order (axial: from the feet), from 0; None for all slices."""
    last: int | None = None
    """Last slice, included."""

    @property
    def whole(self) -> bool:
        """Whether it holds every slice."""
        return self.first is None and self.last is None

    def holds(self, index: int) -> bool:
        """Whether a slice is among them."""
        return (self.first is None or self.first <= index) and (self.last is None or index <= self.last)


@dataclass(frozen=True)
class SeriesDescription:
    """What a person says of a series; what is left out is unknown, or taken from the header."""

    modality: str | None = None
    protocol: str | None = None
    stations: tuple[SliceRange, ...] = ()
    """Where one is given for a slice, others are absent; outside of all ranges stations are unknown."""
    organs: tuple[SliceRange, ...] = ()
    """Slices outside of an organ's range lack it. Other organs are absent far from the stations, else unknown."""


FIELDS = ("path", "name", "patient", "split", "modality", "protocol", "organs", "stations")
RANGE_FIELDS = ("name", "first", "last")


@dataclass(frozen=True)
class SeriesRow:
    """One ``[[series]]``."""

    name: str
    path: Path
    patient: str
    split: str | None
    description: SeriesDescription


def read_series_table(path: Path) -> list[SeriesRow]:
    """Read ``[[series]]`` tables: a path, and what is known of `FIELDS`.

    Paths are relative to the file. Stations and organs are names, or tables ``{name = "chest", first = 10, last = 30}``
    of slices in display order.

    Raises:
        DataError: If it is no TOML, or a row has an unknown or missing field; the message names the row.
    """
    rows = read_toml(path, DataError).get("series")
    if not isinstance(rows, list) or not rows:
        raise DataError(f'{path}: has no [[series]]; expected tables with path = "…" and what is known of it.')
    found = [_row(row, path, number) for number, row in enumerate(rows, start=1)]
    names = [row.name for row in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise DataError(f"{path}: two series are called '{twice}'; give one another name = \"…\".")
    return found


def check_description(description: SeriesDescription, place: str) -> None:
    """See that every label exists.

    Raises:
        DataError: Naming the place, and the closest label.
    """
    asked = (
        ("modality", [description.modality] if description.modality else [], MODALITIES),
        ("protocol", [description.protocol] if description.protocol else [], PROTOCOLS),
        ("organ", [each.name for each in description.organs], ORGANS),
        ("station", [each.name for each in description.stations], STATIONS),
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
    name = str(row.get("name", path_stem(image)))
    stations, organs = (_ranges(row, field, place) for field in ("stations", "organs"))
    for field in ("modality", "protocol"):
        if not isinstance(row.get(field, ""), str):
            raise DataError(f"{place}: {field} must be a name in quotes, got {row[field]!r}.")
    description = SeriesDescription(row.get("modality"), row.get("protocol"), stations, organs)
    check_description(description, place)
    try:
        return SeriesRow(name, image, str(row.get("patient", name)), to_split(row.get("split")), description)
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
    found = SliceRange(given["name"], given.get("first"), given.get("last"))
    if found.first is not None and found.last is not None and found.first > found.last:
        raise DataError(f"{place}: {found.name} begins at slice {found.first} and ends before, at {found.last}.")
    return found


def _refuse_unknown(row: Mapping[str, object], fields: Sequence[str], place: str) -> None:
    for name in row:
        if name not in fields:
            raise DataError(f"{place}: {unknown_name('field', name, fields)}")
