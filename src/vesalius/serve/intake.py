"""From the files of an upload to images: archives unpacked within bounds, series found, each under its own handle."""

import io
import re
import shutil
import stat
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath

from vesalius.errors import DataError, ImageError, VesaliusError, join_first
from vesalius.files import read_json, write_json
from vesalius.imaging import MedicalImage, SliceStack
from vesalius.imaging.formats import is_gzip, is_volume_file, read_start, reading
from vesalius.imaging.header import sidecar_path
from vesalius.imaging.mask_volumes import is_volume
from vesalius.imaging.safeguards import BYTES_PER_MEGABYTE, FRAMES, Notice
from vesalius.imaging.search import FoundSeries, find_series
from vesalius.serve.names import LONGEST_SHOWN, Places, shown_path
from vesalius.serve.store import no_room
from vesalius.serve.uploads import SOURCE, Upload, write_upload

MOST_SERIES = 50
"""Series of one upload that get a handle; there are notices of others."""
ZIP_MARK = b"PK\x03\x04"
PIECE = 2**20
ENTRY = 512
"""Bytes that an archive's directory takes for a file at most, on average."""
ARCHIVES = "archives"
"""Folder of archives while what they hold is taken in, beside ``source``."""
UNPACKED = "+unpacked"
"""Ends the name of the folder of what an archive held, as no name that a client gives."""
NAMES = "names.json"
"""What users call the files of ``source``, by their path there, where somebody sent them."""
PLAN = "plan.json"
"""Which uploads the files become, so that what was begun is finished by whoever tries again."""
MOST_NOTICES = 30
"""Notices of one upload; they say how many there are beyond."""
LONGEST_NOTICE = 500
"""Largest number of characters of a notice."""


@dataclass
class Budget:
    """Bytes that an upload may unpack to, counted as they come."""

    most: int
    """Largest number of bytes, by the service's limit."""
    room: Callable[[], int]
    """Says what the store has left; asked before the first byte."""
    used: int = 0
    left: int | None = None
    """Bytes that the store had left then."""

    def take(self, size: int, path: Path) -> None:
        """Count bytes that are about to be written.

        Raises:
            DataError: If an upload may not hold as much.
            ServiceError: If the store has no room.
        """
        self.left = self.room() if self.left is None else self.left
        self.used += size
        if self.used > self.most:
            megabytes = f"{self.most // BYTES_PER_MEGABYTE:,}"
            raise DataError(f"{path}: unpacks to more than {megabytes} megabytes; send fewer images at once.")
        if self.used > self.left:
            raise no_room()


class _Archive(io.FileIO):
    """A zip file whose directory, which is read at once, may have no more than so many bytes."""

    def read(self, size: int | None = -1, /) -> bytes:
        most = max(2 * PIECE, ENTRY * FRAMES.value)
        if size is not None and size > most:
            raise DataError(f"{self.name}: lists more files than {FRAMES.value:,}; send fewer at once.")
        return super().read(-1 if size is None else size) or b""


def unpack_archives(folder: Path, budget: Budget, shown: dict[str, str]) -> list[str]:
    """Replace zip files by what they hold; they move to a folder beside this one, from which a second try unpacks anew.

    Args:
        folder: Of the files that were sent.
        budget: What all may unpack to.
        shown: What users call the files, by their path in the folder; what archives hold is added.

    Returns:
        Notices of what was left out.

    Raises:
        DataError: If an archive is damaged, encrypted, holds too much, or names places outside itself.
        ServiceError: If the store has no room.
    """
    packed = folder.parent / ARCHIVES
    for path in list(folder.rglob(f"*{UNPACKED}")):  # of a try that was cut off
        shutil.rmtree(path)
    for path in [each for each in folder.rglob("*") if each.is_file()]:
        if read_start(path).startswith(ZIP_MARK):
            (packed / path.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
            path.rename(packed / path.relative_to(folder))
    notices: list[str] = []
    for path in sorted(each for each in packed.rglob("*") if each.is_file()):
        inner = str(path.relative_to(packed))
        skipped, places = _unpack(path, folder / f"{inner}{UNPACKED}", budget)
        for place, name in places.items():
            shown[f"{inner}{UNPACKED}/{place}"] = f"{shown.get(inner, inner)}/{shown_path(name)}"
        if skipped:
            notices.append(f"{skipped} hidden files or links of {path.name} left out.")
    return notices


def _unpack(path: Path, target: Path, budget: Budget) -> tuple[int, dict[Path, str]]:
    """Unpack one archive; the number of entries left out, and names of the others by their places."""
    with reading(path, "a zip archive"), _Archive(path) as file, zipfile.ZipFile(file) as archive:
        entries = [each for each in archive.infolist() if not each.is_dir()]
        FRAMES.check(len(entries), path)
        for entry in entries:
            _check_entry(entry, path)
        places = Places()
        kept = {places.find(each.filename): each for each in entries if not _is_skipped(each)}
        for place, entry in kept.items():
            (target / place).parent.mkdir(parents=True, exist_ok=True)
            _write_entry(archive, entry, target / place, budget, path)
    return len(entries) - len(kept), {place: entry.filename for place, entry in kept.items()}


def _is_skipped(entry: zipfile.ZipInfo) -> bool:
    parts = _parts_of(entry)
    link = stat.S_ISLNK(entry.external_attr >> 16)
    return link or "__MACOSX" in parts or any(each.startswith(".") for each in parts)


def _parts_of(entry: zipfile.ZipInfo) -> tuple[str, ...]:
    return PurePosixPath(entry.filename.replace("\\", "/")).parts or ("",)


def _check_entry(entry: zipfile.ZipInfo, path: Path) -> None:
    """Refuse an entry that names a place outside the archive, or is encrypted.

    Raises:
        DataError: If it does or is.
    """
    parts = _parts_of(entry)
    if ".." in parts or parts[0][:1] in ("/", "") or ":" in parts[0]:
        raise DataError(f"{path}: names a place outside itself; pack it again from its folder.")
    if entry.flag_bits & 1:
        raise DataError(f"{path}: is encrypted; send it without a password.")


def _write_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, place: Path, budget: Budget, path: Path) -> None:
    """Bytes are counted as they come, since what an archive says of itself may be wrong."""
    with archive.open(entry) as packed, place.open("xb") as file:
        while piece := packed.read(PIECE):
            budget.take(len(piece), path)
            file.write(piece)


def take_in(incoming: Path, name: str, budget: Budget, make_handle: Callable[[], str], alias: str = "") -> list[Upload]:
    """Make uploads of the files that were sent: one for each series, volume and picture, the largest first.

    Whoever is asked again, because the first who was asked ended in between, goes on from where that one was.

    Args:
        incoming: Folder whose ``source`` holds the files; what becomes no upload stays there.
        name: What the user called it.
        budget: What archives and compressed volumes may unpack to.
        make_handle: Makes handles.
        alias: Further name of the largest, see `Upload.alias`.

    Raises:
        DataError, ImageError: If archives are refused, or nothing can be read.
        ServiceError: If the store has no room.
    """
    if not (incoming / PLAN).exists():
        uploads, files = _read_uploads(incoming, name, budget, make_handle)
        uploads[0] = uploads[0][0], replace(uploads[0][1], alias=alias)
        _plan(incoming, uploads, files)
    return _place(incoming)


def _read_uploads(
    incoming: Path, name: str, budget: Budget, make_handle: Callable[[], str]
) -> tuple[list[tuple[FoundSeries, Upload]], list[Path]]:
    """What becomes an upload, the largest first, and all files."""
    source = incoming / SOURCE
    shown = _read_names(incoming / NAMES)
    told = unpack_archives(source, budget, shown)
    files = [path for path in source.rglob("*") if path.is_file()]
    for path in files:
        _check_volume(path, budget.most)
    found = find_series(files[0] if len(files) == 1 else source)
    read, left_out = _read_all(found, incoming)
    if not read:
        raise ImageError(left_out[0])
    told += [*left_out, *_tell_others(found, files)]
    if len(read) > MOST_SERIES:
        told.append(f"{len(read) - MOST_SERIES} of {len(read)} series left out; send fewer at once.")
    counts = Counter(each.source for each, _ in read)
    several, now = len(read) > 1, time.time()
    uploads = []
    for each, upload in read[:MOST_SERIES]:
        place = _path_of(each, counts, source, shown)
        own = "series" if place in ("", name) else place.removeprefix(f"{name}/")[-LONGEST_SHOWN:]
        notices = _in_bounds([*told, *upload.notices], incoming)
        called = f"{name}: {own}" if several else name
        uploads.append((each, replace(upload, id=make_handle(), name=called, notices=notices, arrived=now)))
    return uploads, files


def _read_names(path: Path) -> dict[str, str]:
    content = read_json(path) if path.exists() else {}
    assert isinstance(content, dict)
    return content


def _check_volume(path: Path, most: int) -> None:
    """Refuse a compressed volume that would unpack to too much, before anything unpacks it.

    Raises:
        ImageError: If so.
    """
    if not is_volume_file(path) or not is_gzip(read_start(path)):
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


def _read_all(found: Sequence[FoundSeries], home: Path) -> tuple[list[tuple[FoundSeries, Upload]], list[str]]:
    """What is known of the largest stack of each series, the largest first, and why others cannot be read.

    Pixels are let go of at once, since there may be hundreds of series.
    """
    read: list[tuple[int, FoundSeries, Upload]] = []
    left_out = []
    for each in found:
        try:
            image = each.read_largest()
            read.append((image.pixels.size, each, describe_image(each, image, home)))
        except VesaliusError as error:
            left_out.append(str(error))
    read.sort(key=lambda one: -one[0])
    return [(each, upload) for _, each, upload in read], left_out


def _in_bounds(notices: Sequence[str], home: Path) -> list[str]:
    """Notices that say nothing of where the service keeps its files, and are not without end."""
    shown = []
    for each in notices[:MOST_NOTICES]:
        for folder in (home / SOURCE, home):
            each = each.replace(f"{folder}/", "").replace(str(folder), "the upload")
        shown.append(each if len(each) <= LONGEST_NOTICE else f"{each[:LONGEST_NOTICE]}…")
    more = len(notices) - len(shown)
    return [*shown, f"{more} further notices left out."] if more else shown


def _tell_others(found: Sequence[FoundSeries], files: Sequence[Path]) -> list[str]:
    """A notice of files that are no images, but for headers in JSON, which lie beside volumes."""
    images = {path for each in found for path in (each.source, *each.files)}
    others = [path.name for path in files if path not in images and path.suffix.lower() != ".json"]
    return [f"{len(others)} of {len(files)} files are no images: {join_first(others)}."] if others else []


def _path_of(found: FoundSeries, counts: Counter[Path], source: Path, shown: Mapping[str, str]) -> str:
    """A series by its folder as users know it, or by its first file where a folder holds several."""
    first = found.files[0] if found.files else found.source
    named = first if counts[found.source] > 1 else found.source
    place = str(first.relative_to(source))
    parts = shown.get(place, place).split("/")
    return "/".join(parts[: len(parts) - len(first.relative_to(named).parts)])


def describe_image(found: FoundSeries, image: MedicalImage, home: Path) -> Upload:
    """What callers are told of an image, but for its handle and its name.

    Args:
        found: Where it was found, within ``home``.
        image: What was read of it.
        home: Folder of the upload.
    """
    slices = image.slices()
    volume = is_volume(image, slices)
    grid = image.mask_grid(slices)
    axis = grid.order.index(0) if volume else None
    return Upload(
        id="",
        kind="volume" if volume else "picture",
        name="",
        width=slices.pixels.shape[2],
        height=slices.pixels.shape[1],
        depth=len(slices),
        spacing_mm=_spacing(image, slices),
        modality=image.modality,
        plane=slices.plane,
        dicom="SOPClassUID" in image.header or bool(image.source_frames),
        slice_axis=axis,
        slice_reversed=axis is not None and grid.backwards[axis],
        notices=[*map(_tell, image.notices)],
        source=str(found.source.relative_to(home)),
        files=[str(each.relative_to(home)) for each in found.files],
        pictures=found.pictures,
        series_uid=image.header.get("SeriesInstanceUID", ""),
        placed=image.is_placed,
    )


def _tell(notice: Notice) -> str:
    """A notice without the choices that only Python and the command line have."""
    if re.search("^Choose|--", notice.remedy):
        notice = replace(notice, remedy="Send what is wanted by itself")
    return str(notice)


def _spacing(image: MedicalImage, slices: SliceStack) -> list[float] | None:
    if slices.pixel_spacing_mm is None:
        return None
    rows, columns = slices.pixel_spacing_mm
    across = [] if image.spacing is None else [image.spacing[0]]
    return [columns, rows, *across]


def _plan(incoming: Path, uploads: Sequence[tuple[FoundSeries, Upload]], files: Sequence[Path]) -> None:
    """Write down which files each upload takes: its own and their headers in JSON, each file once."""
    left = set(files)
    rows = []
    for found, upload in uploads:
        own = found.files or (found.source,)
        wanted = {*own, *map(sidecar_path, own)} & left
        left -= wanted
        rows.append({"record": asdict(upload), "files": [str(each.relative_to(incoming)) for each in sorted(wanted)]})
    write_json(incoming / PLAN, {"uploads": rows})


def _place(incoming: Path) -> list[Upload]:
    """Give each upload of the plan its own folder; what was done before is left as it is."""
    content = read_json(incoming / PLAN)
    assert isinstance(content, dict)
    uploads = [Upload(**each["record"]) for each in content["uploads"]]
    for upload, row in zip(uploads, content["uploads"], strict=True):
        if not (incoming.parent / upload.id).exists():
            _fill(incoming, upload, row["files"])
    for upload in uploads:  # all at once, so that none is there where others fail
        if not (incoming.parent / upload.id).exists():
            _move(incoming / upload.id, incoming.parent / upload.id)
    return uploads


def _fill(incoming: Path, upload: Upload, files: Iterable[str]) -> None:
    own = incoming / upload.id
    for name in files:
        if (incoming / name).exists():  # not moved yet
            (own / name).parent.mkdir(parents=True, exist_ok=True)
            (incoming / name).rename(own / name)
    write_upload(own, upload)


def _move(own: Path, place: Path) -> None:
    own.rename(place)
