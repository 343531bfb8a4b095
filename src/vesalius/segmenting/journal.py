"""What a folder of results holds and may be given, and its results as a table."""

import csv
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from vesalius.errors import ConfigError, OutputError, require
from vesalius.files import to_utf8, writing
from vesalius.folders import Row, WholeRecord, locked, read_whole_record, tell_differences, write_record
from vesalius.segmenting.request import Item, Request

SUFFIXES = (".csv", ".parquet")
COLUMNS = {
    "source": "string",
    "phrase": "string",
    "answer": "string",
    "known": "bool",
    "target": "string",
    "existence": "float64",
    "share_marked": "float64",
    "area_mm2": "float64",
    "volume_ml": "float64",
    "slices": "int64",
    "slices_marked": "int64",
    "mask": "string",
    "label": "int64",
    "overlay": "string",
    "notices": "string",
    "model": "string",
    "runtime": "string",
    "device": "string",
    "seconds": "float64",
    "made": "string",
}
"""Name -> kind, in Arrow's words."""
_OF_RECORD = {"source": "image", "phrase": "prompt", "share_marked": "share"}
"""Columns that the record calls otherwise."""


def check_table(path: Path) -> None:
    """Refuse a table that could not be written, before anything is computed.

    Raises:
        ConfigError: If its suffix is none of `SUFFIXES`.
        MissingPackageError: If Parquet is asked for without pyarrow.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"--table {path}: expected a name that ends in {' or '.join(SUFFIXES)}, got '{path.suffix}'.")
    if path.suffix.lower() == ".parquet":
        require("pyarrow", extra="train")


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """Write all rows of a folder's record.

    Args:
        path: A .csv or .parquet file.
        rows: Of the record, in the order of the table.

    Raises:
        ConfigError, MissingPackageError: See `check_table`.
        OutputError: If it cannot be written.
    """
    check_table(path)
    table = [to_utf8(_to_row(row)) for row in rows]
    if path.suffix.lower() == ".parquet":
        _write_parquet(path, table)
        return
    with writing(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(COLUMNS))
        writer.writeheader()
        writer.writerows(table)


def _write_parquet(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in COLUMNS.items()])
    with writing(path) as unfinished:
        pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), unfinished)


def _to_row(row: Row) -> dict[str, object]:
    told = {name: row.get(_OF_RECORD.get(name, name)) for name in COLUMNS}
    notices = row.get("notices")
    known = row.get("known", True)  # what was made one by one was known
    return told | {"known": known, "notices": "; ".join(map(str, notices)) if isinstance(notices, list) else None}


UNFINISHED = re.compile(r"\.[0-9a-f]{32}\.(?P<name>.+)", re.DOTALL)
"""Names that `vesalius.files.writing` gives until a file is whole."""
WRITING_SHARE = 20
"""The record is written again when so many times the time of its last writing have passed, and a second at least."""
LISTED = 3
"""Differences named in a message."""


@dataclass(frozen=True)
class Plan:
    """What is to be done of what was asked."""

    todo: list[Item]
    skipped: list[Item]
    """Done before, from the same files by the same settings."""
    refused: list[dict[str, str]]
    """What would take the place of other results, as ``{"source": …, "reason": …}``."""


class Journal:
    """The record of a folder during a run.

    Before a run writes anything, the record names the files that it may leave; when an image's files are there, its
    rows follow. So a run that is ended at any moment leaves files that the next run knows for its own.

    Args:
        out: The folder.

    Raises:
        OutputError: If the record there is damaged.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self._due, self._new = 0.0, dict[str, list[Row]]()
        content = read_whole_record(out)
        self.rows = _by_image(content)
        self.begun: dict[str, list[str]] = dict(content.get("begun", {}))
        self.tables: list[str] = list(content.get("tables", []))

    @property
    def stems(self) -> dict[str, str]:
        """Image -> stem of its results."""
        return {image: str(rows[0]["stem"]) for image, rows in self.rows.items() if "stem" in rows[0]}

    def own_files(self) -> frozenset[Path]:
        """Results in the folder, none of which is an image to segment."""
        names = {str(row[kind]) for rows in self.rows.values() for row in rows for kind in _KINDS if row.get(kind)}
        names |= {name for files in self.begun.values() for name in files}
        return frozenset(self.out / name for name in names)

    def plan(self, items: Sequence[Item], request: Request, overwrite: bool) -> Plan:
        """Sort out what is done, and what must not be replaced."""
        plan = Plan([], [], [])
        owners = {name: image for image, rows in self.rows.items() for row in rows for name in _names(row)}
        read = {file for item in items for file in (item.found.source, *item.found.files)}
        for item in items:
            lost = next((path for name in item.files(request.prompts) if (path := self.out / name) in read), None)
            if lost is not None:
                reason = f"{lost}: is an image to be segmented, and a result would replace it; name another --out."
                plan.refused.append({"source": item.image, "reason": reason})
            elif not overwrite and self._is_done(item, request):
                plan.skipped.append(item)
            elif told := None if overwrite else self._reason(item, request, owners):
                plan.refused.append({"source": item.image, "reason": told})
            else:
                plan.todo.append(item)
        return plan

    def begin(self, items: Sequence[Item], request: Request, tables: Sequence[Path]) -> None:
        """Say which files and tables may come to be, and take away what an earlier run left half written."""
        names = {item.image: item.files(request.prompts) for item in items}
        known = {name for files in names.values() for name in files}
        for path in self.out.glob(".*"):
            found = UNFINISHED.fullmatch(path.name)
            if found and found["name"] in known:
                path.unlink(missing_ok=True)
        self.begun |= names
        self.tables = sorted({*self.tables, *map(self._told, tables)})
        self._write()

    def add(self, rows: Sequence[Row]) -> None:
        """Take the rows of an image whose files are there."""
        self._new[str(rows[0]["image"])] = list(rows)
        if time.monotonic() >= self._due:
            self._write()

    def end(self) -> None:
        """Write what is still to be written; images that left no file are forgotten."""
        for image in [each for each in self.begun if each not in self._new]:
            if not any((self.out / name).exists() for name in self.begun[image]):
                del self.begun[image]
        self._write()

    def _write(self) -> None:
        start = time.monotonic()
        with locked(self.out):
            content = read_whole_record(self.out)  # another command may have added a row
            names = {name for rows in self._new.values() for row in rows for name in _names(row)}
            before = content["results"]
            replaced = [row for row in before if self._is_replaced(row)]
            others = [row for row in before if not self._is_replaced(row) and row.get("mask") not in names]
            rows = [*others, *(row for rows in self._new.values() for row in rows)]
            self.begun = {image: files for image, files in self.begun.items() if image not in self._new}
            whole: WholeRecord = {"results": rows}
            if self.begun:
                whole["begun"] = self.begun
            if self.tables:
                whole["tables"] = self.tables
            write_record(self.out, whole)
        for name in {name for row in replaced for name in _names(row)} - names:
            (self.out / name).unlink(missing_ok=True)  # of other phrases, asked with other settings
        self.rows = _by_image(whole)
        spent = time.monotonic() - start
        self._due = time.monotonic() + max(1.0, WRITING_SHARE * spent)

    def _is_replaced(self, row: Row) -> bool:
        return row.get("image") in self._new and "stem" in row

    def made(self, table: Path) -> bool:
        """Whether a table or page is a result of ours, which may be made anew."""
        return self._told(table) in self.tables

    def _told(self, table: Path) -> str:
        return str(table.relative_to(self.out)) if table.is_relative_to(self.out) else str(table)

    def _is_done(self, item: Item, request: Request) -> bool:
        rows = self.rows.get(item.image, [])
        if item.image in self.begun or not rows or any("settings" not in row for row in rows):
            return False
        whole = all((self.out / name).is_file() for row in rows for name in _names(row))
        return whole and rows[0]["settings"] == request.settings() and rows[0]["state"] == item.state()

    def _reason(self, item: Item, request: Request, owners: dict[str, str]) -> str | None:
        """Why an image's results must not be written; None if they may."""
        there = [name for name in item.files(request.prompts) if (self.out / name).exists()]
        if not there or item.image in self.begun:
            return None
        remedy = "Name another folder with --out, or replace it with --overwrite"
        path = self.out / there[0]
        owner = owners.get(there[0])
        if owner != item.image:
            origin = f", made from {owner}" if owner else ""
            return f"{path}: is there already{origin}. {remedy}."
        row = self.rows[item.image][0]
        if "settings" not in row:
            return f"{path}: is there already, made one by one. {remedy}."
        changes = tell_differences(row["settings"], request.settings())
        if changes:
            more = f"; and {len(changes) - LISTED} more" if len(changes) > LISTED else ""
            return f"{path}: was made with other settings: {'; '.join(changes[:LISTED])}{more}. {remedy}."
        if row["state"] != item.state():
            return f"{path}: was made before {item.image} was changed. {remedy}."
        return None  # of the same origin, and not all of it is there


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Hold a folder of results, so that no two runs over many images write there at once.

    Raises:
        OutputError: If another does, or the folder cannot be made.
    """
    lock = FileLock(out / ".segmentation.run.lock", timeout=0)
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        message = f"{out}: another vesalius segment writes there; wait for it, or name another --out."
        raise OutputError(message) from error
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"{out}: cannot be made or written ({reason}); name another --out.") from error
    try:
        yield
    finally:
        lock.release()


_KINDS = ("mask", "overlay")


def _names(row: Row) -> list[str]:
    return [str(row[kind]) for kind in _KINDS if row.get(kind)]


def _by_image(content: WholeRecord) -> dict[str, list[Row]]:
    rows: dict[str, list[Row]] = defaultdict(list)
    for row in content["results"]:
        rows[str(row.get("image"))].append(row)
    return dict(rows)
