"""How often a model prefers true captions to contradictions of them (Figure 3 of the paper).

The grid is full: every image, every label of it said alone, and every label that is surely wrong in its place. "An
axial oriented CT image of liver organs belong to abdomen region" stands against head, chest, pelvis and so on; or a
wrong organ in the right station. All else that is known of the image is said in both captions.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor

from vesalius.evaluation.naming.encoding import EncodedSlices
from vesalius.evaluation.naming.label_scores import LabelScores, NamingSettings, draw_patients
from vesalius.evaluation.ranking import Ranking
from vesalius.evaluation.statistics import Array, Interval, find_interval, over_draws, share, weighted_means
from vesalius.models.clip import label_logits, logit_scale
from vesalius.models.encoder import VisionLanguageEncoder
from vesalius.models.inference import TextCache
from vesalius.prompts.anatomy import AnatomyLabel, LabelKind, Statement, write_captions
from vesalius.prompts.anatomy_captions import contradictions

TITLES: dict[LabelKind, str] = {"stations": "right organ, wrong station", "organs": "wrong organ, right station"}
"""What is wrong in the false captions."""


@dataclass(frozen=True, eq=False)
class CaptionPairs:
    """T true captions and P pairs of one with a false one."""

    true_scores: Array
    """Log-odds, [T]."""
    true_images: NDArray[np.intp]
    """Image of each true caption, [T]."""
    false_scores: Array
    """Log-odds, [P]."""
    true_of: NDArray[np.intp]
    """True caption that each false one contradicts, [P]."""

    @property
    def images(self) -> NDArray[np.intp]:
        """Image of each pair, [P]."""
        return self.true_images[self.true_of]

    @property
    def margins(self) -> Array:
        """How far the true caption scores above the false one, [P]."""
        return self.true_scores[self.true_of] - self.false_scores


def pair_captions(
    model: VisionLanguageEncoder,
    slices: EncodedSlices,
    kind: LabelKind,
    labels: tuple[str, ...],
    wordings: int = 1,
    on_step: Callable[[int], None] = lambda count: None,
) -> CaptionPairs:
    """Score the full grid.

    Args:
        model: The one that encoded the slices.
        slices: N encoded slices.
        kind: What is wrong in the false captions.
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
        for true, false in _grid(shown, kind, labels):
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


def _grid(shown: AnatomyLabel, kind: LabelKind, labels: tuple[str, ...]) -> Iterator[tuple[Statement, list[Statement]]]:
    """True statements that name one label each, with all that contradict them."""
    for label in labels:
        if label in getattr(shown, kind):
            true = _with(shown.known, kind, label)
            false = [each for each in contradictions(shown, kind, true) if getattr(each, kind) <= frozenset(labels)]
            if false:
                yield true, false


def _with(known: Statement, kind: LabelKind, label: str) -> Statement:
    named = frozenset({label})
    return replace(known, organs=named) if kind == "organs" else replace(known, stations=named)


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


@dataclass(frozen=True)
class ContradictionResult:
    """One kind of contradiction; every image counts once, with the mean over its pairs, but for the AUC."""

    images: int
    """Images that have pairs."""
    pairs: int
    win_rate: Interval
    """Share of pairs in which the true caption scores higher; equal scores count one half."""
    margin: Interval
    """Log-odds of the true caption above the false one."""
    preference: Interval
    """Softmax probability of the true caption among the two, as the paper shows."""
    auc: Interval
    """Probability that a true caption of any image scores above a false one of any image, each caption an entry."""
    by_count: Mapping[int, Interval]
    """Win rate of images by how many labels of this kind show."""
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
        _find_interval(column, drawn[:, place], case, settings) for place, column in enumerate(columns.T)
    )
    shown = ~np.isnan(own[:, 0])
    area = float(captions.areas(np.ones((1, len(counts)))).auroc[0])
    patients, images = len(np.unique(case.clusters[shown])), int(shown.sum())
    return ContradictionResult(
        images=images,
        pairs=len(pairs.true_of),
        win_rate=win_rate,
        margin=margin,
        preference=preference,
        auc=find_interval(area, areas, patients, images, settings.bootstrap.confidence),
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


def _draw(columns: Array, captions: Ranking, case: LabelScores, settings: NamingSettings) -> list[Array]:
    """Means of each column and the AUC, of each draw of patients."""
    draws = draw_patients(case, settings.bootstrap, stratified=settings.stratified)
    return over_draws(draws, lambda weights: (weighted_means(columns, weights), captions.areas(weights).auroc))


def _find_interval(column: Array, drawn: Array, case: LabelScores, settings: NamingSettings) -> Interval:
    known = ~np.isnan(column)
    patients, images = len(np.unique(case.clusters[known])), int(known.sum())
    return find_interval(float(column[known].mean()), drawn, patients, images, settings.bootstrap.confidence)
