"""The journal of a preparation, one JSON line a finished sample, and how a sample's files are written.

A killed run is continued: a sample counts from the moment its line is written, after its files; it is done again when
its source, or the names asked of it, change. The journal also knows which files earlier runs wrote, so that these can
be removed.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vesalius.data.annotations import ImageRecord
from vesalius.data.prepare.samples import Outline, Picture, Problem, SourceSample
from vesalius.data.prepare.sources import Source
from vesalius.errors import DataError, OutputError
from vesalius.files import UNFINISHED, to_json, writing
from vesalius.folders import remove_inside
from vesalius.prompts import Variants

NAME = ".prepare.jsonl"


@dataclass(frozen=True)
class PreparedRecord:
    """One image with one mask, as written."""

    image: str
    """File name under images/."""
    mask: str
    """File name under masks/."""
    prompts: Mapping[str, Variants]
    kind: str
    empty: bool
    target: str = ""
    """What the mask outlines."""


@dataclass(frozen=True)
class FinishedSample:
    """A finished sample."""

    stamp: str
    examples: tuple[PreparedRecord, ...]
    problems: tuple[Problem, ...] = ()
    """Parts of it that were left out."""


class PrepareJournal:
    """The journal of one prepared folder.

    Args:
        dest: The folder.
        name: Data set that is prepared there.

    Raises:
        DataError: If the folder holds anything else.
    """

    def __init__(self, dest: Path, name: str) -> None:
        self.dest = dest
        self.name = name
        self.entries: dict[str, FinishedSample] = {}
        self._written: set[Path] = set()
        if (dest / NAME).is_file():
            for key, entry in _read(dest / NAME, name):
                self._keep(key, entry)
        else:
            _check_empty(dest)

    def open(self) -> None:
        """Begin to write.

        Raises:
            OutputError: If that is not possible.
        """
        if (self.dest / NAME).is_file():
            self._write("\n")  # ends a line that was cut off; empty lines do not matter
        else:
            self._append({"data": self.name})

    def finished(self, sample: SourceSample, stamp: str) -> FinishedSample | None:
        """What an earlier run made of a sample, if neither it nor its files have changed."""
        entry = self.entries.get(sample.key)
        if entry is None or entry.stamp != stamp:
            return None
        there = all(path.is_file() for example in entry.examples for path in self.files(example))
        return entry if there else None

    def begin(self, sample: SourceSample) -> None:
        """Note that what an earlier run made of a sample will be overwritten.

        Raises:
            OutputError: If that cannot be written.
        """
        if sample.key in self.entries:
            self.add(sample, replace(self.entries[sample.key], stamp=""))

    def add(self, sample: SourceSample, entry: FinishedSample) -> None:
        """Note that a sample is finished.

        Raises:
            OutputError: If that cannot be written.
        """
        self._keep(sample.key, entry)
        self._append({"key": sample.key, **asdict(entry)})

    def files(self, example: PreparedRecord) -> tuple[Path, Path]:
        """Image and mask of an example."""
        return self.dest / "images" / example.image, self.dest / "masks" / example.mask

    def remove_others(self, keys: Iterable[str]) -> None:
        """Delete what earlier runs wrote and this one does not want, and what an interrupted one left half written."""
        wanted = self._files(self.entries[key] for key in keys)
        for path in self._written - wanted:
            remove_inside(path, self.dest)
        for path in self.dest.rglob(".*"):
            if UNFINISHED.fullmatch(path.name):
                path.unlink(missing_ok=True)

    def _keep(self, key: str, entry: FinishedSample) -> None:
        self.entries[key] = entry
        self._written |= self._files([entry])

    def _files(self, entries: Iterable[FinishedSample]) -> set[Path]:
        return {path for entry in entries for example in entry.examples for path in self.files(example)}

    def _append(self, line: Mapping[str, object]) -> None:
        self._write(to_json(line, indent=None, ascii_only=False) + "\n")

    def _write(self, text: str) -> None:
        path = self.dest / NAME
        try:
            self.dest.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror or error}); free some room.") from error


def stamp_sample(sample: SourceSample, source: Source, names: Iterable[str]) -> str:
    """Changes when a sample, one of its files or the names it shall have change."""
    parts = [repr(sample), *(source.stamp(path) for path in sample.inputs), *names]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _read(path: Path, name: str) -> list[tuple[str, FinishedSample]]:
    first, *lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    there = _parse(first).get("data")
    if there is None:
        raise DataError(f"{path}: is damaged; delete the folder and prepare it anew.")
    if there != name:
        raise DataError(f"{path.parent}: holds the prepared {there}, not {name}; choose another folder.")
    return [(str(line["key"]), entry) for line in map(_parse, lines) if (entry := _to_entry(line))]


def _parse(line: str) -> dict[str, Any]:
    """A line; nothing if it was cut off."""
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _to_entry(line: Mapping[str, Any]) -> FinishedSample | None:
    """A finished sample; None if the line is none, so that the sample is done again."""
    try:
        examples = tuple(PreparedRecord(**example) for example in line["examples"])
        problems = tuple(Problem(**problem) for problem in line["problems"])
        return FinishedSample(str(line["stamp"]), examples, problems) if "key" in line else None
    except (KeyError, TypeError):
        return None


def _check_empty(dest: Path) -> None:
    if dest.exists() and not dest.is_dir():
        raise DataError(f"{dest}: is a file; name a folder for the prepared data.")
    if dest.exists() and any(dest.iterdir()):
        raise DataError(f"{dest}: holds files that were not prepared here; name a new or an empty folder.")


PNG_LEVEL = 4
"""Pillow's 6 takes more than twice the time for endoscopy pictures and saves 3 % of the bytes."""

Namer = Callable[[Outline], tuple[str, str] | None]
"""File names of an outline's image and mask; None if it is not wanted."""


def write_sample(
    sample: SourceSample, source: Source, journal: PrepareJournal, namer: Namer, stamp: str
) -> FinishedSample:
    """Read a sample and write what it gives.

    Files keep their bytes where they are PNG or JPEG, and all else becomes PNG, whatever the name says: readers go by
    the content, and no pixel changes.

    Raises:
        VesaliusError: If it cannot be read; then none of it counts.
        OutputError: If a file cannot be written.
    """
    examples: list[PreparedRecord] = []
    problems: list[Problem] = []
    written: set[str] = set()
    journal.begin(sample)
    for outline in sample.outlines(source):
        if isinstance(outline, Problem):
            problems.append(outline)
        elif names := namer(outline):
            empty = not outline.mask.any()
            example = PreparedRecord(*names, outline.prompts, outline.kind, empty=empty, target=outline.target)
            image, mask = journal.files(example)
            if example.image not in written:
                _write_picture(image, outline.picture)
                written.add(example.image)
            _write_mask(mask, outline.mask)
            examples.append(example)
    entry = FinishedSample(stamp, tuple(examples), tuple(problems))
    journal.add(sample, entry)
    return entry


def format_records(records: Sequence[ImageRecord]) -> str:
    """An annotation file in the benchmark's layout."""
    return to_json([each.to_dict() for each in records], indent=1, ascii_only=False)


def _write_picture(path: Path, picture: Picture) -> None:
    with writing(path) as unfinished:
        if picture.file is not None:
            shutil.copyfile(picture.file, unfinished)
        else:
            assert picture.pixels is not None
            _save_png(picture.pixels, unfinished)


def _write_mask(path: Path, mask: NDArray[np.bool_]) -> None:
    with writing(path) as unfinished:
        _save_png(mask.astype(np.uint8) * 255, unfinished)


def _save_png(levels: NDArray[np.uint8] | NDArray[np.uint16], path: Path) -> None:
    Image.fromarray(levels).save(path, format="PNG", compress_level=PNG_LEVEL)
