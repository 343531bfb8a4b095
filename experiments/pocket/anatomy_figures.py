"""Figures of naming on people who were held out, with intervals over people."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from labelled_slice import LabelledSlice
from torch import Tensor

from vesalius.evaluation.calibration import RiskCoverage
from vesalius.evaluation.naming.fitting import fit_temperature
from vesalius.evaluation.naming.label_kind import MeasuredIntervals, abstain, find_intervals
from vesalius.evaluation.naming.label_scores import LabelScores, NamingSettings, truth_of
from vesalius.evaluation.naming.measures import Judged, count_equal_mass
from vesalius.evaluation.statistics import Array
from vesalius.models.calibration import PlattScaling
from vesalius.prompts.anatomy import ORGANS, STATIONS, LabelKind

MOST_OF_A_SERIES = 40
"""Slices of a held-out series that calibration and areas under curves look at, spread evenly."""
ENOUGH_PEOPLE = 5
"""Who must show an organ for it to enter macro means."""
COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
Odds = Mapping[int, Mapping[str, Tensor]]
"""Slice -> question -> log-odds of its labels, [L]."""
Fit = Callable[[LabelScores], PlattScaling]


def collect(
    slices: Sequence[LabelledSlice], odds: Odds, kind: LabelKind, labels: tuple[str, ...], columns: Sequence[int]
) -> LabelScores:
    """Held-out scores, as many of a long series as of a short one."""
    series: dict[str, list[int]] = defaultdict(list)
    for row in odds:
        series[slices[row].series].append(row)
    rows = [row for own in series.values() for row in own[:: -(-len(own) // MOST_OF_A_SERIES)]]
    scores = torch.stack([odds[row][kind][list(columns)] for row in rows]).double().numpy()
    shown = [slices[row].label for row in rows]
    patients = tuple(slices[row].patient for row in rows)
    return LabelScores(labels, scores, truth_of(shown, kind, labels), patients, ("all",) * len(rows))


def calibrate(
    slices: Sequence[LabelledSlice], odds: Odds, labels: Mapping[str, tuple[str, ...]]
) -> dict[str, PlattScaling]:
    """Scaling of stations, and of organs that training has shown.

    One slope and offset for all labels: held out, most labels come from few people, too few for their own.
    """
    trained = {organ for each in slices if not each.test for organ in each.label.organs}
    known: dict[LabelKind, tuple[str, ...]] = {
        "stations": STATIONS,
        "organs": tuple(each for each in ORGANS if each in trained),
    }
    return {
        kind: fit_temperature(collect(slices, odds, kind, named, [labels[kind].index(each) for each in named]))
        for kind, named in known.items()
    }


@dataclass(frozen=True)
class KindFigures:
    """Of stations, or of organs; probabilities of a person come from a scaling that the other parts gave."""

    judged: Judged
    found: MeasuredIntervals
    plain_error: float
    """Calibration error without any scaling: labels' shares among themselves."""
    abstention: RiskCoverage

    @property
    def people(self) -> int:
        """How many were held out."""
        return len(set(self.judged.case.patients))

    def risk_at(self, coverage: float) -> float:
        """Share of wrong first names among the surest slices, at least this share of all."""
        place = int(np.searchsorted(self.abstention.coverage, coverage - 1e-9))
        return self.abstention.risk[min(place, len(self.abstention.risk) - 1)]


def measure(
    slices: Sequence[LabelledSlice],
    odds: Odds,
    folds: Sequence[Sequence[str]],
    labels: Mapping[str, tuple[str, ...]],
    kind: LabelKind,
) -> KindFigures:
    """Every figure of one kind.

    Args:
        slices: All.
        odds: Of the slices that were held out.
        folds: Who was held out together.
        labels: Question -> labels, in the order of the odds.
        kind: Stations or organs.
    """
    case = collect(slices, odds, kind, labels[kind], range(len(labels[kind])))
    settings, people = NamingSettings(min_patients=ENOUGH_PEOPLE, stratified=False), np.array(case.patients)
    probabilities = np.zeros(case.scores.shape)
    for part in folds:
        own = np.isin(people, part)
        if own.any():
            scaling = fit_temperature(case.index_select(np.flatnonzero(~own)))
            probabilities[own] = scaling.probabilities(case.scores[own])
    counted = (case.patients_of(case.present) >= ENOUGH_PEOPLE) & (case.known & ~case.present).any(0)
    judged = Judged(case, np.full(len(case.labels), np.inf), probabilities, counted)
    abstention = abstain(judged, settings)
    assert abstention is not None
    plain = float(count_equal_mass(_shares(case.scores), case).ece())
    return KindFigures(judged, find_intervals(judged, settings), plain, abstention)


def _shares(scores: Array) -> Array:
    raised = np.exp(scores - scores.max(1, keepdims=True))
    return np.asarray(raised / raised.sum(1, keepdims=True))


@dataclass(frozen=True)
class WorstSlice:
    """One of those that were most surely wrong."""

    series: str
    number: int
    """Among the series' slices that show something, from 0."""
    said: str
    """The likeliest station."""
    shows: tuple[str, ...]
    probability: float
    """That it shows what was said."""
    place: int
    """Among all slices."""


def find_worst(
    slices: Sequence[LabelledSlice], odds: Odds, labels: tuple[str, ...], scaling: PlattScaling, count: int
) -> list[WorstSlice]:
    """Slices whose likeliest station is most surely wrong, at most one of a series.

    Args:
        slices: All.
        odds: Of the slices that were held out.
        labels: Stations, in the order of the odds.
        scaling: Of stations.
        count: How many.
    """
    found: dict[str, WorstSlice] = {}
    numbers: dict[str, int] = defaultdict(int)
    for place in sorted(odds):
        series, label = slices[place].series, slices[place].label
        number, numbers[series] = numbers[series], numbers[series] + 1
        known = [each not in label.uncertain for each in labels]
        values = scaling.probabilities(odds[place]["stations"].double().numpy()[None])[0]
        best = int(np.where(known, values, -1).argmax())
        if label.stations and labels[best] not in label.stations:
            wrong = WorstSlice(series, number, labels[best], tuple(sorted(label.stations)), float(values[best]), place)
            if series not in found or found[series].probability < wrong.probability:
                found[series] = wrong
    return sorted(found.values(), key=lambda each: -each.probability)[:count]
