"""DICOM files and series as images; needs pydicom, and its pylibjpeg plugins for compressed files."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from vesalius.errors import ImageError
from vesalius.imaging.dicom_file import is_dicom, is_image, open_dicom, quiet_pydicom, read_frames
from vesalius.imaging.dicom_frames import Frame
from vesalius.imaging.dicom_stacks import build_stacks
from vesalius.imaging.formats import DICOM_SUFFIXES
from vesalius.imaging.image import MedicalImage


@quiet_pydicom()
def read_dicom(path: Path) -> MedicalImage:
    """Read one DICOM file: a slice, a picture, a clip or an enhanced multi-frame volume.

    Args:
        path: The file, under any name.

    Returns:
        The file's largest stack of parallel slices.

    Raises:
        ImageError: If the file is no DICOM image, damaged, or in a compression no installed plugin decodes.
    """
    return build_stacks(read_frames(path), path)[0]


@quiet_pydicom()
def read_series(folder: Path, *, series_uid: str | None = None) -> MedicalImage:
    """Read the one series in a folder and its subfolders.

    Args:
        folder: Folder of DICOM files; hidden files and files of other kinds are passed over.
        series_uid: SeriesInstanceUID, needed where the folder holds several.

    Returns:
        The series' largest stack of parallel slices; `read_stacks` gives all, e.g. of a localizer.

    Raises:
        ImageError: If there is no image, a damaged one, or several series to choose from.
    """
    series = _find_series(folder)
    if series_uid is None and len(series) > 1:
        listed = "; ".join(f"{uid} ({len(paths)} files, {paths[0].parent.name})" for uid, paths in series.items())
        raise ImageError(f"{folder}: holds {len(series)} series: {listed}. Name one folder, or choose with series_uid.")
    return build_stacks(_read_all(folder, series, series_uid), folder)[0]


@quiet_pydicom()
def read_stacks(path: Path, *, series_uid: str | None = None) -> list[MedicalImage]:
    """Read every stack of parallel slices: each orientation, echo, b-value and time point of each series.

    Args:
        path: DICOM file, or folder searched with its subfolders.
        series_uid: Only the series of that SeriesInstanceUID.

    Returns:
        Images, the one with most slices first.

    Raises:
        ImageError: If there is no image, or a damaged one.
    """
    if path.is_file():
        return build_stacks(read_frames(path), path)
    return build_stacks(_read_all(path, _find_series(path), series_uid), path)


def _find_series(folder: Path) -> dict[str, list[Path]]:
    if not folder.is_dir():
        raise ImageError(f"{folder}: no such folder; check the path.")
    series: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(path for path in folder.rglob("[!.]*") if path.is_file()):
        if path.suffix.lower() in DICOM_SUFFIXES or is_dicom(path):
            header = open_dicom(path, stop_before_pixels=True)
            if is_image(header, path):
                series[str(header.get("SeriesInstanceUID", ""))].append(path)
    if not series:
        raise ImageError(f"{folder}: holds no DICOM image; name a folder with a series, or a single picture file.")
    return dict(series)


def _read_all(folder: Path, series: dict[str, list[Path]], series_uid: str | None) -> list[Frame]:
    if series_uid is not None and series_uid not in series:
        raise ImageError(f"{folder}: has no series {series_uid}; available: {', '.join(series)}.")
    chosen: Sequence[list[Path]] = list(series.values()) if series_uid is None else [series[series_uid]]
    return [frame for paths in chosen for path in paths for frame in read_frames(path)]
