"""Volumes to cut: outlined ones in folders, series that a person describes, their patients and splits."""

import hashlib
import math
import os
import warnings
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vesalius.data.prepare.splitting import SplitConfig
from vesalius.data.prepare.tables import find_column, read_table, to_split
from vesalius.data.slices.series_table import SeriesDescription, read_series_table
from vesalius.errors import ConfigError, DataError, join_first
from vesalius.imaging.formats import path_stem
from vesalius.imaging.header import sidecar_path
from vesalius.imaging.intensity import named_window


@dataclass(frozen=True)
class CutSettings:
    """Choice and display of the slices that are cut."""

    per_plane: int = 5
    """Slices of a volume in each plane, at most."""
    spacing_mm: float = 10.0
    """Smallest distance between them, mm."""
    size: int = 224
    """Side of the pictures, pixels."""
    windows: tuple[str, ...] = ("soft tissue",)
    """CT windows by name; each slice is written in every one."""

    def __post_init__(self) -> None:
        spaced = math.isfinite(self.spacing_mm) and self.spacing_mm >= 0
        if self.per_plane < 1 or not spaced or not 16 <= self.size <= 4096 or not self.windows:
            raise ConfigError(
                "--per-plane must be 1 or more, --spacing-mm 0 or more, --size 16 to 4096, and --windows not empty; "
                f"got {self.per_plane}, {self.spacing_mm:g}, {self.size}, {len(self.windows)} windows."
            )
        for name in self.windows:
            named_window(name)


META = "meta.csv"


@dataclass(frozen=True)
class Subject:
    """A patient, and the split that the source gives for them."""

    patient: str
    split: str | None = None


def _read_subjects(source: Path) -> Mapping[str, Subject]:
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


VOLUMES = {"ct.nii.gz": "CT", "mri.nii.gz": "MR", "mr.nii.gz": "MR"}
"""Names of a subject's volume, and the modality they tell."""
OUTLINES = "segmentations"
LABEL_MAP, NAMES = "segmentation.nii.gz", "labels.json"


@dataclass(frozen=True)
class LabelledVolume:
    """A volume, and what tells what is on it."""

    name: str
    """Unique within the source; begins the names of its slices."""
    image: Path
    """NIfTI volume, DICOM file or folder of one series."""
    subject: Subject
    modality: str | None = None
    """None where the header tells."""
    outlines: Path | None = None
    """Folder with one mask volume a structure, or a label map."""
    names: Path | None = None
    """JSON table of the label map's numbers."""
    predicted: bool = False
    """Outlined by a model."""
    description: SeriesDescription | None = None
    """Description by a person, where nothing is outlined."""

    @property
    def inputs(self) -> list[Path]:
        """Files and folders that decide what becomes of it, the header beside the volume among them."""
        header = sidecar_path(self.image)
        paths = (self.image, self.outlines, self.names, header if os.path.isfile(header) else None)
        return [path for path in paths if path is not None]


def find_volumes(source: Path, description: SeriesDescription | None = None) -> list[LabelledVolume]:
    """Find what can be cut.

    A source is a folder of subjects as TotalSegmentator distributes them (``s0001/ct.nii.gz`` and
    ``s0001/segmentations/``, with ``meta.csv``), of label maps (``ct.nii.gz``, ``segmentation.nii.gz``,
    ``labels.json``), or one such subject; a ``series.toml``; or, with `description`, a NIfTI volume,
    DICOM file or series.

    Args:
        source: File or folder.
        description: Description of a single series by a person.

    Raises:
        DataError: If there is nothing that can be cut, or ``meta.csv`` knows none of it; the message says what was
            expected.
    """
    if not source.exists():
        raise DataError(f"{source}: no such file or folder; check the path.")
    if description is not None:
        name = path_stem(source.resolve()) or "series"
        return [LabelledVolume(name, source, Subject(name), description=description)]
    if source.suffix.lower() == ".toml":
        return [
            LabelledVolume(row.name, row.path, Subject(row.patient, row.split), description=row.description)
            for row in read_series_table(source)
        ]
    subjects = _read_subjects(source)
    volumes = sorted(_find_outlined(source, subjects), key=lambda volume: volume.name) if source.is_dir() else []
    if subjects:
        _check_listed(source, subjects, dict.fromkeys(volume.name for volume in volumes))
    if not volumes:
        raise DataError(
            f"{source}: holds nothing with outlines; expected subjects such as s0001/ct.nii.gz or mri.nii.gz with "
            f"s0001/{OUTLINES}/liver.nii.gz …, or ct.nii.gz or mr.nii.gz with {LABEL_MAP} and {NAMES}. Of a series "
            "without outlines say what it shows: --stations head --organs brain, or a series.toml."
        )
    return volumes


def _check_listed(source: Path, subjects: Mapping[str, Subject], names: Collection[str]) -> None:
    """See that the source's table tells patients and splits of the folders of these names."""
    lacking = [name for name in names if name not in subjects]
    if not lacking:
        return
    found = f"{source / META}: has no row for {len(lacking)} of {len(names)} folders ({join_first(lacking)})"
    if len(lacking) == len(names):
        raise DataError(f"{found}; its image_id are such as {join_first(subjects)}. Make names and rows agree.")
    warnings.warn(f"{found}; each counts as a patient of its own, and the seed decides its split.", stacklevel=3)


def _find_outlined(source: Path, subjects: Mapping[str, Subject]) -> Iterator[LabelledVolume]:
    released = (source / META).is_file()
    for folder in [source, *(path for path in source.iterdir() if path.is_dir() and not path.name.startswith("."))]:
        for file, modality in VOLUMES.items():
            image, name = folder / file, folder.resolve().name
            subject = subjects.get(name, Subject(name))
            if not image.is_file():
                continue
            if (folder / OUTLINES).is_dir():
                yield LabelledVolume(name, image, subject, modality, folder / OUTLINES, predicted=not released)
            elif (folder / LABEL_MAP).is_file() and (folder / NAMES).is_file():
                yield LabelledVolume(
                    name, image, subject, modality, folder / LABEL_MAP, folder / NAMES, predicted=not released
                )
