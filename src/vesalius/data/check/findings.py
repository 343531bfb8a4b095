"""Findings, their kinds (``kinds.toml``), and the records of all splits; unusable records become findings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path, PurePosixPath

from vesalius.data.annotations import (
    SPLITS,
    ForeignAnnotationsError,
    ImageRecord,
    annotations_path,
    check_data_folder,
    read_annotation_list,
    to_record,
)
from vesalius.errors import DataError
from vesalius.files import read_package_toml


class Severity(StrEnum):
    """Severity of a finding, most severe first."""

    ERROR = "error"
    """Training or evaluation fails on it, or its numbers cannot be believed."""
    WARNING = "warning"
    """It reads, but probably not as meant."""
    NOTE = "note"
    """Worth knowing; a data set with nothing but notes passes."""


@dataclass(frozen=True)
class FindingKind:
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
    """Number of the record in ``anns/SPLIT.json``, from 0."""

    def __str__(self) -> str:
        if self.split is None:
            return self.file
        return f"{self.file} ({self.split}, record {self.record})" if self.record is not None else self.file


@dataclass(frozen=True)
class CheckFinding:
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
        """Severity of its kind."""
        return read_kinds()[self.kind].severity

    def splits(self) -> set[str]:
        """All splits it touches."""
        return {place.split for place in self.places if place.split is not None}


@cache
def read_kinds() -> Mapping[str, FindingKind]:
    """All kinds of finding by name, in the order in which they are reported, most severe first."""
    rows = read_package_toml("data/check/kinds.toml").items()
    kinds = {name: FindingKind(**{**row, "severity": Severity(row["severity"])}) for name, row in rows}
    grades = list(Severity)
    return dict(sorted(kinds.items(), key=lambda item: grades.index(item[1].severity)))


@dataclass(frozen=True)
class PlacedRecord:
    """A usable record and where it stands."""

    split: str
    number: int
    """Number of the record in its list, from 0."""
    record: ImageRecord
    fields: Mapping[str, object]
    """Everything its object holds, also what Vesalius does not know."""

    @property
    def image(self) -> str:
        """Path of the image within the data set."""
        return str(PurePosixPath("images", self.record.img_name))

    @property
    def mask(self) -> str:
        """Path of the mask within the data set."""
        return str(PurePosixPath("masks", self.record.mask_name))

    def at(self, file: str) -> Place:
        """This record as the place of a finding about a file."""
        return Place(file, self.split, self.number)

    def finding(self, kind: str, message: str, file: str = "", **details: object) -> CheckFinding:
        """A finding about this record.

        Args:
            kind: A row of ``kinds.toml``.
            message: What was found, what was expected.
            file: Path within the data set, by default its image's.
            **details: Numbers for programs, JSON values.
        """
        return CheckFinding(kind, message, (self.at(file or self.image),), details)


def read_splits(root: Path) -> tuple[list[PlacedRecord], list[CheckFinding]]:
    """Read every split that is there.

    Returns:
        The usable records in the order of the splits, and findings about the others.

    Raises:
        DataError: If the folder is no data set: it lacks ``images/``, ``masks/`` or every annotation file.
    """
    _check_layout(root)
    rows: list[PlacedRecord] = []
    findings: list[CheckFinding] = []
    for split in SPLITS:
        if not annotations_path(root, split).exists():
            place = Place(f"anns/{split}.json", split)
            findings.append(CheckFinding("missing_split", f"There is no {split} split: anns/{split}.json.", (place,)))
            continue
        found, wrong = _read_split(root, split)
        rows += found
        findings += wrong
    return rows, findings


def _check_layout(root: Path) -> None:
    check_data_folder(root)
    lacking = [name for name in ("images", "masks", "anns") if not (root / name).is_dir()]
    if lacking:
        remedy = "name the folder that holds all three, or make it with `vesalius data prepare`"
        raise DataError(f"{root}: no {lacking[0]}/ in it; expected images/, masks/ and anns/; {remedy}.")
    if not any(annotations_path(root, split).is_file() for split in SPLITS):
        raise DataError(f"{root}/anns: no annotation file in it; expected {', '.join(f'{s}.json' for s in SPLITS)}.")


def _read_split(root: Path, split: str) -> tuple[list[PlacedRecord], list[CheckFinding]]:
    file = Place(f"anns/{split}.json", split)
    try:
        content = read_annotation_list(root / file.file)
    except DataError as error:
        kind = "foreign_annotations" if isinstance(error, ForeignAnnotationsError) else "unreadable_annotations"
        return [], [CheckFinding(kind, str(error).replace(str(root / file.file), file.file), (file,))]
    return _sort_records(content, split, file.file)


def _sort_records(content: list[object], split: str, file: str) -> tuple[list[PlacedRecord], list[CheckFinding]]:
    rows, findings = [], []
    for number, fields in enumerate(content):
        try:
            record = to_record(fields, f"{file}, record {number}")
        except DataError as error:
            findings.append(CheckFinding("bad_record", str(error), (Place(file, split, number),)))
        else:
            assert isinstance(fields, dict)
            rows.append(PlacedRecord(split, number, record, fields))
    return rows, findings
