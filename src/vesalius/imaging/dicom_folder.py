"""The series of a folder of DICOM files, found by their headers; what is wrong with one file stops nobody."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pydicom

from vesalius.errors import ImageError
from vesalius.imaging.dicom_file import check_is_image, is_dicom, open_dicom, reading
from vesalius.imaging.dicom_frames import Frame, frames_of
from vesalius.imaging.dicom_stacks import Stack, build_stacks, keep
from vesalius.imaging.formats import DICOM_SUFFIXES
from vesalius.imaging.notices import Notice

_LOOKED_AT = ["Columns", "Modality", "Rows", "SOPClassUID", "SeriesDescription", "SeriesInstanceUID"]
LISTED = 3
"""Files whose fault a notice tells one by one."""


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
class Sorted:
    """What a number of files hold."""

    series: list[SeriesFiles]
    """In the order in which their first files come."""
    broken: list[tuple[Path, ImageError]]
    """DICOM files that cannot be read, or hold no image, and why."""


def sort_files(paths: Sequence[Path]) -> Sorted:
    """Sort files by the series they belong to, reading headers only.

    Args:
        paths: Files of any kind; those that are not DICOM are passed over.
    """
    series: dict[str, SeriesFiles] = {}
    broken: list[tuple[Path, ImageError]] = []
    for path in paths:
        try:
            if path.suffix.lower() in DICOM_SUFFIXES or is_dicom(path):
                _sort_one(path, series)
        except ImageError as error:
            broken.append((path, error))
    return Sorted(list(series.values()), broken)


def read_files(
    paths: Sequence[Path],
    source: Path,
    broken: Sequence[tuple[Path, ImageError]] = (),
    only: int | None = None,
) -> list[Stack]:
    """Read the files of one series.

    Args:
        paths: DICOM images; one that cannot be read is left out, and the images say so.
        source: What the images name as their origin.
        broken: Files that were left out before, and why.
        only: The one stack that is wanted, from 0; None for all.

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
        return keep(stacks, only)
    except ImageError:
        bad = _undecodable(
            [frame for stack in stacks[only : None if only is None else only + 1] for frame in stack.frames]
        )
        rest = [frame for frame in frames if frame.pixels.stored.path not in bad]
        if not bad or not rest:
            raise
        return keep(build_stacks(rest, source, _left_out([*failed, *bad.items()], total)), only)


def _undecodable(frames: Sequence[Frame]) -> dict[Path, ImageError]:
    """Files of frames that cannot be decoded, and why."""
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
    told = [str(error).replace(f"{path}: ", f"{path.name} ", 1).rstrip(".") for path, error in failed[:LISTED]]
    more = f"; and {len(failed) - LISTED} more" if len(failed) > LISTED else ""
    return [Notice("DICOM files left out", "; ".join(told) + more, count=len(failed), total=total)]


def _sort_one(path: Path, series: dict[str, SeriesFiles]) -> None:
    if not is_dicom(path):
        raise ImageError(f"{path}: is not DICOM, or empty; name a DICOM file, or take this one out of the folder.")
    with reading(path):
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=list(_LOOKED_AT))
        check_is_image(header, path)
        uid = str(header.get("SeriesInstanceUID") or "")
        modality, description = (str(header.get(keyword) or "") for keyword in ("Modality", "SeriesDescription"))
    series.setdefault(uid, SeriesFiles(uid, modality, description)).paths.append(path)
