"""Slices to vectors, each encoded once, and vectors to scores of labels by comparison with phrases."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from vesalius.data.anatomy.dataset import AnatomySample
from vesalius.evaluation.anatomy.label_scores import LabelScores, truth_of
from vesalius.models.asking import encode
from vesalius.models.devices import Precision
from vesalius.models.encoder import VisionLanguageEncoder
from vesalius.models.zero_shot import label_logits, logit_scale, phrase_vectors
from vesalius.prompts.anatomy import AnatomyLabel, Aspect
from vesalius.prompts.anatomy_wording import ensemble_phrases

BATCH = 32
"""Slices encoded together."""
UNKNOWN_GROUP = "unknown modality"


class Slices(Protocol):
    """Labelled slices by their number, such as ``AnatomySlices``."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, index: int) -> AnatomySample:
        """One of them."""


@dataclass(frozen=True, eq=False)
class EncodedSlices:
    """N slices as one model sees them."""

    vectors: Tensor
    """Unit vectors [N, E]."""
    shown: tuple[AnatomyLabel, ...]
    patients: tuple[str, ...]

    @property
    def groups(self) -> tuple[str, ...]:
        """Modality of each slice."""
        return tuple(label.modality or UNKNOWN_GROUP for label in self.shown)

    def score(self, logits: Tensor, aspect: Aspect, labels: Sequence[str]) -> LabelScores:
        """Scores of labels beside what is true.

        Args:
            logits: [N, L].
            aspect: What the labels are.
            labels: L organs or stations.
        """
        truth = truth_of(self.shown, aspect, labels)
        return LabelScores(tuple(labels), logits.double().cpu().numpy(), truth, self.patients, self.groups)


def encode_slices(
    model: VisionLanguageEncoder,
    slices: Slices,
    on_step: Callable[[int], None] = lambda count: None,
    precision: Precision = "32",
) -> EncodedSlices:
    """Encode every slice once.

    Args:
        model: Its image and text embeddings share a space; it is used as it is, so in evaluation mode.
        slices: RGB in [0, 1], all of one size, such as ``AnatomySlices``.
        on_step: Called with the number of slices after each batch, for progress.
        precision: Of computation; vectors are 32-bit floats, on the CPU.
    """
    vectors = []
    shown: list[AnatomyLabel] = []
    patients: list[str] = []
    samples = (slices[index] for index in range(len(slices)))
    while batch := list(islice(samples, BATCH)):
        found = encode(model, torch.stack([sample.image for sample in batch]), precision).embedding
        with torch.inference_mode():
            vectors.append(F.normalize(found.float(), dim=-1).cpu())
        shown += [sample.label for sample in batch]
        patients += [sample.patient for sample in batch]
        on_step(len(batch))
    return EncodedSlices(torch.cat(vectors), tuple(shown), tuple(patients))


def score_labels(
    model: VisionLanguageEncoder,
    slices: EncodedSlices,
    aspect: Aspect,
    labels: Sequence[str],
    ask: Callable[[Aspect, str], Sequence[str]] = ensemble_phrases,
) -> LabelScores:
    """Score labels without a classifier, by phrases.

    Args:
        model: The one that encoded the slices.
        slices: Encoded slices.
        aspect: What the labels are.
        labels: L organs or stations.
        ask: Phrases of a label, whose vectors are averaged.
    """
    vectors = phrase_vectors(model, {label: ask(aspect, label) for label in labels}).float().cpu()
    return slices.score(label_logits(slices.vectors, vectors, logit_scale(model)), aspect, labels)
