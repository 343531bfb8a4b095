"""Slices to vectors and scores of labels, and how much these depend on the wording of labels."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import islice
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vesalius.data.slices.dataset import AnatomySample
from vesalius.evaluation.naming.label_scores import LabelScores, truth_of
from vesalius.evaluation.naming.measures import rank_labels, top1_in_set
from vesalius.evaluation.statistics import Array, Bools
from vesalius.files import read_package_toml
from vesalius.models.choices import Precision
from vesalius.models.clip import label_logits, logit_scale, phrase_vectors
from vesalius.models.encoder import VisionLanguageEncoder
from vesalius.models.inference import encode
from vesalius.prompts.anatomy import AnatomyLabel, LabelKind, ensemble_phrases

BATCH = 32
"""Slices encoded together."""
UNKNOWN_GROUP = "unknown modality"


class Slices(Protocol):
    """Labelled slices by their number, such as ``AnatomySlices``."""

    def __len__(self) -> int:
        """Number of slices."""

    def __getitem__(self, index: int) -> AnatomySample:
        """One slice."""


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

    def score(self, logits: Tensor, kind: LabelKind, labels: Sequence[str]) -> LabelScores:
        """Scores of labels beside what is true.

        Args:
            logits: [N, L].
            kind: What the labels are.
            labels: L organs or stations.
        """
        truth = truth_of(self.shown, kind, labels)
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
    kind: LabelKind,
    labels: Sequence[str],
    ask: Callable[[LabelKind, str], Sequence[str]] = ensemble_phrases,
) -> LabelScores:
    """Score labels without a classifier, by phrases.

    Args:
        model: The one that encoded the slices.
        slices: Encoded slices.
        kind: What the labels are.
        labels: L organs or stations.
        ask: Phrases of a label, whose vectors are averaged.
    """
    vectors = phrase_vectors(model, {label: ask(kind, label) for label in labels}).float().cpu()
    return slices.score(label_logits(slices.vectors, vectors, logit_scale(model)), kind, labels)


@dataclass(frozen=True)
class Spread:
    """One measure over wordings."""

    mean: float
    sd: float
    """Standard deviation of single wordings."""
    lowest: float
    highest: float


@dataclass(frozen=True)
class Sensitivity:
    """Measures of each wording, and their spread; None where a measure is not defined."""

    wordings: Mapping[str, Mapping[str, float | None]]
    """Wording -> "top1" and "auroc", the mean over labels of AUROC."""
    spread: Mapping[str, Spread | None]

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return asdict(self)


@cache
def read_wordings() -> tuple[str, ...]:
    """All wordings, each with a place for the {label}."""
    return tuple(read_package_toml("evaluation/naming/wordings.toml")["wordings"])


def measure_sensitivity(
    model: VisionLanguageEncoder, slices: EncodedSlices, kind: LabelKind, labels: Sequence[str], counted: Bools
) -> Sensitivity:
    """Ask for labels in one wording after the other.

    Args:
        model: The one that encoded the slices.
        slices: Encoded slices.
        kind: What the labels are.
        labels: L organs or stations.
        counted: Labels that enter the mean AUROC, [L].
    """
    found: dict[str, dict[str, float | None]] = {}
    for wording in read_wordings():

        def ask(kind: LabelKind, label: str, wording: str = wording) -> Sequence[str]:
            return (wording.format(label=label),)

        case = score_labels(model, slices, kind, labels, ask)
        found[wording] = {"top1": _mean(top1_in_set(case)), "auroc": _mean(_auroc(case)[counted])}
    spread = {name: _spread([each[name] for each in found.values()]) for name in ("top1", "auroc")}
    return Sensitivity(found, spread)


def _auroc(case: LabelScores) -> Array:
    """AUROC of each label, [L]."""
    once = np.ones((1, len(case.patients)))
    return np.array([ranking.areas(once).auroc[0] for ranking in rank_labels(case)])


def _mean(values: Array) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None


def _spread(values: Sequence[float | None]) -> Spread | None:
    known = np.array([value for value in values if value is not None])
    if not known.size:
        return None
    return Spread(float(known.mean()), float(known.std(ddof=1)), float(known.min()), float(known.max()))
