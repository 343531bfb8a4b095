"""How often, and by how much, a model prefers true captions to contradictions of them (Figure 3 of the paper)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from vesalius.evaluation.anatomy.caption_pairs import CaptionPairs
from vesalius.evaluation.anatomy.draws import draw_patients, find_ends_of
from vesalius.evaluation.anatomy.label_scores import Array, LabelScores
from vesalius.evaluation.anatomy.ranking import Ranking, share
from vesalius.evaluation.anatomy.settings import NamingSettings
from vesalius.evaluation.bootstrap import weighted_means
from vesalius.evaluation.statistics import Interval


@dataclass(frozen=True)
class ContradictionResult:
    """One kind of contradiction; every image counts once, with the mean over its pairs, but for the AUC."""

    images: int
    """That have pairs."""
    pairs: int
    win_rate: Interval
    """Share of pairs in which the true caption scores higher; equal scores count one half."""
    margin: Interval
    """Log-odds of the true caption above the false one."""
    preference: Interval
    """Softmax probability of the true caption among the two, as the paper shows."""
    auc: Interval
    """How often a true caption of any image scores above a false one of any image, each caption an entry."""
    by_count: Mapping[int, Interval]
    """Win rate of images by how many labels of the aspect show."""
    preferences: Sequence[float]
    """Each image's mean preference, for the figure."""

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON; all but the images' own values."""
        content = asdict(self)
        del content["preferences"]
        return content


def measure_contradictions(
    pairs: CaptionPairs, case: LabelScores, settings: NamingSettings
) -> ContradictionResult | None:
    """Summarise a grid of caption pairs.

    Args:
        pairs: Scores of true and false captions.
        case: Any scores of the same N images, for their patients, groups and numbers of labels.
        settings: How intervals are drawn.

    Returns:
        None if there are no pairs.
    """
    if not len(pairs.true_of):
        return None
    counts = case.present.sum(1)
    own = _per_image(pairs, counts)
    kinds = np.unique(counts[~np.isnan(own[:, 0])])
    columns = np.column_stack([own, *(np.where(counts == count, own[:, 0], np.nan) for count in kinds)])
    captions = _rank(pairs)
    drawn, areas = _draw(columns, captions, case, settings)
    win_rate, margin, preference, *by_count = (
        _around(column, drawn[:, place], case, settings) for place, column in enumerate(columns.T)
    )
    shown = ~np.isnan(own[:, 0])
    area = float(captions.areas(np.ones((1, len(counts)))).auroc[0])
    patients = len(np.unique(case.clusters[shown]))
    return ContradictionResult(
        images=int(shown.sum()),
        pairs=len(pairs.true_of),
        win_rate=win_rate,
        margin=margin,
        preference=preference,
        auc=Interval(area, *find_ends_of(areas, patients, settings.bootstrap), int(shown.sum())),
        by_count=dict(zip(kinds.tolist(), by_count, strict=True)),
        preferences=own[shown, 2].tolist(),
    )


def _per_image(pairs: CaptionPairs, counts: NDArray[np.intp]) -> Array:
    """Win rate, margin and preference of each image, [N, 3]; NaN where it has no pairs."""
    margins, held = pairs.margins, np.bincount(pairs.images, minlength=len(counts))
    wins = (np.sign(margins) + 1) / 2
    sums = [np.bincount(pairs.images, each, len(counts)) for each in (wins, margins, expit(margins))]
    return share(np.stack(sums, axis=1).astype(float), held[:, None].astype(float))


def _rank(pairs: CaptionPairs) -> Ranking:
    scores = np.concatenate([pairs.true_scores, pairs.false_scores])
    images = np.concatenate([pairs.true_images, pairs.images])
    return Ranking(scores, np.arange(len(scores)) < len(pairs.true_scores), images)


def _draw(columns: Array, captions: Ranking, case: LabelScores, settings: NamingSettings) -> tuple[Array, Array]:
    """Means of each column and the AUC, of each draw of patients."""
    draws = draw_patients(case, settings.bootstrap, stratified=settings.stratified)
    blocks = [(weighted_means(columns, weights), captions.areas(weights).auroc) for weights in draws]
    means, areas = zip(*blocks, strict=True)
    return np.concatenate(means), np.concatenate(areas)


def _around(column: Array, drawn: Array, case: LabelScores, settings: NamingSettings) -> Interval:
    known = ~np.isnan(column)
    patients = len(np.unique(case.clusters[known]))
    return Interval(float(column[known].mean()), *find_ends_of(drawn, patients, settings.bootstrap), int(known.sum()))
