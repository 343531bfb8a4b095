"""True captions of slices, captions that contradict them in one place, and a model's scores of both.

The grid is full: every image, every label of it said alone, and every label that is surely wrong in its place. "An
axial oriented CT image of liver organs belong to abdomen region" stands against head, chest, pelvis and so on; or a
wrong organ in the right station. All else that is known of the image is said in both captions.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vesalius.evaluation.anatomy.encoding import EncodedSlices
from vesalius.evaluation.anatomy.label_scores import Array
from vesalius.models.encoder import VisionLanguageEncoder
from vesalius.models.text_cache import TextCache
from vesalius.models.zero_shot import label_logits, logit_scale
from vesalius.prompts.anatomy import AnatomyLabel, Aspect, Statement
from vesalius.prompts.anatomy_contradictions import contradictions
from vesalius.prompts.anatomy_wording import write_captions


@dataclass(frozen=True, eq=False)
class CaptionPairs:
    """T true captions and P pairs of one with a false one."""

    true_scores: Array
    """Log-odds, [T]."""
    true_images: NDArray[np.intp]
    """Which image each is of, [T]."""
    false_scores: Array
    """Log-odds, [P]."""
    true_of: NDArray[np.intp]
    """Which true caption each contradicts, [P]."""

    @property
    def images(self) -> NDArray[np.intp]:
        """Which image each pair is of, [P]."""
        return self.true_images[self.true_of]

    @property
    def margins(self) -> Array:
        """How far the true caption scores above the false one, [P]."""
        return self.true_scores[self.true_of] - self.false_scores


def pair_captions(
    model: VisionLanguageEncoder,
    slices: EncodedSlices,
    aspect: Aspect,
    labels: tuple[str, ...],
    wordings: int = 1,
    on_step: Callable[[int], None] = lambda count: None,
) -> CaptionPairs:
    """Score the full grid.

    Args:
        model: The one that encoded the slices.
        slices: N encoded slices.
        aspect: What is wrong in the false captions.
        labels: Labels that captions name; true and false ones are taken from them.
        wordings: Wordings of each caption whose vectors are averaged, as far as there are so many.
        on_step: Called with 1 after each slice, for progress.

    Returns:
        Slices of which nothing is known, or to which nothing is surely wrong, have no pairs.
    """
    texts, scale = _Captions(model, wordings), logit_scale(model)
    true_scores: list[float] = []
    false_scores: list[float] = []
    true_images: list[int] = []
    true_of: list[int] = []
    for image, (vector, shown) in enumerate(zip(slices.vectors, slices.shown, strict=True)):
        for true, false in _grid(shown, aspect, labels):
            logits = label_logits(vector, texts.encode([true, *false]), scale).tolist()
            true_of += [len(true_scores)] * len(false)
            true_scores.append(logits[0])
            true_images.append(image)
            false_scores += logits[1:]
        on_step(1)
    return CaptionPairs(
        np.array(true_scores, np.float64),
        np.array(true_images, np.intp),
        np.array(false_scores, np.float64),
        np.array(true_of, np.intp),
    )


def _grid(shown: AnatomyLabel, aspect: Aspect, labels: tuple[str, ...]) -> Iterator[tuple[Statement, list[Statement]]]:
    """True statements that name one label each, with all that contradict them."""
    for label in labels:
        if label in getattr(shown, aspect):
            true = _with(shown.known, aspect, label)
            false = [each for each in contradictions(shown, aspect, true) if getattr(each, aspect) <= frozenset(labels)]
            if false:
                yield true, false


def _with(known: Statement, aspect: Aspect, label: str) -> Statement:
    named = frozenset({label})
    return replace(known, organs=named) if aspect == "organs" else replace(known, stations=named)


class _Captions:
    """Vectors of statements, each encoded once."""

    def __init__(self, model: VisionLanguageEncoder, wordings: int) -> None:
        self.cache, self.wordings = TextCache(model), wordings
        self._known: dict[Statement, Tensor] = {}

    def encode(self, statements: list[Statement]) -> Tensor:
        """Unit vectors [S, E]."""
        new = {each: write_captions(each)[: self.wordings] for each in statements if each not in self._known}
        for statement, vectors in zip(new, self._encode(list(new.values())), strict=True):
            self._known[statement] = F.normalize(vectors.mean(0), dim=0)
        return torch.stack([self._known[statement] for statement in statements])

    def _encode(self, several: list[tuple[str, ...]]) -> list[Tensor]:
        """Vectors of each tuple of texts."""
        if not several:
            return []
        vectors = self.cache.encode([text for texts in several for text in texts]).embedding.float().cpu()
        return list(vectors.split([len(texts) for texts in several]))
