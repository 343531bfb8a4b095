"""The contract of every runtime, NumPy in and NumPy out, features that are kept, and resampling of planes and pictures.

`vesalius.predict.Predictor` and `vesalius.naming.AnatomyLabeller` stand on this alone.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from vesalius.errors import ModelError
from vesalius.imaging.slices import SliceStack

Floats = NDArray[np.float32]
_Real = TypeVar("_Real", bound=np.floating)


def resize_plane(plane: Floats, size: tuple[int, int], rows: slice | None = None) -> Floats:
    """Resample real numbers bilinearly, with antialiasing where the plane shrinks.

    Args:
        plane: Values [h, w].
        size: Height and width of the result, H and W.
        rows: Rows of the result to compute; all by default.

    Returns:
        Values [H, W], or those rows of them.
    """
    height, width = plane.shape
    if (height, width) == size:
        return plane if rows is None else plane[rows]
    first, last = (0, size[0]) if rows is None else (rows.start, rows.stop)
    scale = height / size[0]
    image = Image.fromarray(np.ascontiguousarray(plane, np.float32))
    box = (0, first * scale, width, last * scale)
    return np.asarray(image.resize((size[1], last - first), Image.Resampling.BILINEAR, box=box))


def resize_rgb(rgb: Floats, side: int) -> Floats:
    """Resample a picture [H, W, 3] to [side, side, 3]."""
    if rgb.shape[:2] == (side, side):
        return rgb
    return np.stack([resize_plane(rgb[..., channel], (side, side)) for channel in range(3)], axis=-1)


def sigmoid(logits: NDArray[_Real]) -> NDArray[_Real]:
    """Log-odds to probabilities, whatever their size."""
    probabilities: NDArray[_Real] = 1 / (1 + np.exp(-np.clip(logits, -80, 80)))
    return probabilities


def check_finite(model: str, *answers: ArrayLike) -> None:
    """Refuse answers of a model that computes NaN, which would pass for masks of nothing and for names it is unsure of.

    Args:
        model: What the message calls it.
        answers: Numbers of any shape.

    Raises:
        ModelError: If one of them is infinite or not a number.
    """
    if not all(np.isfinite(each).all() for each in answers):
        why = "its weights are damaged, or their training diverged"
        raise ModelError(f"{model}: the model's answer is not a number; {why}. Use other weights.")


@dataclass(frozen=True, eq=False)
class EncodedImages:
    """A model's features of B images."""

    vectors: Floats
    """One vector an image in the space shared with text, [B, E]; E = 0 for models without such a space."""
    maps: object
    """Further features, which only the same runtime can decode."""


@dataclass(frozen=True, eq=False)
class EncodedPhrases:
    """A model's features of P phrases."""

    vectors: Floats
    """One vector a phrase, [P, E]; E = 0 for models that do not read."""
    tokens: object = None
    """Further features, which only the same runtime can decode."""


@dataclass(frozen=True, eq=False)
class Outlines:
    """A model's outlines for P phrases in one image."""

    logits: Floats
    """Log-odds that a pixel is part of what the phrase names, [P, h, w], at the resolution the decoder works in."""
    existence: NDArray[np.float64] | None
    """Log-odds that the image shows it at all, [P]; None for models that do not judge existence."""


@runtime_checkable
class Runtime(Protocol):
    """A loaded model; several threads may use it at once."""

    name: str
    """Name of the program: "onnx" or "torch"."""
    device: str
    """Device it computes on: "cpu", "cuda:0", "mps"."""
    image_size: int
    """Side of the square that the model takes, pixels."""
    reads_text: bool
    """False for models whose outline cannot depend on the phrase."""
    judges_existence: bool
    """Whether `Outlines.existence` is given."""
    logit_scale: float
    """Factor from the cosine of an image's and a phrase's vector to log-odds."""

    def encode_image(self, rgb: Floats) -> EncodedImages:
        """Encode B images of one size.

        Args:
            rgb: [B, H, W, 3] in [0, 1], any H and W; resampled to the model's size.
        """
        ...

    def embed_image(self, rgb: Floats) -> Floats:
        """The vectors of ``encode_image`` alone, [B, E], which may cost less."""
        ...

    def encode_text(self, phrases: Sequence[str]) -> EncodedPhrases:
        """Encode P phrases, reusing what was encoded before; the empty phrase is one like any other."""
        ...

    def decode(self, image: EncodedImages, text: EncodedPhrases) -> Outlines:
        """Find P phrases in the one image."""
        ...


class FeatureCache:
    """Features of slices, kept so that further phrases about them encode nothing.

    What was used least recently goes first, image by image. Of an image that is larger than all room the first slices
    are kept, and the rest is encoded each time.

    Args:
        limit: Bytes that are kept at most.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.nbytes = 0
        """Bytes that are kept."""
        self._kept: OrderedDict[SliceStack, dict[int, EncodedImages]] = OrderedDict()

    def find(self, slices: SliceStack, index: int, encode: Callable[[], EncodedImages]) -> EncodedImages:
        """The features of one slice, encoded if they are not kept.

        Args:
            slices: Stack of the slice; another stack of the same image is another image.
            index: Place of the slice.
            encode: Encodes it.
        """
        kept = self._kept.setdefault(slices, {})
        self._kept.move_to_end(slices)
        if index in kept:
            return kept[index]
        found = encode()
        size = _bytes_of(found)
        while self.nbytes + size > self.limit and len(self._kept) > 1:
            self.forget(next(iter(self._kept)))
        if self.nbytes + size <= self.limit:
            kept[index] = found
            self.nbytes += size
        return found

    def forget(self, slices: SliceStack) -> None:
        """Drop the features of all slices of a stack."""
        self.nbytes -= sum(map(_bytes_of, self._kept.pop(slices, {}).values()))


def _bytes_of(features: object) -> int:
    """Bytes of all arrays and tensors within."""
    if is_dataclass(features):
        return sum(_bytes_of(getattr(features, each.name)) for each in fields(features))
    if isinstance(features, Mapping):
        return sum(map(_bytes_of, features.values()))
    if isinstance(features, list | tuple):
        return sum(map(_bytes_of, features))
    return int(getattr(features, "nbytes", 0))
