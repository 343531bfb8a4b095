"""DICOM files, folders and series as images; needs pydicom, and its pylibjpeg plugins for compressed pixels.

`read_dicom`, `read_series` and `read_stacks` are the way in; `sort_files` finds the series among files, and
`read_files` reads the stacks of one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pydicom

from vesalius.errors import ImageError, join_first
from vesalius.imaging.dicom_file import (
    DicomStream,
    check_is_dicom,
    check_is_image,
    is_dicom,
    open_dicom,
    reading_dicom,
    sop_class,
)
from vesalius.imaging.dicom_frames import Frame, frames_of
from vesalius.imaging.dicom_stacks import Stack, build_stacks, describe_stacks, load_small
from vesalius.imaging.formats import DICOM_SUFFIXES, visible_files
from vesalius.imaging.image import MedicalImage
from vesalius.imaging.safeguards import FILES_LEFT_OUT, Notice

SORTING_KEYWORDS = ["Columns", "Modality", "Rows", "SOPClassUID", "SeriesDescription", "SeriesInstanceUID"]
"""Attributes that are read to sort files."""
DIRECTORY = "1.2.840.10008.1.3.10"
"""SOP class of a DICOMDIR."""
LISTED_FILES = 3
"""Number of unreadable files that a notice lists one by one."""


def read_dicom(path: Path, *, stack: int | None = None, frame: int | None = None) -> MedicalImage:
    """Read one DICOM file: a slice, a picture, a clip, a mosaic or an enhanced multi-frame volume.

    Args:
        path: The file, under any name.
        stack: Number of the stack of parallel slices, from 1, the largest first; by default the largest, with a notice
            of what is left out.
        frame: Only that frame of a multi-frame file, from 1, in the order of the file.

    Raises:
        ImageError: If the file is no DICOM image, damaged, in a compression no installed plugin decodes, or has no
            such stack or frame.
    """
    frames = frames_of(open_dicom(path))
    if frame is not None:
        if not 1 <= frame <= len(frames):
            raise ImageError(f"{path}: has no frame {frame}; expected a number from 1 to {len(frames)}.")
        frames = frames[frame - 1 : frame]
    return choose_stack(load_small(build_stacks(frames, path), (stack or 1) - 1), path, stack)


def read_series(folder: Path, *, series: str | int | None = None, stack: int | None = None) -> MedicalImage:
    """Read one series of a folder and its subfolders.

    Args:
        folder: Folder of DICOM files; hidden files and folders, and files of other kinds, are skipped.
        series: SeriesInstanceUID, or its number, from 1, in the order that the message lists; needed where the folder
            holds several.
        stack: As for `read_dicom`.

    Raises:
        ImageError: If there is no image that can be read, or several series to choose from.
    """
    found = _find_series(folder)
    if series is None and len(found.series) > 1:
        raise ImageError(
            f"{folder}: holds {len(found.series)} series: {_listed(found.series)}. Name one folder, or choose one by "
            "its UID or number: series=2 in Python, --series 2 on the command line."
        )
    return choose_stack(_read(folder, found, series, (stack or 1) - 1), folder, stack)


def read_stacks(path: Path, *, series: str | int | None = None) -> list[MedicalImage]:
    """Read every stack of parallel slices: each orientation, echo, b-value and time point of each series.

    Args:
        path: DICOM file, or folder searched with its subfolders.
        series: Only that series, by its SeriesInstanceUID or number.

    Returns:
        Images, the one with most slices first.

    Raises:
        ImageError: If there is no image, or none that can be read.
    """
    if path.is_file():
        return [stack.image for stack in load_small(build_stacks(frames_of(open_dicom(path)), path))]
    return [stack.image for stack in _read(path, _find_series(path), series)]


def choose_stack(stacks: Sequence[Stack], source: Path, number: int | None = None) -> MedicalImage:
    """Choose one of several stacks; without a number the largest, with a notice of what is left out.

    Args:
        stacks: Stacks, the largest first.
        source: What the message names.
        number: Number of the stack, from 1; None for the largest.

    Raises:
        ImageError: If there is no such stack.
    """
    if number is not None:
        if not 1 <= number <= len(stacks):
            raise ImageError(f"{source}: has no stack {number}; there are {len(stacks)}: {describe_stacks(stacks)}.")
        return stacks[number - 1].image
    image = stacks[0].image
    if len(stacks) == 1:
        return image
    total = sum(len(stack.frames) for stack in stacks)
    why = f"the largest of {len(stacks)} stacks is taken: {describe_stacks(stacks)}"
    remedy = "Choose another with stack=2 in Python, --stack 2 on the command line"
    notice = Notice("slices left out", why, remedy, total - len(stacks[0].frames), total)
    return replace(image, notices=(*image.notices, notice))


@dataclass(frozen=True, eq=False)
class SeriesFiles:
    """The files of one series."""

    uid: str
    """SeriesInstanceUID; "" if the files have none."""
    modality: str
    description: str
    paths: list[Path] = field(default_factory=list)

    def __str__(self) -> str:
        told = " ".join(word for word in (self.modality, self.description) if word)
        return f"{self.uid or 'without a UID'} ({len(self.paths)} files, {told or self.paths[0].parent.name})"


@dataclass(frozen=True, eq=False)
class SortedFiles:
    """DICOM files by series."""

    series: list[SeriesFiles]
    """Series in the order of their first files."""
    broken: list[tuple[Path, ImageError]]
    """DICOM files that cannot be read, or hold no image, with the error of each."""
    indexes: list[Path]
    """Indexes of the other files (DICOMDIR), which lie on every patient's CD: neither images nor broken."""


def sort_files(paths: Sequence[Path]) -> SortedFiles:
    """Sort files by the series they belong to, reading headers only.

    Args:
        paths: Files of any kind; those that are not DICOM are skipped.
    """
    series: dict[str, SeriesFiles] = {}
    broken: list[tuple[Path, ImageError]] = []
    indexes: list[Path] = []
    for path in paths:
        try:
            if path.suffix.lower() in DICOM_SUFFIXES:
                check_is_dicom(path)
            elif not is_dicom(path):
                continue
            _sort_one(path, series, indexes)
        except ImageError as error:
            broken.append((path, error))
    return SortedFiles(list(series.values()), broken, indexes)


def _sort_one(path: Path, series: dict[str, SeriesFiles], indexes: list[Path]) -> None:
    with reading_dicom(path), DicomStream(path) as file:
        header = pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=list(SORTING_KEYWORDS))
        if sop_class(header) == DIRECTORY:
            indexes.append(path)
            return
        check_is_image(header, path)
        uid = str(header.get("SeriesInstanceUID") or "")
        modality, description = (str(header.get(keyword) or "") for keyword in ("Modality", "SeriesDescription"))
    series.setdefault(uid, SeriesFiles(uid, modality, description)).paths.append(path)


def _find_series(folder: Path) -> SortedFiles:
    if not folder.is_dir():
        raise ImageError(f"{folder}: no such folder; check the path.")
    found = sort_files(visible_files(folder))
    if not found.series:
        if found.broken:
            raise found.broken[0][1]
        raise ImageError(f"{folder}: holds no DICOM image; name a folder with a series, or a single picture file.")
    return found


def list_files(folder: Path, series: str | int | None = None) -> list[Path]:
    """The files of one series of a folder, or of all; only their headers are read.

    Args:
        folder: As for `read_series`.
        series: As for `read_stacks`.

    Raises:
        ImageError: If there is no image, or no such series.
    """
    return _files_of(folder, _find_series(folder), series)


def _files_of(folder: Path, found: SortedFiles, series: str | int | None) -> list[Path]:
    chosen = found.series if series is None else [_choose(folder, found.series, str(series))]
    return [path for each in chosen for path in each.paths]


def _read(folder: Path, found: SortedFiles, series: str | int | None, only: int | None = None) -> list[Stack]:
    return read_files(_files_of(folder, found, series), folder, found.broken, only)


def _choose(folder: Path, series: Sequence[SeriesFiles], asked: str) -> SeriesFiles:
    """Choose a series by its UID, else by its number from 1."""
    by_name = {str(number): each for number, each in enumerate(series, start=1)} | {each.uid: each for each in series}
    if asked not in by_name:
        raise ImageError(f"{folder}: has no series {asked}; there are {len(series)}: {_listed(series)}.")
    return by_name[asked]


def _listed(series: Sequence[SeriesFiles]) -> str:
    return "; ".join(f"{number}: {each}" for number, each in enumerate(series, start=1))


def read_files(
    paths: Sequence[Path],
    source: Path,
    broken: Sequence[tuple[Path, ImageError]] = (),
    only: int | None = None,
) -> list[Stack]:
    """Read the files of one series.

    Args:
        paths: DICOM images; one that cannot be read is left out, with a notice.
        source: What the images name as their origin.
        broken: Files that were left out before, with the error of each.
        only: Index of the one stack whose pixels to load, from 0; None for all.

    Returns:
        Every stack of parallel slices, the one with most slices first.

    Raises:
        ImageError: If no file can be read.
    """
    frames: list[Frame] = []
    failed: list[tuple[Path, ImageError]] = list(broken)
    for path in paths:
        try:
            frames += frames_of(open_dicom(path))
        except ImageError as error:
            failed.append((path, error))
    if not frames:
        raise failed[0][1]
    total = len(paths) + len(broken)
    stacks = build_stacks(frames, source, _left_out(failed, total))
    try:
        return load_small(stacks, only)
    except ImageError:
        wanted = stacks if only is None else stacks[only : only + 1]
        bad = _undecodable([frame for stack in wanted for frame in stack.frames])
        rest = [frame for frame in frames if frame.pixels.stored.path not in bad]
        if not bad or not rest:
            raise
        return load_small(build_stacks(rest, source, _left_out([*failed, *bad.items()], total)), only)


def _undecodable(frames: Sequence[Frame]) -> dict[Path, ImageError]:
    """Files of frames that cannot be decoded, with the error of each."""
    bad = {}
    for frame in frames:
        try:
            frame.pixels.read()
        except ImageError as error:
            bad[frame.pixels.stored.path] = error
    return bad


def _left_out(failed: Sequence[tuple[Path, ImageError]], total: int) -> list[Notice]:
    if not failed:
        return []
    told = (str(error).replace(f"{path}: ", f"{path.name} ", 1).rstrip(".") for path, error in failed)
    return [Notice(FILES_LEFT_OUT, join_first(told, LISTED_FILES, "; "), count=len(failed), total=total)]
