"""How much naming depends on how labels are worded: the same labels asked in each of a dozen wordings."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from vesalius.evaluation.anatomy.encoding import EncodedSlices, score_labels
from vesalius.evaluation.anatomy.label_scores import Array, Bools, LabelScores
from vesalius.evaluation.anatomy.naming_scores import top1_in_set
from vesalius.evaluation.anatomy.ranking import rank_labels
from vesalius.models.encoder import VisionLanguageEncoder
from vesalius.prompts.anatomy import Aspect


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
    text = files(__package__).joinpath("wordings.toml").read_text(encoding="utf-8")
    return tuple(tomllib.loads(text)["wordings"])


def measure_sensitivity(
    model: VisionLanguageEncoder, slices: EncodedSlices, aspect: Aspect, labels: Sequence[str], counted: Bools
) -> Sensitivity:
    """Ask for labels in one wording after the other.

    Args:
        model: The one that encoded the slices.
        slices: Encoded slices.
        aspect: What the labels are.
        labels: L organs or stations.
        counted: Labels that enter the mean AUROC, [L].
    """
    found: dict[str, dict[str, float | None]] = {}
    for wording in read_wordings():

        def ask(aspect: Aspect, label: str, wording: str = wording) -> Sequence[str]:
            return (wording.format(label=label),)

        case = score_labels(model, slices, aspect, labels, ask)
        found[wording] = {"top1": _mean(top1_in_set(case)), "auroc": _mean(_auroc(case)[counted])}
    spread = {name: _spread([each[name] for each in found.values()]) for name in ("top1", "auroc")}
    return Sensitivity(found, spread)


def _auroc(case: LabelScores) -> Array:
    """Of each label, [L]."""
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
