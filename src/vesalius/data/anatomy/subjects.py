"""Who the volumes of a folder belong to, and which split the authors put them in: ``meta.csv``."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vesalius.data.prepare.splitting import SplitConfig
from vesalius.data.prepare.tables import find_column, read_table, to_split
from vesalius.errors import DataError

META = "meta.csv"


@dataclass(frozen=True)
class Subject:
    """A patient, and the split somebody put them in."""

    patient: str
    split: str | None = None


def read_subjects(source: Path) -> Mapping[str, Subject]:
    """Read TotalSegmentator's table, whatever its separator and with or without a byte-order mark.

    Images of one patient share a row's ``patient_id`` where there is such a column; else an image is a patient.

    Args:
        source: Folder that may hold ``meta.csv``.

    Returns:
        Image -> subject; {} without a table.

    Raises:
        DataError: If the table has no column ``image_id``, an unknown split, or one patient in two splits.
    """
    path = source / META
    if not path.is_file():
        return {}
    rows = read_table(path)
    image, patient, split = (
        find_column(rows[0], *names) for names in (("image_id", "image"), ("patient_id", "patient"), ("split",))
    )
    if image is None:
        raise DataError(f"{path}: has no column image_id; it has {', '.join(rows[0])}.")
    subjects: dict[str, Subject] = {}
    for number, row in enumerate(rows, start=2):
        name = str(row[image] or "")
        try:
            subjects[name] = Subject(str((row[patient] if patient else None) or name), to_split(row.get(split or "")))
        except DataError as error:
            raise DataError(f"{path}, line {number}: {error}") from error
    return subjects


def assign_split(subject: Subject, config: SplitConfig) -> str:
    """The split of a patient: the authors', else one that only name and seed decide, whoever else is there.

    >>> assign_split(Subject("s0001"), SplitConfig())
    'test'
    """
    if subject.split is not None:
        return subject.split
    digest = hashlib.sha256(f"{config.seed}:{subject.patient}".encode()).digest()
    part = int.from_bytes(digest[:8]) / 2**64
    if part < config.test:
        return "test"
    return "val" if part < config.test + config.val else "train"


def check_splits(subjects: Mapping[str, Subject], config: SplitConfig) -> None:
    """See that no patient is in two splits.

    Args:
        subjects: Volume -> subject.
        config: How those without a split are divided.

    Raises:
        DataError: Naming the patient.
    """
    seen: dict[str, tuple[str, str]] = {}
    for volume, subject in subjects.items():
        split = assign_split(subject, config)
        first, other = seen.setdefault(subject.patient, (volume, split))
        if other != split:
            raise DataError(
                f"patient {subject.patient} is in two splits: {other} ({first}) and {split} ({volume}). "
                "Give all volumes of a patient one split."
            )
