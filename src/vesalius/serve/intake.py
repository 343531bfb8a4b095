"""From the files of an upload to images: archives unpacked within bounds, series found, each under its own handle."""

import re
import stat
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from vesalius.errors import DataError, ImageError, VesaliusError, join_first
from vesalius.imaging import MedicalImage, SliceStack
from vesalius.imaging.formats import VOLUME_SUFFIXES, read_start, reading
from vesalius.imaging.orientation import grid_order
from vesalius.imaging.safeguards import BYTES_PER_MEGABYTE, FRAMES
from vesalius.imaging.search import FoundSeries, find_series
from vesalius.serve.store import SOURCE, Upload, write_record
from vesalius.volumes import is_volume

MOST_SERIES = 50
"""Series of one upload that get a handle; there are notices of others."""
ZIP_MARK = b"PK\x03\x04"
UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
"""What no name on disk has."""
LONGEST_NAME = 80
"""Characters of a name on disk."""
KEPT_FOLDERS = 3
"""Folders of an archive that are kept around a file."""
PIECE = 2**20


def safe_name(name: str) -> str:
    r"""A name for a file on disk: the last part of what a client sent, in letters that no system minds.

    >>> safe_name("../../etc/pass wd.nii.gz"), safe_name(".."), safe_name("a\\b.png")
    ('pass_wd.nii.gz', 'file', 'b.png')
    """
    last = re.split(r"[/\\]", name)[-1]
    return UNSAFE.sub("_", last)[-LONGEST_NAME:].lstrip("._-") or "file"


def unpack_archives(folder: Path, most: int) -> list[str]:
    """Replace zip files by what they hold.

    Args:
        folder: Of the files that were sent.
        most: Bytes that all may unpack to.

    Returns:
        Notices of what was left out.

    Raises:
        DataError: If an archive is damaged, encrypted, holds too much, or names places outside itself.
    """
    notices: list[str] = []
    left = most
    for path in sorted(folder.iterdir()):
        if read_start(path).startswith(ZIP_MARK):
            target = folder / f"{path.name}.unpacked"
            size, skipped = _unpack(path, target, left)
            left -= size
            path.unlink()
            if skipped:
                notices.append(f"{skipped} hidden files or links of {path.name} left out.")
    return notices


def _unpack(path: Path, target: Path, most: int) -> tuple[int, int]:
    """Unpack one archive; bytes written, and entries left out."""
    with reading(path, "a zip archive"), zipfile.ZipFile(path) as archive:
        entries = [each for each in archive.infolist() if not each.is_dir()]
        FRAMES.check(len(entries), path)
        places = {entry: _place_of(entry, path, number) for number, entry in enumerate(entries)}
        kept = [each for each in entries if not _is_skipped(each)]
        size = 0
        for entry in kept:
            place = target / places[entry]
            place.parent.mkdir(parents=True, exist_ok=True)
            size += _write_entry(archive, entry, place, most - size, path)
    return size, len(entries) - len(kept)


def _is_skipped(entry: zipfile.ZipInfo) -> bool:
    parts = _parts_of(entry)
    link = stat.S_ISLNK(entry.external_attr >> 16)
    return link or "__MACOSX" in parts or parts[-1].startswith(".") or parts[-1].upper() == "DICOMDIR"


def _parts_of(entry: zipfile.ZipInfo) -> tuple[str, ...]:
    return PurePosixPath(entry.filename.replace("\\", "/")).parts or ("",)


def _place_of(entry: zipfile.ZipInfo, path: Path, number: int) -> Path:
    """Where an entry goes: its own folders by safe names.

    Raises:
        DataError: If it names a place outside the archive, or is encrypted.
    """
    *homes, last = _parts_of(entry)
    if ".." in (*homes, last) or (*homes, last)[0][:1] in ("/", "") or ":" in (*homes, last)[0]:
        raise DataError(f"{path}: names a place outside itself; pack it again from its folder.")
    if entry.flag_bits & 1:
        raise DataError(f"{path}: is encrypted; send it without a password.")
    own = safe_name(last)
    return Path(*map(safe_name, homes[-KEPT_FOLDERS:]), own if own == last else f"{number:05d}_{own}")


def _write_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, place: Path, most: int, path: Path) -> int:
    """Bytes are counted as they come, since what an archive says of itself may be wrong."""
    size = 0
    if place.exists():
        place = place.with_name(f"{entry.header_offset}_{place.name}")
    with archive.open(entry) as packed, place.open("xb") as file:
        while piece := packed.read(PIECE):
            size += len(piece)
            if size > most:
                raise DataError(
                    f"{path}: unpacks to more than {most // BYTES_PER_MEGABYTE:,} megabytes; send fewer images at once."
                )
            file.write(piece)
    return size


def take_in(incoming: Path, name: str, most: int, make_handle: Callable[[], str], alias: str = "") -> list[Upload]:
    """Make uploads of the files that were sent: one for each series, volume and picture, the largest first.

    Args:
        incoming: Folder whose ``source`` holds the files; it becomes the upload, or is left empty for several.
        name: What the user called it.
        most: Bytes that archives and compressed volumes may unpack to.
        make_handle: Makes handles.
        alias: Further name of the largest, see `Upload.alias`.

    Raises:
        DataError, ImageError: If archives are refused, or nothing can be read.
    """
    source = incoming / SOURCE
    told = unpack_archives(source, most)
    files = [path for path in source.rglob("*") if path.is_file()]
    for path in files:
        _check_volume(path, most)
    found = find_series(files[0] if len(files) == 1 else source)
    read, left_out = _read_all(found)
    told += [*left_out, *_tell_others(found, files)]
    if not read:
        raise ImageError(left_out[0])
    read.sort(key=lambda pair: -pair[1].pixels.size)
    counts = Counter(each.source for each, _ in read)
    uploads = []
    for each, image in read[:MOST_SERIES]:
        shown = name if len(read) == 1 else f"{name}: {_name_of(each, counts, source)}"
        uploads.append((each, describe(each, image, make_handle(), shown, incoming, told)))
    if len(read) > MOST_SERIES:
        uploads[0][1].notices.append(f"{len(read) - MOST_SERIES} of {len(read)} series left out; send fewer at once.")
    uploads[0] = uploads[0][0], replace(uploads[0][1], alias=alias)
    return _place(incoming, uploads, files)


def _check_volume(path: Path, most: int) -> None:
    """Refuse a compressed volume that would unpack to too much, before anything unpacks it.

    Raises:
        ImageError: If so.
    """
    if not path.name.lower().endswith(VOLUME_SUFFIXES) or not read_start(path).startswith(b"\x1f\x8b"):
        return
    import nibabel as nib
    import numpy as np

    with reading(path, "a NIfTI or MGZ volume"):
        image = nib.load(path)
        size = int(np.prod(image.shape, dtype=object)) * int(np.dtype(image.get_data_dtype()).itemsize)
    if size > most:
        raise ImageError(
            f"{path}: unpacks to {size // BYTES_PER_MEGABYTE:,} megabytes; expected "
            f"{most // BYTES_PER_MEGABYTE:,} at most."
        )


def _read_all(found: Sequence[FoundSeries]) -> tuple[list[tuple[FoundSeries, MedicalImage]], list[str]]:
    """Series with their largest stack, and why others cannot be read."""
    read: list[tuple[FoundSeries, MedicalImage]] = []
    left_out = []
    for each in found:
        try:
            read.append((each, each.read()[0]))
        except VesaliusError as error:
            left_out.append(str(error))
    return read, left_out


def _tell_others(found: Sequence[FoundSeries], files: Sequence[Path]) -> list[str]:
    """A notice of files that are no images, but for headers in JSON, which lie beside volumes."""
    images = {path for each in found for path in (each.source, *each.files)}
    others = [path.name for path in files if path not in images and path.suffix.lower() != ".json"]
    return [f"{len(others)} of {len(files)} files are no images: {join_first(others)}."] if others else []


def _name_of(found: FoundSeries, counts: Counter[Path], source: Path) -> str:
    """A series by its folder, or by its first file where a folder holds several."""
    named = found.files[0] if counts[found.source] > 1 and found.files else found.source
    return str(named.relative_to(source)) if named != source else "series"


def describe(
    found: FoundSeries, image: MedicalImage, handle: str, name: str, home: Path, told: Iterable[str]
) -> Upload:
    """What callers are told of an image.

    Args:
        found: Where it was found, within ``home``.
        image: What was read of it.
        handle: Its handle.
        name: What the user called it.
        home: Folder of the upload.
        told: Notices of what came with it.
    """
    slices = image.slices()
    volume = is_volume(image, slices)
    axis, reversed_ = slice_axis(image, slices) if volume else (None, False)
    return Upload(
        id=handle,
        kind="volume" if volume else "picture",
        name=name,
        width=slices.pixels.shape[2],
        height=slices.pixels.shape[1],
        depth=len(slices),
        spacing_mm=_spacing(image, slices),
        modality=image.modality,
        plane=slices.plane,
        dicom="SOPClassUID" in image.header or bool(image.source_frames),
        slice_axis=axis,
        slice_reversed=reversed_,
        notices=[*told, *map(str, image.notices)],
        source=str(found.source.relative_to(home)),
        files=[str(each.relative_to(home)) for each in found.files],
        pictures=found.pictures,
        series_uid=image.header.get("SeriesInstanceUID", ""),
    )


def slice_axis(image: MedicalImage, slices: SliceStack) -> tuple[int, bool]:
    """Along which axis of a volume file slices lie, and whether they run backwards there."""
    if slices.affine is None or image.source_affine is None:
        return 2, False
    order, backwards = grid_order(slices.affine, image.source_affine)
    axis = order.index(0)
    return axis, backwards[axis]


def _spacing(image: MedicalImage, slices: SliceStack) -> list[float] | None:
    if slices.pixel_spacing_mm is None:
        return None
    rows, columns = slices.pixel_spacing_mm
    across = [] if image.spacing is None else [image.spacing[0]]
    return [columns, rows, *across]


def _place(incoming: Path, uploads: Sequence[tuple[FoundSeries, Upload]], files: Sequence[Path]) -> list[Upload]:
    """Give each upload its own folder."""
    home = incoming.parent
    if len(uploads) == 1:
        upload = uploads[0][1]
        write_record(incoming, upload)
        incoming.rename(home / upload.id)
        return [upload]
    for found, upload in uploads:
        own = incoming / upload.id
        taken = set(found.files or (found.source,))
        for path in files:
            if path in taken or path.with_suffix("") in {each.with_suffix("") for each in taken if not found.files}:
                target = own / path.relative_to(incoming)
                target.parent.mkdir(parents=True, exist_ok=True)
                path.rename(target)
        write_record(own, upload)
        own.rename(home / upload.id)
    return [upload for _, upload in uploads]
