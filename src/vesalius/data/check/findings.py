"""What a check finds: a kind, a sentence, and the files and records it is about."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from importlib.resources import files


class Severity(StrEnum):
    """How grave a finding is, gravest first."""

    ERROR = "error"
    """Training or evaluation fails on it, or its numbers cannot be believed."""
    WARNING = "warning"
    """It reads, but probably not as meant."""
    NOTE = "note"
    """Worth knowing; a data set with nothing but notes passes."""


@dataclass(frozen=True)
class Kind:
    """One row of ``kinds.toml``."""

    severity: Severity
    title: str
    matters: str
    """Why it matters."""
    remedy: str


@dataclass(frozen=True, order=True)
class Place:
    """A file, and the record that names it."""

    file: str
    """Path within the data set, e.g. ``masks/a.png``."""
    split: str | None = None
    """None for a file that no record names."""
    record: int | None = None
    """Its number in ``anns/SPLIT.json``, from 0."""

    def __str__(self) -> str:
        if self.split is None:
            return self.file
        return f"{self.file} ({self.split}, record {self.record})" if self.record is not None else self.file


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or worth knowing."""

    kind: str
    """A row of ``kinds.toml``."""
    message: str
    """What was found, what was expected."""
    places: tuple[Place, ...]
    """Where, at least one."""
    details: Mapping[str, object] = field(default_factory=dict)
    """Numbers for programs, JSON values."""

    @property
    def severity(self) -> Severity:
        """How grave it is, by its kind."""
        return read_kinds()[self.kind].severity

    def splits(self) -> set[str]:
        """All splits it touches."""
        return {place.split for place in self.places if place.split is not None}


@cache
def read_kinds() -> Mapping[str, Kind]:
    """All kinds of finding by name, in the order in which they are reported: gravest first."""
    text = files("vesalius.data.check").joinpath("kinds.toml").read_text(encoding="utf-8")
    kinds = {name: Kind(**{**row, "severity": Severity(row["severity"])}) for name, row in tomllib.loads(text).items()}
    grades = list(Severity)
    return dict(sorted(kinds.items(), key=lambda item: grades.index(item[1].severity)))
