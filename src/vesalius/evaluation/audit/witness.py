"""One image, encoded once, and everything a model says of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vesalius.data.datasets import Sample
from vesalius.evaluation.audit.answers import Answer
from vesalius.evaluation.audit.exchanges import Exchange
from vesalius.evaluation.metrics import dice
from vesalius.models import Segmenter
from vesalius.models.asking import PROMPTS_AT_ONCE, ask
from vesalius.models.devices import Precision
from vesalius.models.features import ImageFeatures, MaskPrediction
from vesalius.models.text_cache import TextCache


@dataclass(frozen=True, eq=False)
class Heard:
    """What a model says to one prompt."""

    mask: torch.Tensor
    """Boolean, [1, H, W], at the size of the image's file."""
    existence: float | None


class Witness:
    """Answers prompts about one image and remembers the masks.

    Args:
        model: In evaluation mode.
        sample: Image and truth.
        features: Of the image, where the model is.
        texts: Remembers the prompts' features from image to image.
        precision: Of computation.
    """

    def __init__(
        self, model: Segmenter, sample: Sample, features: ImageFeatures, texts: TextCache, precision: Precision = "32"
    ) -> None:
        self.model, self.texts, self.precision = model, texts, precision
        self.truth = sample.mask > 0.5
        self._features = features
        self._heard: dict[str, Heard] = {}

    def probability(self, prompt: str) -> NDArray[np.float32]:
        """Of each pixel to be part of what the prompt names, [H, W]."""
        (answer,) = self._ask([prompt])
        found: NDArray[np.float32] = answer.logits[0, 0].sigmoid().numpy()
        return found

    def listen(self, prompts: Iterable[str]) -> None:
        """Answer what was not asked before; a model that reads no text is asked once."""
        new = list(dict.fromkeys(self._heard_as(prompt) for prompt in prompts) - self._heard.keys())
        # Few at a time: logits of one large image and many prompts would fill the memory, masks do not.
        for start in range(0, len(new), PROMPTS_AT_ONCE):
            some = sorted(new)[start : start + PROMPTS_AT_ONCE]
            for prompt, found in zip(some, self._ask(some), strict=True):
                existence = None if found.existence is None else found.existence.sigmoid().item()
                self._heard[prompt] = Heard(found.logits[:, 0] > 0, existence)

    def answer(self, prompt: str) -> Heard:
        """What the model says to a prompt."""
        self.listen([prompt])
        return self._heard[self._heard_as(prompt)]

    def testify(self, image: str, record: int, exchanges: Sequence[Exchange]) -> list[Answer]:
        """Carry out exchanges about this image.

        Args:
            image: Its file name.
            record: Its place in the annotation file.
            exchanges: What to ask.
        """
        self.listen(prompt for each in exchanges for prompt in (each.reference, each.prompt))
        return [self._compare(image, record, each) for each in exchanges]

    def _compare(self, image: str, record: int, exchange: Exchange) -> Answer:
        before, after = self.answer(exchange.reference), self.answer(exchange.prompt)
        return Answer(
            image=image,
            record=record,
            test=exchange.test,
            kind=exchange.kind,
            reference=exchange.reference,
            prompt=exchange.prompt,
            pixels=self.truth.numel(),
            true_pixels=int(self.truth.sum()),
            predicted_pixels=int(after.mask.sum()),
            reference_dice=dice(before.mask, self.truth).item(),
            dice=dice(after.mask, self.truth).item(),
            change=1 - dice(before.mask, after.mask).item(),
            existence=after.existence,
        )

    def _ask(self, prompts: Sequence[str]) -> list[MaskPrediction]:
        return ask(self.model, self._features, prompts, self.texts, self._size, self.precision)

    def _heard_as(self, prompt: str) -> str:
        return prompt if self.model.reads_text else ""

    @property
    def _size(self) -> tuple[int, int]:
        return self.truth.shape[-2], self.truth.shape[-1]
