"""Trained models at work: ``Predictor`` outlines what phrases name, in pictures, slices and whole volumes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vesalius.errors import ImageError, PromptError
from vesalius.imaging import MedicalImage, SliceStack, read_image
from vesalius.models import MaskPrediction, Segmenter
from vesalius.models.asking import ask
from vesalius.models.checkpoints import load_segmenter
from vesalius.models.features import ImageFeatures
from vesalius.models.text_cache import TextCache

DEFAULT_MODEL = "pocket"
THRESHOLD = 0.5


@dataclass(frozen=True, eq=False)
class Segmentation:
    """What one phrase names in one picture or slice."""

    prompt: str
    probability: NDArray[np.float32]
    """Of each pixel to be part of it, [H, W], at the picture's own size."""
    existence: float | None
    """Probability that the picture shows it at all; None for models that do not say."""

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Pixels more likely inside than outside, [H, W]."""
        return self.probability > THRESHOLD


@dataclass(frozen=True, eq=False)
class VolumeSegmentation:
    """What one phrase names in a stack of slices."""

    prompt: str
    mask: NDArray[np.bool_]
    """[D, H, W], in the order of the slices."""
    existence: tuple[float | None, ...]
    """Per slice, see ``Segmentation.existence``."""


class Predictor:
    """One model, ready to be asked: ``set_image`` encodes a picture once, ``predict`` answers any number of phrases.

    Args:
        model: A name ("pocket"), a checkpoint or run folder, or a model in memory.

    Raises:
        ModelError: If there is no such model or no weights of it.
    """

    def __init__(self, model: str | Path | Segmenter = DEFAULT_MODEL) -> None:
        self.model = (model if isinstance(model, Segmenter) else load_segmenter(model)).eval()
        self._features: ImageFeatures | None = None
        self._size = (0, 0)
        self._texts = TextCache(self.model)

    def set_image(self, image: str | Path | MedicalImage | NDArray[np.generic]) -> "Predictor":
        """Encode the picture that the next phrases are about.

        Args:
            image: A file, an image of one slice, or RGB [H, W, 3] as bytes or as real numbers in [0, 1].

        Raises:
            ImageError: If it cannot be read, or is a volume (use ``predict_slices``).
        """
        rgb = _to_rgb(image)
        self._size = (rgb.shape[0], rgb.shape[1])
        with torch.inference_mode():
            self._features = self.model.encode_image(rgb_to_tensor(rgb))
        return self

    def predict(self, prompts: str | Sequence[str]) -> list[Segmentation]:
        """Answer one phrase or several about the picture set before.

        Args:
            prompts: Phrases; an empty one asks for whatever the model finds most likely.

        Raises:
            ImageError: If no picture was set.
        """
        if self._features is None:
            raise ImageError("No image is set; call set_image first.")
        asked = [prompts] if isinstance(prompts, str) else list(prompts)
        predictions = ask(self.model, self._features, asked, self._texts, self._size)
        return [_to_segmentation(prompt, found) for prompt, found in zip(asked, predictions, strict=True)]

    def predict_slices(self, slices: SliceStack, prompts: Sequence[str]) -> Iterator[list[Segmentation]]:
        """Answer the same phrases for slice after slice, as each is finished."""
        for each in slices:
            yield self.set_image(each.rgb).predict(prompts)


def segment(
    model: str | Path | Segmenter, image: str | Path | MedicalImage | NDArray[np.generic], prompt: str
) -> Segmentation:
    """Outline what a phrase names in a picture or single slice.

    Args:
        model: A name ("pocket"), a checkpoint or run folder, or a model in memory.
        image: A file, an image of one slice, or RGB [H, W, 3] as bytes or as real numbers in [0, 1].
        prompt: The phrase.

    Raises:
        PromptError: If the phrase is empty.
        ImageError, ModelError: If one of them cannot be read.
    """
    check_prompts([prompt])
    return Predictor(model).set_image(image).predict(prompt)[0]


def check_prompts(prompts: Sequence[str]) -> None:
    """Refuse a question that asks nothing.

    Raises:
        PromptError: If there is no prompt, or an empty one.
    """
    if not prompts or any(not prompt.strip() for prompt in prompts):
        raise PromptError('A prompt is needed: say what to outline, for example "polyp" or "lungs".')


def _to_segmentation(prompt: str, found: MaskPrediction) -> Segmentation:
    existence = None if found.existence is None else found.existence.sigmoid().item()
    return Segmentation(prompt, torch.sigmoid(found.logits[0, 0]).numpy(), existence)


def _to_rgb(image: str | Path | MedicalImage | NDArray[np.generic]) -> NDArray[np.generic]:
    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise ImageError(f"Expected RGB [H, W, 3], got an array of shape {list(image.shape)}.")
        return image
    picture = image if isinstance(image, MedicalImage) else read_image(image)
    slices = picture.slices()
    if len(slices) != 1:
        raise ImageError(f"{picture.source}: has {len(slices)} slices; use predict_slices(image.slices(), prompts).")
    return slices[0].rgb


def rgb_to_tensor(rgb: NDArray[np.generic]) -> Tensor:
    """[H, W, 3] -> [1, 3, H, W] in [0, 1]."""
    values = rgb.astype(np.float32) / 255 if rgb.dtype == np.uint8 else rgb.astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))[None]
