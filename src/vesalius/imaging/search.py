"""The series that a file or folder holds, found without reading their pixels."""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from vesalius.errors import LISTED, ImageError, OutputError, join_first
from vesalius.imaging import MedicalImage
from vesalius.imaging.formats import (
    RASTER_SUFFIXES,
    VOLUME_SUFFIXES,
    file_stem,
    has_dicom_mark,
    has_raster_mark,
    is_volume_file,
    missing,
    read_start,
    visible_files,
)
from vesalius.imaging.header import sidecar_path
from vesalius.imaging.picture_stacks import find_picture_stacks, read_picture_stack
from vesalius.imaging.read import NO_CHOICES, Choices, load_image
from vesalius.imaging.safeguards import Notice
from vesalius.records import KINDS, result_files

PASSED_OVER = Notice("files passed over", "they are not taken for images", "Name one alone to try it")


@dataclass(frozen=True)
class FoundSeries:
    """A series that has not been read yet."""

    source: Path
    """The file, or the folder in which its files lie."""
    files: tuple[Path, ...] = ()
    """DICOM files of one series, or those that `choices` choose among, or numbered pictures; empty for one file."""
    pictures: bool = False
    """Whether the files are numbered pictures."""
    uid: str = ""
    """SeriesInstanceUID of DICOM files; "" if they have none, or are damaged."""
    choices: Choices = NO_CHOICES
    """What was chosen of the source."""

    @property
    def first(self) -> str:
        """Absolute path of the first of several files, which stays that of a series when others join its folder.

        "" for one file, and for what was chosen.
        """
        return os.path.abspath(self.files[0]) if self.files and not self.choices else ""

    def read(self) -> list[MedicalImage]:
        """Every stack of parallel slices, the one with most slices first.

        Raises:
            ImageError: If it cannot be read.
        """
        if self.choices:
            return [load_image(self.source, self.choices)]
        if self.pictures:
            return [read_picture_stack(self.files, self.source)]
        if self.files:
            from vesalius.imaging.dicom import read_files  # pydicom loads slowly

            return [stack.image for stack in read_files(self.files, self.source)]
        if not self.source.is_file() or not has_dicom_mark(read_start(self.source)):
            image = load_image(self.source)
            if "SOPClassUID" not in image.header:
                return [image]
        from vesalius.imaging.dicom import read_stacks

        return read_stacks(self.source)

    def read_largest(self) -> MedicalImage:
        """The stack with most slices, with a notice of the slices of others, which are left out.

        Raises:
            ImageError: If it cannot be read.
        """
        if self.choices or not self.files:
            return load_image(self.source, self.choices)
        if self.pictures:
            return read_picture_stack(self.files, self.source)
        from vesalius.imaging.dicom import choose_stack, read_files  # pydicom loads slowly

        return choose_stack(read_files(self.files, self.source, only=0), self.source)


@dataclass(frozen=True)
class SourceImage:
    """One of many pictures, volumes or series that a run goes through."""

    found: FoundSeries
    path: str
    """Absolute path, which identifies the image."""
    stem: str
    """Beginning of the names of its results."""

    def state(self) -> dict[str, int]:
        """Number, bytes and newest time (ns) of its files and BIDS headers, which differ once the image was changed."""
        source = self.found.source
        files = self.found.files or (visible_files(source) if source.is_dir() else [source])
        headers = [sidecar_path(each) for each in files if is_volume_file(each)]
        facts = [each.stat() for each in dict.fromkeys([*files, *headers]) if os.path.exists(each)]
        newest = max((each.st_mtime_ns for each in facts), default=0)
        return {"files": len(facts), "bytes": sum(each.st_size for each in facts), "changed": newest}


_FORMS: tuple[Callable[[Path], str], ...] = (
    lambda path: file_stem(path.name),
    lambda path: f"{path.parent.name}-{file_stem(path.name)}",
    lambda path: path.name,
    lambda path: f"{path.parent.name}-{path.name}",
)
"""What tells paths apart, the shortest first."""


def distinct_stems(paths: Sequence[Path]) -> list[str]:
    """One name for each path, for the files made from it; no two names differ in case alone.

    >>> distinct_stems([Path("a/1.dcm"), Path("b/1.dcm"), Path("b/2.dcm")])
    ['a-1', 'b-1', '2']

    Args:
        paths: Files or folders, in the order of the names. Where several have the same stem, the folder takes part,
            then the suffix, then both, and where nothing tells them apart, a number.
    """
    names: dict[int, str] = {}
    taken: set[str] = set()
    for form in _FORMS:
        made = {place: form(path) for place, path in enumerate(paths) if place not in names}
        counts = Counter(name.casefold() for name in made.values())
        alone = {place: name for place, name in made.items() if counts[name.casefold()] == 1}
        names |= {place: name for place, name in alone.items() if name.casefold() not in taken}
        taken = {name.casefold() for name in names.values()}
    for place in range(len(paths)):
        if place not in names:
            numbered = (f"{file_stem(paths[place].name)}-{number}" for number in count(1))
            names[place] = next(name for name in numbered if name.casefold() not in taken)
            taken.add(names[place].casefold())
    return [names[place] for place in range(len(paths))]


def list_sources(
    found: Sequence[FoundSeries], stems: Mapping[str, str] | None = None, known: Mapping[str, str] | None = None
) -> list[SourceImage]:
    """Give each series the path that identifies it and a stem of its own; what is there twice is listed once.

    Args:
        found: Series, as `find_series` lists them.
        stems: Path -> stem of earlier results, which is kept.
        known: First file of a series -> path of its earlier results, which is kept.
    """
    shared = Counter(each.source for each in found)
    places: dict[str, FoundSeries] = {}
    for each in found:
        several = shared[each.source] > 1 and not each.choices
        home = each.files[0] if several and each.files else each.source
        places.setdefault((known or {}).get(each.first) or os.path.abspath(home), each)
    made = zip(places.items(), distinct_stems([Path(place) for place in places]), strict=True)
    return [SourceImage(each, place, (stems or {}).get(place, stem)) for (place, each), stem in made]


def find_series(
    path: Path, choices: Choices = NO_CHOICES, *, each: bool = False, notices: list[Notice] | None = None
) -> list[FoundSeries]:
    """List the series of a file or of a folder with its subfolders.

    Every DICOM series, every volume and every picture is one, and so are numbered pictures of one size and prefix.
    Hidden files and folders, and results of Vesalius, are skipped. A chosen series, stack, volume or frame is listed
    alone.

    Args:
        path: File or folder.
        choices: See `read_image`.
        each: Whether numbered pictures are listed one by one.
        notices: Takes what is said of files of a folder that are passed over.

    Raises:
        ImageError: If nothing is there, or nothing that is an image.
    """
    if not os.path.exists(path):  # nor is there a name that is too long
        raise missing(path)
    if choices:
        return [FoundSeries(path, _list_chosen(path, choices.series), choices=choices)]
    if not path.is_dir():
        return [FoundSeries(path)]
    links: list[Path] = []
    files = visible_files(path, broken_links=links)
    images = _without_results(files)
    found = group_files(images, each=each)
    others = _count_others(images, links, found)
    told = join_first((f"{count} {kind}" for kind, count in others.most_common()), LISTED)
    if not found:
        but = "" if len(images) == len(files) else " but results of Vesalius"
        passed = f" (passed over: {told})" if told else ""
        raise ImageError(
            f"{path}: holds no image{but}{passed}; name a file, or a folder with DICOM, NIfTI or pictures."
        )
    if notices is not None and others:
        why = f"{PASSED_OVER.why} ({told})"
        notices.append(replace(PASSED_OVER, why=why, count=others.total(), total=len(images) + len(links)))
    return found


def _count_others(files: Sequence[Path], links: Sequence[Path], found: Sequence[FoundSeries]) -> Counter[str]:
    """Ending of files that are no images -> their number, with links to nothing as a kind of their own."""
    used = {file for one in found for file in (one.source, *one.files)}
    used |= {sidecar_path(file) for file in used if is_volume_file(file)}
    left = [file for file in files if file not in used and file.name != "DICOMDIR"]
    counts = Counter(file.suffix.lower() or "without an ending" for file in left)
    return counts + Counter({"broken link": len(links)})


def results_in(folder: Path) -> frozenset[Path]:
    """Absolute paths of what the records in a folder name as results; files of their names by others name none."""
    found: set[Path] = set()
    for kind in KINDS:
        with suppress(OutputError):
            found |= result_files(Path(os.path.abspath(folder)), kind)
    return frozenset(found)


def _without_results(files: Sequence[Path]) -> Sequence[Path]:
    homes = {file.parent for file in files if file.name in {kind.name for kind in KINDS}}
    results = frozenset[Path]().union(*map(results_in, homes))
    return [each for each in files if Path(os.path.abspath(each)) not in results] if results else files


def _list_chosen(path: Path, series: str | int | None) -> tuple[Path, ...]:
    """DICOM files of a folder that a choice is made among; none where reading it will tell what is wrong."""
    if not path.is_dir():
        return ()
    from vesalius.imaging.dicom import list_files  # pydicom loads slowly

    try:
        return tuple(list_files(path, series))
    except ImageError:
        return ()


def group_files(files: Sequence[Path], *, each: bool = False) -> list[FoundSeries]:
    """The series that files make up, in the order of their paths; files that are no images are left out.

    Args:
        files: Files of any kind.
        each: Whether numbered pictures are listed one by one.
    """
    alone: list[Path] = []
    others: list[Path] = []
    for file in files:
        (alone if file.name.lower().endswith((*RASTER_SUFFIXES, *VOLUME_SUFFIXES)) else others).append(file)
    dicom = _find_dicom(others)
    taken = {path for one in dicom for path in (one.source, *one.files)}
    unnamed = [path for path in others if path not in taken and _is_unnamed_picture(path)]
    return sorted([*dicom, *_find_alone([*alone, *unnamed], each)], key=lambda one: one.source.parts)


def _is_unnamed_picture(path: Path) -> bool:
    """Whether a file is a picture by its content, whatever its name, as a GIF, a WebP or a PNG without a suffix."""
    from vesalius.imaging.raster import is_raster  # Pillow

    try:
        return has_raster_mark(read_start(path)) and is_raster(path)
    except ImageError:
        return False


def _find_alone(files: list[Path], each: bool) -> list[FoundSeries]:
    """Volumes, pictures and stacks of pictures; a stack is named after its folder if nothing else lies there."""
    stacks = [] if each else find_picture_stacks(files)
    stacked = {path for stack in stacks for path in stack}
    homes = Counter(file.parent for file in files)
    names = [stack[0].parent if homes[stack[0].parent] == len(stack) else stack[0] for stack in stacks]
    found = [FoundSeries(name, tuple(stack), pictures=True) for name, stack in zip(names, stacks, strict=True)]
    return [*found, *(FoundSeries(file) for file in files if file not in stacked)]


def _find_dicom(files: list[Path]) -> list[FoundSeries]:
    if not files:
        return []
    from vesalius.imaging.dicom import sort_files  # pydicom loads slowly

    found = sort_files(files)
    groups = [(each.paths, each.uid) for each in found.series] + [([path], "") for path, _ in found.broken]
    homes = Counter(paths[0].parent for paths, _ in groups)
    # Where several series lie in one folder, each is named after its first file.
    names = [paths[0].parent if homes[paths[0].parent] == 1 else paths[0] for paths, _ in groups]
    return [FoundSeries(name, tuple(paths), uid=uid) for name, (paths, uid) in zip(names, groups, strict=True)]
