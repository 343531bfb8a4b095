"""Measures of the paper's experiment under draws of people: every number is a row of one value and its draws.

A person counts once, however many slices they have: a slice weighs one over the number of the person's slices that
count. Seeds are averaged within each draw, so intervals are over people alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from anatomy_set import VISIBLE_HUMAN, PeopleSlices
from anatomy_systems import LABELS
from numpy.typing import NDArray

from vesalius.evaluation.naming.label_scores import LabelScores, draw_patients, truth_of
from vesalius.evaluation.naming.measures import rank_labels, top1_in_set
from vesalius.evaluation.ranking import RocCurve
from vesalius.evaluation.statistics import Array, Bootstrap, Interval, find_interval, share, weighted_means
from vesalius.prompts.anatomy import LabelKind

ENOUGH_PEOPLE = 5
"""Who must show a label, and who must not, for it to enter macro means."""
BOOTSTRAP = Bootstrap(resamples=1000)
FPR = np.linspace(0, 1, 51)
Answers = Mapping[str, Array]
"""What a system said, seeds first: "organs" [S, N, 20], "stations" [S, N, 5], "stations win" [S, N] and so on."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """A measure of all people, and of each draw of them."""

    values: Array
    """[1 + R]; the first is of the people as they are."""
    people: int
    """People who decide it."""
    slices: int

    def __sub__(self, other: "Drawn") -> "Drawn":
        return Drawn(self.values - other.values, min(self.people, other.people), self.slices)

    def __add__(self, other: "Drawn") -> "Drawn":
        return Drawn(self.values + other.values, min(self.people, other.people), self.slices)

    def scale(self, factor: float) -> "Drawn":
        """Times a number."""
        return Drawn(factor * self.values, self.people, self.slices)

    @property
    def interval(self) -> Interval:
        """Value and ends; none of one person."""
        return find_interval(float(self.values[0]), self.values[1:], self.people, self.slices, BOOTSTRAP.confidence)


class People:
    """Draws of the people, and what is true of their slices.

    Args:
        slices: N slices.
    """

    def __init__(self, slices: PeopleSlices) -> None:
        self.slices = slices
        self.truth = {kind: truth_of(slices.labels, kind, labels) for kind, labels in LABELS.items()}
        self.modality = np.array([label.modality for label in slices.labels])
        self.visible_human = np.array(slices.patients) == VISIBLE_HUMAN
        case = self.case("stations", np.zeros(self.truth["stations"].shape))
        self.clusters = case.clusters
        drawn = list(draw_patients(case, BOOTSTRAP, stratified=True))
        self.draws = np.concatenate([np.ones((1, len(self.clusters))), *drawn])
        """How often each slice is in each draw, [1 + R, N]."""

    @cached_property
    def sets(self) -> Mapping[str, NDArray[np.bool_]]:
        """The paper's test sets -> whether each slice is of it, [N]."""
        first = ~self.visible_human
        return {
            "#1 MR": first & (self.modality == "MR"),
            "#1 CT": first & (self.modality == "CT"),
            "#1 MR and CT": first,
            "#2 CT": self.visible_human,
            "all": np.ones_like(first),
        }

    def case(self, kind: LabelKind, scores: Array) -> LabelScores:
        """Scores [N, L] beside what is true."""
        return LabelScores(LABELS[kind], scores, self.truth[kind], self.slices.patients, tuple(self.modality))

    def count(self, chosen: NDArray[np.bool_]) -> int:
        """People with a chosen slice."""
        return len(np.unique(self.clusters[chosen]))

    def weigh(self, counted: NDArray[np.bool_]) -> Array:
        """Weight of each slice, 0 where it does not count, [N]."""
        numbers = np.bincount(self.clusters[counted], minlength=self.clusters.max() + 1)
        shares = share(counted.astype(float), numbers[self.clusters].astype(float))
        return np.asarray(shares.clip(0) * counted)

    def mean(self, values: Array, chosen: NDArray[np.bool_] | None = None) -> Drawn:
        """Mean over people of the means over their slices.

        Args:
            values: [N]; NaN where a slice has none.
            chosen: Slices to look at, all by default.
        """
        counted = ~np.isnan(values) if chosen is None else ~np.isnan(values) & chosen
        own = np.where(counted, values, np.nan)[:, None]
        means = weighted_means(own, self.draws * np.nan_to_num(self.weigh(counted)))[:, 0]
        return Drawn(means, self.count(counted), int(counted.sum()))

    def hits(self, kind: LabelKind, answers: Array) -> Array:
        """Top-1 in set of each slice, mean over seeds, [N]; NaN where nothing shows.

        Args:
            kind: What the labels are.
            answers: [S, N, L].
        """
        return np.asarray(np.mean([top1_in_set(self.case(kind, scores)) for scores in answers], axis=0))

    def counted(self, kind: LabelKind) -> NDArray[np.bool_]:
        """Labels that enter macro means, [L]."""
        truth = self.truth[kind].T
        return np.array([min(self.count(row == 1), self.count(row == 0)) >= ENOUGH_PEOPLE for row in truth])

    def areas(self, kind: LabelKind, answers: Array) -> list[Drawn]:
        """AUROC of each label, mean over seeds."""
        found = []
        for place, row in enumerate(self.truth[kind].T):
            weights = np.asfortranarray(self.draws * np.nan_to_num(self.weigh(row >= 0)))
            own = [rank_labels(self.case(kind, scores))[place].areas(weights).auroc for scores in answers]
            rarer = min(self.count(row == 1), self.count(row == 0))
            found.append(Drawn(np.mean(own, axis=0), rarer, int((row >= 0).sum())))
        return found

    def macro(self, kind: LabelKind, areas: Sequence[Drawn]) -> Drawn:
        """Mean over the labels that count."""
        own = [each for each, counted in zip(areas, self.counted(kind), strict=True) if counted]
        values = np.stack([each.values for each in own])
        known = ~np.isnan(values)
        means = share(np.where(known, values, 0).sum(0), known.sum(0).astype(float))
        return Drawn(means, min(each.people for each in own), max(each.slices for each in own))

    def curve(self, kind: LabelKind, place: int, answers: Array) -> RocCurve | None:
        """ROC curve of one label, people weighed alike, mean over seeds of the true positive rate."""
        row = self.truth[kind][:, place]
        if not ((row == 1).any() and (row == 0).any()):
            return None
        weights, rates = np.nan_to_num(self.weigh(row >= 0)), []
        for scores in answers[:, :, place]:
            order = np.argsort(-scores, kind="stable")
            last = np.append(np.diff(scores[order]) != 0, True)
            false, true = ((weights * (row == value))[order].cumsum()[last] for value in (0, 1))
            rates.append(np.interp(FPR, np.append(0, false / false[-1]), np.append(0, true / true[-1])))
        mean = np.mean(rates, axis=0)
        mean[0] = 0
        return RocCurve(FPR, mean)


def guess_commonest(people: People, kind: LabelKind) -> Array:
    """Scores of whoever always names what most people of the other parts show, [1, N, L]."""
    truth, folds = people.truth[kind], people.slices.folds
    scores = np.zeros(truth.shape)
    for fold in np.unique(folds):
        others = folds != fold
        shown = [people.mean(np.where(row >= 0, row, np.nan).astype(float), others).values[0] for row in truth.T]
        scores[folds == fold] = shown
    return scores[None]


MEASURES = {
    "organs top-1": "organs, top-1 %",
    "stations top-1": "stations, top-1 %",
    "organs AUROC": "organs, macro AUROC",
    "stations AUROC": "stations, macro AUROC",
    "right station": "right station preferred, %",
    "right organ": "right organ preferred, %",
}
"""Measures of a system, and how they are written."""


@dataclass(frozen=True, eq=False)
class Measured:
    """One system of one start."""

    name: str
    answers: Answers
    measures: Mapping[str, Drawn]
    """Name in ``MEASURES`` -> value."""
    areas: Mapping[LabelKind, Sequence[Drawn]]
    """Kind -> AUROC of each label."""
    spread: Mapping[LabelKind, float]
    """Standard deviation over seeds of top-1 in set of "organs" and "stations"; 0 of one seed."""


def measure(people: People, name: str, answers: Answers) -> Measured:
    """All measures of a system.

    Args:
        people: Whose slices were asked about.
        name: Of the system.
        answers: What it said.
    """
    found: dict[str, Drawn] = {}
    areas = {kind: people.areas(kind, answers[kind]) for kind in LABELS}
    spread = {}
    for kind in LABELS:
        found[f"{kind} top-1"] = people.mean(people.hits(kind, answers[kind]))
        found[f"{kind} AUROC"] = people.macro(kind, areas[kind])
        found[f"right {kind[:-1]}"] = people.mean(answers[f"{kind} win"].mean(0))
        single = [people.mean(people.hits(kind, scores[None])).values[0] for scores in answers[kind]]
        spread[kind] = float(np.std(single, ddof=1)) if len(single) > 1 else 0.0
    return Measured(name, answers, found, areas, spread)
