"""DICOM files and series as images; needs pydicom, and its pylibjpeg plugins for compressed files."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vesalius.errors import ImageError
from vesalius.imaging.dicom_file import open_dicom
from vesalius.imaging.dicom_folder import SeriesFiles, Sorted, read_files, sort_files
from vesalius.imaging.dicom_frames import frames_of
from vesalius.imaging.dicom_stacks import Stack, build_stacks, describe, keep
from vesalius.imaging.formats import visible_files
from vesalius.imaging.image import MedicalImage
from vesalius.imaging.notices import Notice


def read_dicom(path: Path, *, stack: int | None = None, frame: int | None = None) -> MedicalImage:
    """Read one DICOM file: a slice, a picture, a clip, a mosaic or an enhanced multi-frame volume.

    Args:
        path: The file, under any name.
        stack: Which stack of parallel slices, from 1, the largest first; by default the largest, and a notice says
            what is left out.
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
    return choose_stack(keep(build_stacks(frames, path), (stack or 1) - 1), path, stack)


def read_series(folder: Path, *, series: str | int | None = None, stack: int | None = None) -> MedicalImage:
    """Read one series of a folder and its subfolders.

    Args:
        folder: Folder of DICOM files; hidden files and folders, and files of other kinds, are passed over.
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
        return [stack.image for stack in keep(build_stacks(frames_of(open_dicom(path)), path))]
    return [stack.image for stack in _read(path, _find_series(path), series)]


def choose_stack(stacks: Sequence[Stack], source: Path, number: int | None = None) -> MedicalImage:
    """One stack of several, with a notice of what is left out where nobody chose.

    Args:
        stacks: The largest first.
        source: What the message names.
        number: From 1; None for the largest.

    Raises:
        ImageError: If there is no such stack.
    """
    if number is not None:
        if not 1 <= number <= len(stacks):
            raise ImageError(f"{source}: has no stack {number}; there are {len(stacks)}: {describe(stacks)}.")
        return stacks[number - 1].image
    image = stacks[0].image
    if len(stacks) == 1:
        return image
    total = sum(len(stack.frames) for stack in stacks)
    why = f"the largest of {len(stacks)} stacks is taken: {describe(stacks)}"
    remedy = "Choose another with stack=2 in Python, --stack 2 on the command line"
    notice = Notice("slices left out", why, remedy, total - len(stacks[0].frames), total)
    return replace(image, notices=(*image.notices, notice))


def _find_series(folder: Path) -> Sorted:
    if not folder.is_dir():
        raise ImageError(f"{folder}: no such folder; check the path.")
    found = sort_files(visible_files(folder))
    if not found.series:
        if found.broken:
            raise found.broken[0][1]
        raise ImageError(f"{folder}: holds no DICOM image; name a folder with a series, or a single picture file.")
    return found


def _read(folder: Path, found: Sorted, series: str | int | None, only: int | None = None) -> list[Stack]:
    chosen = found.series if series is None else [_choose(folder, found.series, str(series))]
    return read_files([path for each in chosen for path in each.paths], folder, found.broken, only)


def _choose(folder: Path, series: Sequence[SeriesFiles], asked: str) -> SeriesFiles:
    """By UID, else by number from 1."""
    by_name = {str(number): each for number, each in enumerate(series, start=1)} | {each.uid: each for each in series}
    if asked not in by_name:
        raise ImageError(f"{folder}: has no series {asked}; there are {len(series)}: {_listed(series)}.")
    return by_name[asked]


def _listed(series: Sequence[SeriesFiles]) -> str:
    return "; ".join(f"{number}: {each}" for number, each in enumerate(series, start=1))
