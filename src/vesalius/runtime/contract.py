"""What every program that runs a model answers: NumPy in, NumPy out.

`vesalius.predict.Predictor` and `vesalius.naming.AnatomyLabeller` stand on this alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


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
