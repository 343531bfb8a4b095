"""Facts of each image and mask of a data set: size, content, values; every file is read once, by one or more processes.

Missing and extra files are found here, too.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from vesalius.data.check.findings import CheckFinding, Place, PlacedRecord
from vesalius.data.check.similar import Signature, signature
from vesalius.errors import DataError, ImageError, MissingPackageError
from vesalius.imaging import MedicalImage, read_image, read_mask
from vesalius.imaging.raster import part_values
from vesalius.imaging.slices import to_bytes
from vesalius.processes import open_pool


@dataclass(frozen=True, eq=False)
class ImageFacts:
    """An image that could be read."""

    size: tuple[int, int]
    """Height and width."""
    slices: int
    digest: str
    """Equal only where size and every stored value are."""
    blank: bool
    """Whether all values are the same."""
    signature: Signature


def examine_image(path: Path) -> ImageFacts:
    """Read an image; of several slices, the first counts.

    Raises:
        ImageError: If it cannot be read.
    """
    image = read_image(path)
    pixels = image.pixels[0]
    return ImageFacts(
        size=(pixels.shape[0], pixels.shape[1]),
        slices=len(image.pixels),
        digest=_digest(pixels),
        blank=bool(pixels.min() == pixels.max()),
        signature=signature(to_levels(image)),
    )


def to_levels(image: MedicalImage) -> NDArray[np.uint8]:
    """The first slice as it is shown, 0–255, [H, W] or [H, W, 3]."""
    pixels = image.pixels[0]
    if pixels.dtype == np.uint8 and image.modality is None:
        return pixels.astype(np.uint8)
    return to_bytes(image.slices()[0].rgb)


def _digest(pixels: NDArray[np.generic]) -> str:
    kind = f"{pixels.dtype.str}{pixels.shape}".encode()
    return hashlib.blake2b(kind + np.ascontiguousarray(pixels).tobytes(), digest_size=16).hexdigest()


COLOURED = 64
"""A mask whose channels differ by more anywhere is in colour; less is what JPEG does to grey."""
NEAR = 0.125
"""Values so close to black or white, as a share of the range, are what JPEG makes of black and white …"""
BLURRED = 0.05
"""… as long as no larger share of the pixels lies between, where scaling has blurred the outline."""
MIXED = 0.25
"""A file in colour in which more of the pixels lie between is a photograph; JPEG blurs colours further than grey."""
LABELS = 32
"""A grey file with so many levels or fewer holds labels, one with more is a picture."""
LISTED = 256


class ValueKind(StrEnum):
    """What the values of a mask are."""

    BINARY = "binary"
    """0 and one other value, or a single value: what is inside is certain."""
    ARTEFACTS = "artefacts"
    """Black and white with values around them, as JPEG and smooth scaling leave."""
    LABELS = "labels"
    """A few levels, one a class."""
    COLOUR = "colour"
    """Pure colours, such as red and green, one a class."""
    PICTURE = "picture"
    """Many levels or mixed colours: a photograph or a probability."""


@dataclass(frozen=True)
class MaskFacts:
    """A mask that could be read."""

    size: tuple[int, int]
    """Height and width."""
    share: float
    """Pixels inside, of all."""
    kind: ValueKind
    values: tuple[float, ...]
    """The distinct stored values, ascending, the first 256; of colour masks, those of the brightest channel."""
    between: float
    """Pixels whose value is not near black or white (in colour: in any channel), of all."""


def examine_mask(path: Path) -> MaskFacts:
    """Read a mask as training does, and look at the values it was made from.

    Raises:
        ImageError: If it cannot be read.
    """
    stored = read_image(path).pixels[0]
    mask = read_mask(path)
    kind, values, between = judge_values(stored)
    return MaskFacts(
        size=(mask.shape[0], mask.shape[1]),
        share=float(mask.mean()),
        kind=kind,
        values=tuple(values[:LISTED].tolist()),
        between=between,
    )


def judge_values(stored: NDArray[np.generic]) -> tuple[ValueKind, NDArray[np.generic], float]:
    """What the values of a mask are.

    Args:
        stored: [H, W] or [H, W, 3], as in the file.

    Returns:
        The kind; the distinct values, ascending, in colour those of the brightest channel; the share of pixels between
        black and white.
    """
    grey = stored.max(axis=2) if stored.ndim == 3 else stored
    values, between = np.unique(grey), _between(stored)
    if _is_coloured(stored):
        return (ValueKind.COLOUR if between <= MIXED else ValueKind.PICTURE), values, between
    return _judge_grey(values, _white(grey), between), values, between


def _white(values: NDArray[np.generic]) -> float:
    """The value that stands for inside."""
    if values.max() <= 1:
        return 1.0
    return 65535.0 if values.dtype == np.uint16 else 255.0


def _between(stored: NDArray[np.generic]) -> float:
    parts = stored.astype(np.float32) / _white(stored)
    middle = (parts > NEAR) & (parts < 1 - NEAR)
    return float((middle.any(axis=2) if middle.ndim == 3 else middle).mean())


def _is_coloured(stored: NDArray[np.generic]) -> bool:
    return stored.ndim == 3 and bool((stored.max(axis=2).astype(int) - stored.min(axis=2)).max() > COLOURED)


def _judge_grey(values: NDArray[np.generic], white: float, between: float) -> ValueKind:
    if part_values(values) is not None:
        return ValueKind.BINARY
    if between <= BLURRED and values.min() <= NEAR * white and values.max() >= (1 - NEAR) * white:
        return ValueKind.ARTEFACTS
    return ValueKind.LABELS if len(values) <= LABELS else ValueKind.PICTURE


Uses = Mapping[str, Sequence[PlacedRecord]]
"""Files by path within the data set, and the records that name each."""


def gather_uses(rows: Iterable[PlacedRecord]) -> tuple[Uses, Uses]:
    """Images, and masks, each with the records that name it."""
    images: dict[str, list[PlacedRecord]] = {}
    masks: dict[str, list[PlacedRecord]] = {}
    for row in rows:
        images.setdefault(row.image, []).append(row)
        masks.setdefault(row.mask, []).append(row)
    return images, masks


def check_folders(root: Path, images: Uses, masks: Uses, *, complete: bool = True) -> Iterator[CheckFinding]:
    """Missing and extra files; what lies in ``anns/`` beside the splits is left alone.

    Args:
        root: Folder of the data set.
        images: Images and the records that name them.
        masks: Masks and the records that name them.
        complete: Whether every record could be read; otherwise extra files are unknown.
    """
    for folder, uses in (("images", images), ("masks", masks)):
        present = _list_files(root, folder)
        extra = sorted(present - uses.keys())
        likely = {_stem(file): file for file in extra}
        for file in sorted(uses.keys() - present):
            hint = f" Is it {likely[_stem(file)]}?" if _stem(file) in likely else ""
            yield CheckFinding("missing_file", f"{file} is not there.{hint}", tuple(row.at(file) for row in uses[file]))
        for file in extra if complete else ():
            yield CheckFinding("extra_file", f"{file} is named by no record.", (Place(file),))


def _list_files(root: Path, folder: str) -> set[str]:
    return {path.relative_to(root).as_posix() for path in (root / folder).rglob("*") if path.is_file()}


def _stem(file: str) -> str:
    """What stays when the suffix, or the case of letters, is the mistake."""
    return str(PurePosixPath(file).with_suffix("")).lower()


WORTH = 200
"""Files from which starting other processes pays."""
CHUNK = 16
"""Files handed to a process at once."""


@dataclass(frozen=True)
class FileFacts:
    """All images and masks that are there, by path within the data set."""

    images: dict[str, ImageFacts] = field(default_factory=dict)
    masks: dict[str, MaskFacts] = field(default_factory=dict)
    findings: list[CheckFinding] = field(default_factory=list)
    """Files that cannot be read."""


def examine_files(root: Path, images: Uses, masks: Uses, *, jobs: int, bar: Progress) -> FileFacts:
    """Examine each file that records name; missing ones are left out.

    Args:
        root: Folder of the data set.
        images: Images and the records that name them.
        masks: Masks and the records that name them.
        jobs: Processes that read at the same time.
        bar: Where progress is shown.

    Raises:
        DataError: If a process was ended from outside.
    """
    facts = FileFacts()
    files = [file for file in (*images, *masks) if (root / file).is_file()]
    task = bar.add_task("Reading", total=len(files))
    for file, result in zip(files, _examine_all(root, files, jobs), strict=True):
        match result:
            case ImageFacts():
                facts.images[file] = result
            case MaskFacts():
                facts.masks[file] = result
            case str():
                kind, uses = ("unreadable_image", images) if file in images else ("unreadable_mask", masks)
                facts.findings.append(CheckFinding(kind, result, tuple(row.at(file) for row in uses[file])))
        bar.advance(task)
    return facts


def _examine_all(root: Path, files: Sequence[str], jobs: int) -> Iterator[ImageFacts | MaskFacts | str]:
    if jobs == 1 or len(files) < WORTH:
        yield from map(partial(_examine, root), files)
        return
    # A fresh process each: forking is unsafe beside the threads of a progress bar, and threads would wait for each
    # other, as Python itself takes half the time.
    try:
        with open_pool(jobs) as pool:
            yield from pool.map(partial(_examine, root), files, chunksize=CHUNK)
    except BrokenProcessPool as error:
        message = "A process that read files was ended from outside, probably for lack of memory; try --jobs 1."
        raise DataError(message) from error


def _examine(root: Path, file: str) -> ImageFacts | MaskFacts | str:
    examine = examine_image if file.startswith("images/") else examine_mask
    try:
        return examine(root / file)
    except (ImageError, MissingPackageError) as error:
        return str(error).replace(f"{root / file}", file)
