"""What every program that runs a model answers, NumPy in and NumPy out; and resampling of planes.

`vesalius.predict.Predictor` and `vesalius.naming.AnatomyLabeller` stand on this alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]
_Real = TypeVar("_Real", bound=np.floating)


def resize_plane(plane: Floats, size: tuple[int, int], rows: slice | None = None) -> Floats:
    """Resample real numbers.

    Args:
        plane: [h, w].
        size: H and W to have.
        rows: The only ones of H that are wanted, all by default.

    Returns:
        [H, W], or as many rows as are wanted.
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
    """[H, W, 3] -> [side, side, 3]."""
    if rgb.shape[:2] == (side, side):
        return rgb
    return np.stack([resize_plane(rgb[..., channel], (side, side)) for channel in range(3)], axis=-1)


def sigmoid(logits: NDArray[_Real]) -> NDArray[_Real]:
    """Log-odds to probabilities, whatever their size."""
    found: NDArray[_Real] = 1 / (1 + np.exp(-np.clip(logits, -80, 80)))
    return found


@dataclass(frozen=True, eq=False)
class EncodedImages:
    """What a model knows of B images."""

    vectors: Floats
    """One vector an image in the space shared with text, [B, E]; E = 0 for models without such a space."""
    maps: object
    """What the same runtime decodes."""


@dataclass(frozen=True, eq=False)
class EncodedPhrases:
    """What a model knows of P phrases."""

    vectors: Floats
    """One vector a phrase, [P, E]; E = 0 for models that do not read."""
    tokens: object = None
    """What else the same runtime decodes."""


@dataclass(frozen=True, eq=False)
class Outlines:
    """What a model finds for P phrases in one image."""

    logits: Floats
    """Log-odds that a pixel is part of what the phrase names, [P, h, w], at the resolution the decoder works in."""
    existence: NDArray[np.float64] | None
    """Log-odds that the image shows it at all, [P]; None for models that do not say."""


@runtime_checkable
class Runtime(Protocol):
    """A model, ready to be asked; from several threads at once, too."""

    name: str
    """Of the program: "onnx", "openvino" or "torch"."""
    device: str
    """Where it computes: "cpu", "cuda:0", "mps"."""
    image_size: int
    """Side of the square the model looks at, pixels."""
    reads_text: bool
    """False for models whose outline cannot depend on the phrase."""
    judges_existence: bool
    logit_scale: float
    """Factor from the cosine of an image's and a phrase's vector to log-odds."""

    def encode_image(self, rgb: Floats) -> EncodedImages:
        """Encode B images of one size.

        Args:
            rgb: [B, H, W, 3] in [0, 1], any H and W; made as large as the model looks at.
        """
        ...

    def embed_image(self, rgb: Floats) -> Floats:
        """The vectors of ``encode_image`` alone, [B, E], which may cost less."""
        ...

    def encode_text(self, phrases: Sequence[str]) -> EncodedPhrases:
        """Encode P phrases, or remember them; the empty one is a phrase like any other."""
        ...

    def decode(self, image: EncodedImages, text: EncodedPhrases) -> Outlines:
        """Find P phrases in the one image."""
        ...
