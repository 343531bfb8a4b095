"""Finds the volumes of a source: outlined ones, or series of which a person says what they show."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vesalius.data.anatomy.series_table import read_series_table
from vesalius.data.anatomy.settings import Said
from vesalius.data.anatomy.subjects import Subject, read_subjects
from vesalius.errors import DataError

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
    said: Said | None = None
    """What a person says, where nothing is outlined."""

    @property
    def inputs(self) -> list[Path]:
        """Files and folders that decide what becomes of it."""
        return [path for path in (self.image, self.outlines, self.names) if path is not None]


def find_volumes(source: Path, said: Said | None = None) -> list[LabelledVolume]:
    """Find what can be cut.

    A source is a folder of subjects as TotalSegmentator distributes them (``s0001/ct.nii.gz`` and
    ``s0001/segmentations/``, with ``meta.csv``), of label maps (``ct.nii.gz``, ``segmentation.nii.gz``,
    ``labels.json``), or one such subject; a ``series.toml``; or, with `said`, a NIfTI volume, DICOM file or series.

    Args:
        source: File or folder.
        said: What a person says of a single series.

    Raises:
        DataError: If there is nothing that can be cut; the message says what was expected.
    """
    if not source.exists():
        raise DataError(f"{source}: no such file or folder; check the path.")
    if said is not None:
        name = _plain_name(source)
        return [LabelledVolume(name, source, Subject(name), said=said)]
    if source.suffix.lower() == ".toml":
        return [
            LabelledVolume(row.name, row.path, Subject(row.patient, row.split), said=row.said)
            for row in read_series_table(source)
        ]
    volumes = sorted(_find_outlined(source), key=lambda volume: volume.name) if source.is_dir() else []
    if not volumes:
        raise DataError(
            f"{source}: holds nothing with outlines; expected subjects such as s0001/ct.nii.gz or mri.nii.gz with "
            f"s0001/{OUTLINES}/liver.nii.gz …, or ct.nii.gz or mr.nii.gz with {LABEL_MAP} and {NAMES}. Of a series "
            "without outlines say what it shows: --stations head --organs brain, or a series.toml."
        )
    return volumes


def _find_outlined(source: Path) -> Iterator[LabelledVolume]:
    subjects = read_subjects(source)
    released = (source / "meta.csv").is_file()
    for folder in [source, *(path for path in source.iterdir() if path.is_dir() and not path.name.startswith("."))]:
        for file, modality in VOLUMES.items():
            subject = subjects.get(folder.name, Subject(folder.resolve().name))
            image, name = folder / file, folder.resolve().name
            if not image.is_file():
                continue
            if (folder / OUTLINES).is_dir():
                yield LabelledVolume(name, image, subject, modality, folder / OUTLINES, predicted=not released)
            elif (folder / LABEL_MAP).is_file() and (folder / NAMES).is_file():
                yield LabelledVolume(
                    name, image, subject, modality, folder / LABEL_MAP, folder / NAMES, predicted=not released
                )


def _plain_name(path: Path) -> str:
    return path.resolve().name.split(".")[0] or "series"
