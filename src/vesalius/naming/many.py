"""Name many series: what is done is recorded, so that a run that was stopped goes on, and little lies in memory.

Every series is written into a file of its own as soon as it is named; tables and summaries are made from these files,
one at a time. The record beside them (`vesalius.journal`) says from which files and settings they were made.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import cast

from vesalius.errors import OutputError, join_first
from vesalius.files import check_absent, read_json, spare, to_json, write_text
from vesalius.folders import tell_differences
from vesalius.imaging.read import NO_CHOICES, Choices
from vesalius.imaging.search import FoundSeries, SourceImage, list_sources
from vesalius.journal import ResultsJournal, RunWatch, alone
from vesalius.models.choices import Precision, RuntimeChoice
from vesalius.naming.labeller import AnatomyLabeller, choose_stacks
from vesalius.naming.labels import SeriesName
from vesalius.naming.strip import try_strip
from vesalius.processes import Work
from vesalius.records import NAMES, ResultRow, result_files


def record_folder(table: Path) -> Path:
    """Folder of the record of a table of many series.

    >>> record_folder(Path("names.csv")).name
    'names.record'
    """
    return table.absolute().with_name(f"{table.stem}.record")


@dataclass(frozen=True)
class NamingRequest:
    """What is asked of every series of a run."""

    place: Path
    """Folder that is named."""
    model: str
    _: KW_ONLY
    smooth: bool = True
    each: bool = False
    """Whether numbered pictures are named one by one."""
    strip: Path | None = None
    """Picture of a series; each series has its own, see ``strip_of``."""
    runtime: RuntimeChoice = "auto"
    device: str = "auto"
    precision: Precision = "32"
    weights: str = ""
    """Checksum of the model's file; names by other weights are not taken for done."""
    choices: Choices = NO_CHOICES

    def settings(self) -> dict[str, object]:
        """Everything but the series that decides the names: ready for JSON, and unchanged when read back."""
        made = {"path": os.path.abspath(self.place), "weights": self.weights, "smoothing": self.smooth}
        precision = {} if self.precision == "32" else {"precision": self.precision}
        return {**made, "each": self.each, **self.choices.to_dict(), **precision}

    def files(self, source: SourceImage) -> list[str]:
        """Name of the file of a series, and the whole path of its strip."""
        strip = self.strip_of(source.stem)
        return [f"{source.stem}.json", *([] if strip is None else [str(strip)])]

    def strip_of(self, stem: str) -> Path | None:
        """Picture of a series, by the stem of its results."""
        given = self.given_strip_of(stem)
        return given and given.absolute()

    def given_strip_of(self, stem: str) -> Path | None:
        """The same path, relative if that of ``strip`` is, as the user is told of it."""
        return self.strip and self.strip.with_name(f"{self.strip.stem}.{stem}{self.strip.suffix}")


@dataclass(frozen=True)
class StoredNames:
    """Series whose names lie in files; each is read when its turn comes."""

    files: Sequence[tuple[Path, Path]]
    """File of the names, and the series' source as it was given to this run."""

    def __iter__(self) -> Iterator[SeriesName]:
        for path, source in self.files:
            try:
                names = SeriesName.from_dict(cast("Mapping[str, object]", read_json(path)))
                yield replace(names, source=source)
            except (KeyError, TypeError, AttributeError) as error:
                raise OutputError(f"{path}: holds no names of ours; remove it, and name its series again.") from error

    def __len__(self) -> int:
        return len(self.files)


@dataclass(frozen=True)
class NamingRun:
    """What a run did."""

    series: StoredNames
    """Names of this run and of earlier ones, in the order of the series."""
    done: int
    """Number of series named by this run."""
    skipped: int
    """Number of series named before."""
    failures: list[dict[str, str]]
    """What could not be named or drawn, in the order of the series, as ``{"source": …, "reason": …}``."""
    written: list[Path]
    """Strips that were drawn by this run."""


def name_many(
    found: Sequence[FoundSeries],
    request: NamingRequest,
    folder: Path,
    *,
    tables: Sequence[Path] = (),
    jobs: int = 1,
    overwrite: bool = False,
    watch: RunWatch = lambda outcomes, _: outcomes,
) -> NamingRun:
    """Name series after series, or several at once; one that fails stops no other.

    Series that the record lists as named, from the same files with the same settings, are skipped; those whose files
    changed are named anew. A run that was stopped at any moment can be started again.

    Args:
        found: The series.
        request: The settings.
        folder: Folder of the record and of a file a series.
        tables: Tables that will be made from them, and may be made anew by later runs.
        jobs: Number of processes.
        overwrite: Name everything anew, and replace existing files.
        watch: For a progress bar.

    Raises:
        MissingPackageError, ModelError: If the model cannot be opened or cannot name.
        OutputError: If a file would take the place of another, the record was made with other settings, or nothing can
            be written.
    """
    with alone(folder, NAMES.command, NAMES.lock):
        journal = ResultsJournal(folder, NAMES, renews=True)
        _check_settings(journal, request, overwrite)
        own = result_files(folder, NAMES)
        others = [each for each in found if own.isdisjoint(file.absolute() for file in (each.source, *each.files))]
        sources = list_sources(others, journal.stems, journal.known)
        strips = [path for each in sources if (path := request.strip_of(each.stem)) and path not in own]
        check_absent([*(each for each in tables if not journal.made(each)), *strips], overwrite)
        spare([*tables, *strips], (file for each in found for file in (each.source, *each.files)))
        if overwrite:
            journal.clear()
        plan = journal.plan(sources, request, overwrite)
        undrawn = [each for each in plan.skipped if not _has_strip(journal.rows[each.path][0], each, request)]
        todo = [*plan.todo, *undrawn]
        journal.begin(todo, request, tables)
        opening = partial(_open, request.model, request.runtime, request.device, request.precision)
        work = Work(opening, partial(_name, request=request, folder=journal.out))
        rows, failed = journal.work_off(todo, work, jobs, watch)
    failed |= {each["source"]: each["reason"] for each in plan.refused}
    named = [each for each in sources if each.path in journal.rows and each.path not in failed]
    files = [(folder / request.files(each)[0], each.found.source) for each in named]
    told, written = _tell(sources, request, failed, rows)
    return NamingRun(StoredNames(files), len(rows), len(plan.skipped) - len(undrawn), told, written)


def _check_settings(journal: ResultsJournal, request: NamingRequest, overwrite: bool) -> None:
    for rows in journal.rows.values():
        changes = tell_differences(rows[0].get("settings"), request.settings())
        if changes and not overwrite:
            raise OutputError(
                f"{journal.out}: holds names that were made otherwise: {join_first(changes, separator='; ')}. "
                "Name another file with --out, or replace them with --overwrite."
            )


def _has_strip(row: ResultRow, source: SourceImage, request: NamingRequest) -> bool:
    strip = request.strip_of(source.stem)
    return strip is None or row.get("strip") == str(strip)


def _tell(
    sources: Sequence[SourceImage],
    request: NamingRequest,
    failed: Mapping[str, str],
    rows: Mapping[str, Sequence[ResultRow]],
) -> tuple[list[dict[str, str]], list[Path]]:
    """Failures, and strips that were drawn, in the order of the series."""
    failures, written = [], []
    for each in sources:
        if each.path in failed:
            failures.append({"source": str(each.found.source), "reason": failed[each.path]})
        elif each.path in rows and (strip := request.given_strip_of(each.stem)):
            if reason := rows[each.path][0].get("undrawn"):
                failures.append({"source": str(strip), "reason": str(reason)})
            else:
                written.append(strip)
    return failures, written


def _name(labeller: AnatomyLabeller, source: SourceImage, request: NamingRequest, folder: Path) -> list[ResultRow]:
    """Name one series, write its file and draw its strip."""
    state = source.state()
    stacks = source.found.read()
    series = labeller.label(stacks, smooth=request.smooth)
    name, strip = request.files(source)[0], request.strip_of(source.stem)
    write_text(folder / name, to_json(series.to_dict(), indent=None) + "\n")
    reason = None if strip is None else try_strip(strip, series, choose_stacks(stacks))
    row: ResultRow = {
        "image": source.path,
        "first": source.found.first,
        "stem": source.stem,
        "names": name,
        "strip": None if reason else strip and str(strip),
        "settings": request.settings(),
        "state": state,
        **({"undrawn": reason} if reason else {}),
    }
    return [row]


@lru_cache(maxsize=1)
def _open(model: str, runtime: RuntimeChoice, device: str, precision: Precision, threads: int) -> AnatomyLabeller:
    """The labeller of a process."""
    return AnatomyLabeller(model, runtime=runtime, device=device, precision=precision, threads=threads)
