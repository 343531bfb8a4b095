"""The record of a folder of results during a run over many images.

The record says what is done, what is left and what must not be replaced. Before a run writes anything, the record names
the files that it may leave; when an image's files are written, its rows follow. So a run that is interrupted at any
moment leaves files that the next run recognises as its own.
"""

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from filelock import Timeout

from vesalius.errors import OutputError, join_first
from vesalius.files import UNFINISHED, end_of_name, tell_replaced, tell_too_long
from vesalius.folders import remove_inside, tell_differences
from vesalius.imaging.search import SourceImage
from vesalius.processes import Outcome, Tool, Work, work_at_once
from vesalius.records import (
    RecordKind,
    ResultRow,
    ResultsRecord,
    acquire,
    locked,
    named_files,
    read_record,
    write_record,
)

WRITING_SHARE = 20
"""Multiple of the time of its last writing after which the record is written again; a second at least."""

RunOutcome = Outcome[SourceImage, list[ResultRow]]
"""What became of an image: its rows for the record, or why it failed."""
RunWatch = Callable[[Iterator[RunOutcome], int], Iterator[RunOutcome]]
"""Passes outcomes on and shows how many of how many have come."""


class Asked(Protocol):
    """What is asked of every image of a run."""

    def settings(self) -> dict[str, object]:
        """Everything but the image that decides the results: ready for JSON, and unchanged when read back."""

    def files(self, source: SourceImage) -> list[str]:
        """Every name in the folder that an image's results may have."""


@dataclass(frozen=True)
class WorkPlan:
    """What is to be done of a request."""

    todo: list[SourceImage]
    skipped: list[SourceImage]
    """Images done before, from the same files with the same settings."""
    refused: list[dict[str, str]]
    """Images whose results would replace others or have too long names, as ``{"source": …, "reason": …}``."""


class ResultsJournal:
    """The record of a folder during a run.

    Args:
        out: Folder of the results.
        kind: What the folder holds.
        renews: Whether the results of an image that was changed since are replaced unasked.

    Raises:
        OutputError: If the record there is damaged.
    """

    def __init__(self, out: Path, kind: RecordKind, *, renews: bool = False) -> None:
        self.out, self._kind, self._renews = out, kind, renews
        self._due, self._new = 0.0, dict[str, list[ResultRow]]()
        content = read_record(out, kind)
        self.rows = _by_image(content)
        self.begun: dict[str, list[str]] = dict(content.get("begun", {}))
        self.tables: list[str] = list(content.get("tables", []))

    @property
    def stems(self) -> dict[str, str]:
        """Image -> stem of its results."""
        return {image: str(rows[0]["stem"]) for image, rows in self.rows.items() if "stem" in rows[0]}

    @property
    def known(self) -> dict[str, str]:
        """First file of a series -> the series, as `list_sources` takes them."""
        return {str(rows[0]["first"]): image for image, rows in self.rows.items() if rows[0].get("first")}

    def clear(self) -> None:
        """Forget everything but the tables, and remove the files of all images."""
        self._remove({name for rows in self.rows.values() for row in rows for name in named_files(row)})
        self.rows, self.begun = {}, {}
        write_record(self.out, {"results": [], "tables": self.tables}, self._kind)

    def plan(self, sources: Sequence[SourceImage], request: Asked, overwrite: bool) -> WorkPlan:
        """Sort the images into those to do, those done before, and those whose results would replace others."""
        plan = WorkPlan([], [], [])
        owners = {name: image for image, rows in self.rows.items() for row in rows for name in named_files(row)}
        read = {file.resolve() for source in sources for file in (source.found.source, *source.found.files)}
        for source in sources:
            files = [self.out / name for name in request.files(source)]
            if reason := tell_replaced(files, read):
                plan.refused.append({"source": source.path, "reason": reason})
            elif not overwrite and self._is_done(source, request):
                plan.skipped.append(source)
            elif told := tell_too_long(files) or ("" if overwrite else self._reason(source, request, owners)):
                plan.refused.append({"source": source.path, "reason": told})
            else:
                plan.todo.append(source)
        return plan

    def begin(self, sources: Sequence[SourceImage], request: Asked, tables: Sequence[Path]) -> None:
        """Record which files and tables may be written, and remove unfinished files of an earlier run."""
        names = {source.path: request.files(source) for source in sources}
        known = {end_of_name(name) for files in names.values() for name in files}
        for path in self.out.glob(".*"):
            found = UNFINISHED.fullmatch(path.name)
            if found and found["end"] in known:
                path.unlink(missing_ok=True)
        self.begun |= names
        self.tables = sorted({*self.tables, *map(self._relative, tables)})
        self._write()

    def work_off(
        self, todo: Sequence[SourceImage], work: Work[Tool, SourceImage, list[ResultRow]], jobs: int, watch: RunWatch
    ) -> tuple[dict[str, list[ResultRow]], dict[str, str]]:
        """Work on images that were begun, add their rows as they come, and end; one that fails stops no other.

        Args:
            todo: The images.
            work: What is done to each; it returns the rows.
            jobs: Number of processes.
            watch: For a progress bar.

        Returns:
            Path of each image that succeeded -> its rows, and path of each that failed -> reason.
        """
        rows: dict[str, list[ResultRow]] = {}
        failed: dict[str, str] = {}
        try:
            with closing(work_at_once(todo, work, jobs)) as outcomes:
                for outcome in watch(outcomes, len(todo)):
                    if outcome.result is None:
                        failed[outcome.source.path] = outcome.reason
                    else:
                        rows[outcome.source.path] = outcome.result
                        self.add(outcome.result)
        finally:
            self.end()
        return rows, failed

    def add(self, rows: Sequence[ResultRow]) -> None:
        """Add the rows of an image whose files are written."""
        self._new[str(rows[0]["image"])] = list(rows)
        if time.monotonic() >= self._due:
            self._write()

    def end(self) -> None:
        """Write the remaining rows, and forget images that left no file."""
        for image in [each for each in self.begun if each not in self._new]:
            if not any(os.path.exists(self.out / name) for name in self.begun[image]):
                del self.begun[image]
        self._write()

    def _write(self) -> None:
        start = time.monotonic()
        new = [row for rows in self._new.values() for row in rows]
        names = {name for row in new for name in named_files(row)}
        with locked(self.out, self._kind):
            before = read_record(self.out, self._kind)["results"]  # another command may have added a row
            replaced = [row for row in before if self._is_replaced(row)]
            others = [row for row in before if not self._is_replaced(row) and names.isdisjoint(named_files(row))]
            self.begun = {image: files for image, files in self.begun.items() if image not in self._new}
            whole: ResultsRecord = {"results": [*others, *new]}
            if self.begun:
                whole["begun"] = self.begun
            if self.tables:
                whole["tables"] = self.tables
            write_record(self.out, whole, self._kind)
        self._remove({name for row in replaced for name in named_files(row)} - names)  # of other phrases or settings
        self.rows = _by_image(whole)
        self._due = time.monotonic() + max(1.0, WRITING_SHARE * (time.monotonic() - start))

    def _remove(self, names: Set[str]) -> None:
        """Remove files of earlier results, but none outside the folder."""
        for name in names:
            if not Path(name).is_absolute():
                remove_inside(self.out / name, self.out)

    def _is_replaced(self, row: ResultRow) -> bool:
        new = self._new.get(str(row.get("image")), [])
        said = not named_files(row) and row.get("prompt") in [each.get("prompt") for each in new]
        return bool(new) and ("stem" in row or said)

    def made(self, table: Path) -> bool:
        """Whether a table or page was written by an earlier run, and may be made anew."""
        return self._relative(table) in self.tables

    def _relative(self, table: Path) -> str:
        return str(table.relative_to(self.out)) if table.is_relative_to(self.out) else str(table)

    def _is_done(self, source: SourceImage, request: Asked) -> bool:
        rows = [row for row in self.rows.get(source.path, []) if named_files(row)]
        if source.path in self.begun or not rows or any("settings" not in row for row in rows):
            return False
        whole = all(os.path.isfile(self.out / name) for row in rows for name in named_files(row))
        return whole and rows[0]["settings"] == request.settings() and rows[0].get("state") == source.state()

    def _reason(self, source: SourceImage, request: Asked, owners: dict[str, str]) -> str | None:
        """Why an image's results must not be written; None if they may."""
        there = [name for name in request.files(source) if (self.out / name).exists()]
        if not there or source.path in self.begun:
            return None
        remedy = "Name another folder with --out, or replace it with --overwrite"
        path = self.out / there[0]
        owner = owners.get(there[0])
        if owner != source.path:
            origin = f", made from {owner}" if owner else ""
            return f"{path}: is there already{origin}. {remedy}."
        row = self.rows[source.path][0]
        if "settings" not in row:
            return f"{path}: is there already, made one by one. {remedy}."
        if changes := tell_differences(row["settings"], request.settings()):
            return f"{path}: was made with other settings: {join_first(changes, separator='; ')}. {remedy}."
        if row.get("state") != source.state() and not self._renews:
            return f"{path}: was made before {source.path} was changed. {remedy}."
        return None  # of the same origin, and not all of it is there


@contextmanager
def alone(out: Path, command: str, lock: str) -> Iterator[None]:
    """Lock a folder of results, so that no two runs over many images write there at once.

    Args:
        out: Folder of the results; made if it is not there.
        command: Command that writes there.
        lock: Name of the lock's file.

    Raises:
        OutputError: If another run holds the lock, or the folder cannot be made.
    """
    try:
        held = acquire(out, lock, timeout=0)
    except Timeout as error:
        message = f"{out}: another vesalius {command} writes there; wait for it, or name another --out."
        raise OutputError(message) from error
    with held:
        yield


def _by_image(content: ResultsRecord) -> dict[str, list[ResultRow]]:
    """Rows of each image; first those that name files, then what a single image was not asked."""
    rows: dict[str, list[ResultRow]] = defaultdict(list)
    for row in sorted(content["results"], key=lambda row: not named_files(row)):
        rows[str(row.get("image"))].append(row)
    return dict(rows)
