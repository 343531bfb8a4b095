"""Fingerprints of the images a model was trained on, carried beside its weights: an evaluation recognises them.

A fingerprint is the signs of the low frequencies of ``data.check.similar``, 18 bytes an image. Of 1,240 pictures of
seven kinds, copies at JPEG quality 40, half the size, 224 × 224 or darker differed in 11 of 143 signs at most, pictures
that differ in 26 at least. Nothing of an image can be seen in it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from vesalius.data.check.facts import to_levels
from vesalius.data.check.similar import ORIENTATIONS, lay, signature
from vesalius.errors import DataError
from vesalius.files import writing
from vesalius.imaging import read_image

KEPT = 12
"""Frequencies along each axis whose signs are kept, but for the constant."""
BITS = KEPT * KEPT - 1
BYTES = -(-BITS // 8)
NEAR = 18
"""Signs in which two fingerprints of the same picture may differ."""
FORMAT = "fingerprints 1"
NOT_KNOWN = "not known: the model carries no fingerprints of its training images"

Bits = NDArray[np.uint8]
"""Fingerprints [N, BYTES], the first sign in the highest bit."""


def _none() -> Bits:
    return np.zeros((0, BYTES), np.uint8)


@dataclass(frozen=True, eq=False)
class Fingerprints:
    """What is known of the images that a model was trained on."""

    images: Bits = field(default_factory=_none)
    complete: bool = False
    """Whether these are all; False where it began with weights of which that is not known."""

    def join(self, others: Bits) -> "Fingerprints":
        """With more images, each once."""
        return Fingerprints(np.unique(np.concatenate([self.images, others]), axis=0), self.complete)


@dataclass(frozen=True)
class Seen:
    """How many images of a split a model was trained on."""

    names: tuple[str, ...]
    """Images that show what a training image shows."""
    of: int
    """Images of the split."""
    known: bool = True
    """Whether the model carries fingerprints at all."""
    complete: bool = True

    def __str__(self) -> str:
        """A sentence without its end, for tables and reports."""
        if not self.known:
            return NOT_KNOWN
        least = "" if self.complete else " at least, since what its first weights had seen is not known"
        return f"{len(self.names)} of {self.of} images{least}"

    def to_dict(self) -> dict[str, object]:
        """For JSON; None for what is not known."""
        return {
            "text": str(self),
            "images": len(self.names) if self.known else None,
            "of": self.of,
            "complete": self.known and self.complete,
            "names": list(self.names),
        }


def fingerprints_path(weights: Path) -> Path:
    """Where a checkpoint's fingerprints lie: beside it.

    >>> fingerprints_path(Path("runs/mine/model.safetensors")).as_posix()
    'runs/mine/model.seen.safetensors'
    """
    return weights.with_suffix(".seen.safetensors")


def fingerprint(levels: NDArray[np.uint8]) -> Bits | None:
    """The fingerprint of a picture in eight orientations, [8, BYTES]; None for a picture of a single value.

    Args:
        levels: [H, W] or [H, W, 3], 0–255.
    """
    found = signature(levels)
    if not found.any():
        return None
    laid = np.stack([lay(found, way)[:KEPT, :KEPT].reshape(-1)[1:] for way in range(len(ORIENTATIONS))])
    return np.packbits(laid > 0, axis=1)


def take_fingerprints(paths: Iterable[Path], on_image: Callable[[int], None] = lambda steps: None) -> Bits:
    """Fingerprints of image files as they lie; those of a single value are left out.

    Raises:
        ImageError: If one cannot be read.
    """
    taken = []
    for path in paths:
        found = fingerprint(to_levels(read_image(path)))
        if found is not None:
            taken.append(found[0])
        on_image(1)
    return np.stack(taken) if taken else _none()


def find_seen(
    root: Path, names: Sequence[str], known: Fingerprints | None, on_image: Callable[[int], None] = lambda steps: None
) -> Seen:
    """Find the images of a data set that show the same as a training image of a model, in any of eight orientations.

    Args:
        root: Folder of the data set.
        names: Of images in it; those that are repeated count once.
        known: Of the model; None if it carries none.
        on_image: Told 1 after each image, for progress.

    Raises:
        ImageError: If one cannot be read.
    """
    distinct = list(dict.fromkeys(names))
    if known is None:
        return Seen((), len(distinct), known=False, complete=False)
    trained = _to_signs(known.images)
    seen = []
    for name in distinct:
        asked = fingerprint(to_levels(read_image(root / "images" / name)))
        if asked is not None and _agree(_to_signs(asked), trained):
            seen.append(name)
        on_image(1)
    return Seen(tuple(seen), len(distinct), complete=known.complete)


def write_fingerprints(known: Fingerprints, path: Path) -> None:
    """Write one safetensors file: ``images`` [N, 18], uint8.

    Raises:
        OutputError: If it cannot be written.
    """
    notes = {"vesalius": FORMAT, "complete": "yes" if known.complete else "no"}
    with writing(path) as unfinished:
        # save_file would make it readable by its owner alone
        unfinished.write_bytes(save({"images": np.ascontiguousarray(known.images)}, notes))


def read_fingerprints(path: Path) -> Fingerprints | None:
    """Read what ``write_fingerprints`` wrote; None if there is no such file.

    Raises:
        DataError: If it is damaged or of another format.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            notes = file.metadata() or {}
            images: Bits = file.get_tensor("images")
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path}: not a file of fingerprints, or a damaged one ({error}); delete it.") from error
    if notes.get("vesalius") != FORMAT or images.dtype != np.uint8 or images.shape[1:] != (BYTES,):
        got = f"{notes.get('vesalius')}, {images.dtype} {list(images.shape)}"
        raise DataError(f"{path}: expected {FORMAT}, uint8 [N, {BYTES}], got {got}; delete it.")
    return Fingerprints(images, notes.get("complete") == "yes")


def _agree(asked: NDArray[np.float32], trained: NDArray[np.float32]) -> bool:
    return len(trained) > 0 and bool((asked @ trained.T).max() >= BITS - 2 * NEAR)


def _to_signs(images: Bits) -> NDArray[np.float32]:
    """1 and -1, [N, BITS]; of two fingerprints, the product is the signs that agree less those that do not."""
    signs: NDArray[np.float32] = np.unpackbits(images, axis=1, count=BITS).astype(np.float32) * 2 - 1
    return signs
