"""Bring an index up to date: read what is new or changed, encode what no other file showed before, forget what left."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from vesalius.archive.encoding import KEY_BYTES, PendingSlices, SliceEncoder, hash_slice, read_labels_of_header
from vesalius.archive.facts import IndexFacts
from vesalius.archive.index import (
    DATABASE,
    HEADER_FIELDS,
    LABELS,
    VECTORS,
    ArchiveIndex,
    FileState,
    IndexedSeries,
    SlicePlace,
)
from vesalius.errors import DataError, ImageError, OutputError, reason_of
from vesalius.imaging import MedicalImage
from vesalius.imaging.formats import reading, visible_files
from vesalius.imaging.safeguards import FILES_LEFT_OUT
from vesalius.imaging.search import FoundSeries, group_files
from vesalius.journal import alone
from vesalius.naming.labeller import render_for_model

LOCK = ".index.lock"
AT_MOST_LOST = 128
"""New slices, or series, after which what is done is on disk; a killed run loses no more, or one series."""
HEADERS_AT_ONCE = 1000
"""Headers after which what they tell is on disk; a killed run reads no more of them again."""

OnProgress = Callable[[str, int, int], None]
"""Called with what is read, "headers" or "series", how many of them are done, and of how many."""


@dataclass
class IndexReport:
    """What a run found and did."""

    slices: int = 0
    """Different slices in the index afterwards."""
    places: int = 0
    """Where they lie: a slice that lies in two files has two."""
    series: int = 0
    files: int = 0
    """Files of images in the index."""
    read: int = 0
    """Series read by this run."""
    encoded: int = 0
    """Slices that were new."""
    dropped: int = 0
    """Slices that lie nowhere any more."""
    not_images: int = 0
    """Files of other kinds."""
    failures: list[dict[str, str]] = field(default_factory=list)
    """Series, files and folders that cannot be read, with the reason; the next run tries them again."""


def update_index(
    root: Path,
    folder: Path,
    encoder: SliceEncoder,
    *,
    study_date: bool = False,
    moved: bool = False,
    on_progress: OnProgress = lambda what, done, total: None,
) -> IndexReport:
    """Index an archive, or what changed in it since the last time; a killed run goes on where it was.

    Pictures are taken one by one, of DICOM series and volumes every stack and slice. A file counts as unchanged if its
    size and time are.

    Args:
        root: Folder of the archive.
        folder: Folder of the index; made if it is not there.
        encoder: The model; the same as before.
        study_date: Whether to keep study dates; as before.
        moved: Whether the archive may have been elsewhere before.
        on_progress: See `OnProgress`.

    Raises:
        ConfigError: If the index was made of another folder, or with another choice of ``study_date``.
        DataError: If there is no such folder, it shows no file though the index has some, or the index is damaged.
        ModelError: If the index was made with another model, or this one cannot name.
        OutputError: If the index cannot be written, or another process is writing it.
    """
    if not root.is_dir():
        raise DataError(f"{root}: {'is a file' if root.exists() else 'no such folder'}; name the folder of an archive.")
    wanted = IndexFacts(str(root.resolve()), encoder.model, encoder.weights, encoder.width, encoder.labels, study_date)
    if not (folder / DATABASE).exists():
        _check_empty(folder)
    with alone(folder, "archive index", LOCK):
        there = (folder / DATABASE).exists()
        with ArchiveIndex.open(folder, write=True) if there else ArchiveIndex.create(folder, wanted) as index:
            index.facts.check_same(wanted, folder, moved=moved)
            report = _Run(index, root.resolve(), encoder, on_progress).update()
            if index.facts.root != wanted.root:
                with index.changing():
                    index.move(wanted.root)
            return report


def _check_empty(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file; name a folder for the index.")
    others = [path for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []
    if taken := [path for path in others if path.name not in (VECTORS, LABELS)]:
        raise OutputError(f"{taken[0]}: is there already, and is no index; name a new or empty folder for it.")


@dataclass(frozen=True)
class _Seen:
    """A slice that was rendered."""

    stack: int
    slice: int
    key: bytes
    file: Path


class _Run:
    """One run over an archive."""

    def __init__(self, index: ArchiveIndex, root: Path, encoder: SliceEncoder, on_progress: OnProgress) -> None:
        self._index, self._root, self._encoder, self._on_progress = index, root, encoder, on_progress
        self._report = IndexReport()
        # Rows that this run frees stay as they are until it ends, for searches that go on meanwhile.
        self._free = index.holes().tolist()
        self._states: dict[str, FileState] = {}
        self._held: set[int] = set()
        """Series with files in folders that cannot be listed now; they stay as they are."""
        self._pending = PendingSlices(encoder)
        self._finished: list[tuple[IndexedSeries, list[_Seen]]] = []

    def update(self) -> IndexReport:
        """Read, encode, write, forget."""
        found = self._find()
        for done, series in enumerate(found):
            self._on_progress("series", done, len(found))
            self._read(series)
            if max(len(self._pending), len(self._finished)) >= AT_MOST_LOST:
                self._commit()
        self._commit()
        self._on_progress("series", len(found), len(found))
        with self._index.changing():
            self._report.dropped = self._index.finish()
        for name, count in self._index.counts().items():
            setattr(self._report, name, count)
        return self._report

    def _find(self) -> list[FoundSeries]:
        """Compare the archive with the index, forget what left or changed, and list what is to be read."""
        unlisted: dict[Path, str] = {}
        self._states = {state.path: state for state in self._look(unlisted)}
        known = self._index.files()
        if known and not self._states and not unlisted:
            raise DataError(
                f"{self._root}: shows no file, and its index has {len(known):,}; see whether it is mounted. If it is "
                f"empty now, delete {self._index.folder}."
            )
        hidden = self._hide(known, unlisted)
        self._held = {number for path in hidden if (number := known[path][1]) is not None}
        unchanged = hidden | {path for path, (state, _) in known.items() if self._states.get(path) == state}
        touched = {number for path, (_, number) in known.items() if number is not None and path not in unchanged}
        touched -= self._held
        kept = {
            path
            for path, (_, number) in known.items()
            if number in self._held or (path in unchanged and number not in touched)
        }
        todo = [self._root / path for path in self._states if path not in kept]
        with self._index.changing():
            self._index.remove(touched, known.keys() - kept)
        return self._join(self._sort(todo))

    def _hide(self, known: Iterable[str], unlisted: Mapping[Path, str]) -> set[str]:
        """Files that the index knows and nobody can see now, as their folders cannot be listed, which is told."""
        for folder, reason in unlisted.items():
            self._fail(folder, f"{reason} What the index has of it is kept.")
        if not unlisted:
            return set()
        return {path for path in known if not unlisted.keys().isdisjoint((self._root / path).parents)}

    def _look(self, unlisted: dict[Path, str]) -> Iterator[FileState]:
        inside = self._index.folder.resolve()
        for path in visible_files(self._root, unlisted):
            with suppress(FileNotFoundError):  # it left meanwhile
                if not path.is_relative_to(inside):
                    status = path.stat()
                    yield FileState(self._name(path), status.st_size, status.st_mtime_ns)

    def _sort(self, todo: Sequence[Path]) -> list[FoundSeries]:
        """Series of files; a run that was killed meanwhile goes on with the headers that it had not read."""
        before = self._index.waiting()
        series: dict[str, list[Path]] = {}
        alone: list[Path] = []
        unread: list[Path] = []
        for path in todo:
            uid = before.get(self._state(path))
            (unread if uid is None else series.setdefault(uid, [])).append(path)
        for start in range(0, len(unread), HEADERS_AT_ONCE):
            self._on_progress("headers", start, len(unread))
            part = unread[start : start + HEADERS_AT_ONCE]
            found = group_files(part, each=True)
            uids = {path: _hash_uid(each.uid) for each in found if each.uid for path in each.files}
            others = [path for each in found if not each.uid for path in _files_of(each)]
            for path, uid in uids.items():
                series.setdefault(uid, []).append(path)
            alone += others
            images = {*uids, *others}
            with self._index.changing():
                self._index.add_waiting({self._state(path): uid for path, uid in uids.items()})
                self._index.add_files(self._state(path) for path in part if path not in images)
        joined = [FoundSeries(files[0].parent, tuple(files), uid=uid) for uid, files in series.items()]
        return [*joined, *group_files(alone, each=True)]  # what has no UID is found once more, whatever part it was in

    def _join(self, found: Sequence[FoundSeries]) -> list[FoundSeries]:
        """Add to each series the files that the index has of it, as when slices arrive late; it is read anew."""
        joined: list[FoundSeries] = []
        there: set[int] = set()
        for series in found:
            before = self._index.series_of_uid(series.uid) if series.uid else []
            if self._held.intersection(before):  # it is read once all its files can be seen
                continue
            files = {self._root / path for number in before for path in self._index.series_files(number)}
            there.update(before)
            joined += _split_copies(replace(series, files=tuple(sorted({*series.files, *files}))))
        with self._index.changing():
            self._index.remove(there)
        return sorted(joined, key=_files_of)

    def _read(self, found: FoundSeries) -> None:
        """Render one series; what fails is remembered and stops no other."""
        files = _files_of(found)
        try:
            stacks = found.read()
            seen = list(self._render(stacks, files[0]))
            header = self._header(stacks[0], found)
        except Exception as error:  # even a fault of ours in one image must not stop all others
            self._fail(files[0], reason_of(files[0], error))
        else:
            kept = self._without_damaged(files, stacks)
            self._finished.append((IndexedSeries(tuple(map(self._state, kept)), found.uid, header), seen))
            self._report.read += 1

    def _without_damaged(self, files: Sequence[Path], stacks: Sequence[MedicalImage]) -> Sequence[Path]:
        """The files of a series, without those that cannot be read: these are told, and new to the next run."""
        damaged = [each for each in stacks[0].notices if each.what == FILES_LEFT_OUT]
        for each in damaged:
            self._fail(files[0].parent, str(each))
        shown = {frame.path for image in stacks for frame in image.source_frames}
        return [file for file in files if file in shown] if damaged else files

    def _render(self, stacks: Sequence[MedicalImage], first: Path) -> Iterator[_Seen]:
        for number, image in enumerate(stacks, start=1):
            slices, known = image.slices(), read_labels_of_header(image)
            frames = image.frames_in_display_order
            files = [frame.path for frame in frames] or [first] * len(image.pixels)
            for place, file in enumerate(files):
                rgb = render_for_model(slices, place, self._encoder.side)
                key = hash_slice(rgb)
                if key not in self._pending and not self._index.rows_of_keys([key]):
                    self._pending.add(key, rgb, known)
                yield _Seen(number, place + 1, key, file)

    def _header(self, image: MedicalImage, found: FoundSeries) -> dict[str, str]:
        header = {name: image.header[name] for name in HEADER_FIELDS if name in image.header}
        header.setdefault("Modality", image.modality or "")
        if self._index.facts.study_date and found.files:
            header["StudyDate"] = _read_text(found.files[0], "StudyDate")
        return header

    def _fail(self, file: Path, reason: str) -> None:
        self._report.failures.append({"source": self._name(file), "reason": reason})

    def _commit(self) -> None:
        """Write all that is finished; either all of it is in the index afterwards, or nothing."""
        keys, vectors, labels = self._pending.finish()
        with self._index.changing():
            if keys:
                self._index.append(keys, vectors, labels, self._free)
            for series, seen in self._finished:
                rows = self._index.rows_of_keys(each.key for each in seen)
                places = [SlicePlace(each.stack, each.slice, rows[each.key], self._name(each.file)) for each in seen]
                self._index.add_series(series, places)
        self._report.encoded += len(keys)
        self._finished.clear()

    def _name(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()

    def _state(self, path: Path) -> FileState:
        return self._states[self._name(path)]


def _files_of(series: FoundSeries) -> tuple[Path, ...]:
    return series.files or (series.source,)


def _split_copies(series: FoundSeries) -> list[FoundSeries]:
    """A series whose files lie in several folders: one, unless folders hold copies of the same instances.

    Files without a UID belong to those of their own folder alone.
    """
    homes: dict[Path, list[Path]] = {}
    for file in series.files:
        homes.setdefault(file.parent, []).append(file)
    if len(homes) < 2:
        return [series]
    parts: list[tuple[set[str], list[Path]]] = []
    for files in homes.values():
        instances = {_read_text(file, "SOPInstanceUID") or str(file) for file in files} if series.uid else set()
        for known, others in parts:
            if series.uid and not known & instances:
                known.update(instances)
                others.extend(files)
                break
        else:
            parts.append((instances, files))
    return [replace(series, source=files[0].parent, files=tuple(files)) for _, files in parts]


def _read_text(path: Path, keyword: str) -> str:
    """An attribute of a DICOM file; "" if it has none, or cannot be read."""
    import pydicom  # loads slowly, and few ask for it

    try:
        with reading(path, "DICOM"):
            header = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=[keyword])
            return str(header.get(keyword) or "")
    except ImageError:
        return ""


def _hash_uid(uid: str) -> str:
    """A UID that can be recognised and not be read."""
    return hashlib.blake2b(uid.encode("utf-8", "backslashreplace"), digest_size=KEY_BYTES).hexdigest()
