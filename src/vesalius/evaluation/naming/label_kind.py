"""One system's scores of organs, or of stations: tuned on validation, measured on test, compared with another's."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np

from vesalius.errors import DataError
from vesalius.evaluation.calibration import ReliabilityPoint, RiskCoverage, risk_coverage
from vesalius.evaluation.naming.fitting import fit_platt, fit_temperature
from vesalius.evaluation.naming.label_scores import LabelScores, NamingSettings, check_apart, draw_patients
from vesalius.evaluation.naming.measures import (
    ConfusionCounts,
    Judged,
    best_labels,
    chance_of_top1,
    count_equal_mass,
    count_errors,
    fit_thresholds,
    top1_in_set,
)
from vesalius.evaluation.statistics import Array, Bools, Interval, find_interval
from vesalius.models.calibration import PlattScaling

POINTS = 100
"""Points of a curve in JSON, at most."""


def abstain(judged: Judged, settings: NamingSettings) -> RiskCoverage | None:
    """Risk of a wrong top-1 label over the share of images named, the most confident first.

    Confidence is the calibrated probability of the label, the mean where several labels share the highest score.

    Args:
        judged: Scores and probabilities; images on which nothing shows are left out.
        settings: How patients are drawn.

    Returns:
        None if nothing ever shows.
    """
    right = top1_in_set(judged.case)
    shown = np.flatnonzero(~np.isnan(right))
    if not shown.size:
        return None
    best = best_labels(judged.case)[shown]
    confidence = np.where(best, judged.probabilities[shown], 0).sum(1) / best.sum(1)
    case, wrong = judged.case.index_select(shown), 1 - right[shown]
    draws = draw_patients(case, settings.bootstrap, stratified=settings.stratified)
    return risk_coverage(confidence.tolist(), wrong.tolist(), case.clusters, settings.bootstrap, draws)


def _describe_abstention(found: RiskCoverage) -> dict[str, object]:
    """The curve thinned."""
    places = np.unique(np.linspace(0, len(found.risk) - 1, POINTS).astype(int))
    return {
        "aurc": asdict(found.aurc),
        "best": found.best,
        "chance": found.chance,
        "coverage": [found.coverage[place] for place in places],
        "risk": [found.risk[place] for place in places],
    }


Overall = Mapping[str, Interval | None]
"""Name in ``MEASURES`` -> value; None where it is not defined."""


class MeasuredIntervals(NamedTuple):
    """Measures over all labels, and two areas of each label."""

    overall: Overall
    ap: list[Interval | None]
    auroc: list[Interval | None]


def find_intervals(judged: Judged, settings: NamingSettings) -> MeasuredIntervals:
    """Measure a system on its test images, and on draws of their patients.

    Args:
        judged: Scores, thresholds and probabilities.
        settings: How patients are drawn.
    """
    case = judged.case
    value = judged.measure(np.ones((1, len(case.patients))))
    draws = draw_patients(case, settings.bootstrap, stratified=settings.stratified)
    blocks = [judged.measure(weights) for weights in draws]
    drawn = {name: np.concatenate([block.overall[name] for block in blocks]) for name in value.overall}
    overall = {
        name: _find_interval(
            float(value.overall[name][0]), each, judged.deciding_patients(name), judged.images_of(name).sum(), settings
        )
        for name, each in drawn.items()
    }
    return MeasuredIntervals(
        overall,
        ap=_by_label(judged, value.ap[0], np.concatenate([block.ap for block in blocks]), settings),
        auroc=_by_label(judged, value.auroc[0], np.concatenate([block.auroc for block in blocks]), settings),
    )


def find_group_intervals(judged: Judged, group: str, settings: NamingSettings) -> Overall:
    """Measures over all labels on the images of one group; labels too rare there leave its macro means."""
    rows = np.flatnonzero(np.array(judged.case.groups) == group)
    case = judged.case.index_select(rows)
    counted = judged.counted & (case.patients_of(case.present) >= settings.min_patients)
    return find_intervals(Judged(case, judged.thresholds, judged.probabilities[rows], counted), settings).overall


def _find_interval(value: float, drawn: Array, patients: int, images: int, settings: NamingSettings) -> Interval | None:
    """The interval; None where the measure is undefined."""
    found = find_interval(value, drawn, int(patients), int(images), settings.bootstrap.confidence)
    return None if np.isnan(value) else found


def _by_label(judged: Judged, values: Array, drawn: Array, settings: NamingSettings) -> list[Interval | None]:
    """The rarer kind's patients, who show a label or do not, decide how wide its intervals are."""
    images, rarer = judged.case.known.sum(0), judged.rarer_patients()
    return [
        _find_interval(float(value), drawn[:, place], rarer[place], images[place], settings)
        for place, value in enumerate(values)
    ]


LOWER_IS_BETTER = frozenset({"ece", "brier"})


@dataclass(frozen=True)
class NamingDifference:
    """First minus second."""

    measure: str
    difference: Interval
    better: float
    """Share of draws in which the first is better; ties count half."""


def compare_naming(first: Judged, second: Judged, settings: NamingSettings) -> list[NamingDifference]:
    """Differences of all measures that both have, paired by image.

    Args:
        first: One system's test images.
        second: Another's scores of the same images in the same order.
        settings: How intervals are drawn.

    Raises:
        DataError: If images, labels or truth differ.
    """
    _check_same_images(first, second)
    case, once = first.case, np.ones((1, len(first.case.patients)))
    blocks = [
        (first.measure(weights).overall, second.measure(weights).overall)
        for weights in draw_patients(case, settings.bootstrap, stratified=settings.stratified)
    ]
    values = first.measure(once).overall, second.measure(once).overall
    found = []
    for name in values[0]:
        drawn = np.concatenate([one[name] - other[name] for one, other in blocks])
        images, patients = int(first.images_of(name).sum()), first.deciding_patients(name)
        value = float(values[0][name][0] - values[1][name][0])
        interval = _find_interval(value, drawn, patients, images, settings)
        if interval is not None:
            signs = np.sign(drawn[~np.isnan(drawn)]) * (-1 if name in LOWER_IS_BETTER else 1)
            found.append(NamingDifference(name, interval, float(((signs + 1) / 2).mean())))
    return found


def _check_same_images(first: Judged, second: Judged) -> None:
    one, other = first.case, second.case
    if (one.labels, one.patients) != (other.labels, other.patients) or not np.array_equal(one.truth, other.truth):
        raise DataError("systems are compared on the same images, labels and truth in the same order; these differ.")


@dataclass(frozen=True)
class LabelResult:
    """One label, one versus the rest."""

    label: str
    images: int
    """Images that show the label."""
    absent: int
    """Images that surely do not show it."""
    patients: int
    """Patients who show it."""
    counted: bool
    """Whether it enters macro means: enough patients show it, and some image does not."""
    ap: Interval | None
    """None where a kind is lacking."""
    auroc: Interval | None
    threshold: float | None
    """Fixed on validation images; None if those show nothing at all, and nothing is then named."""
    errors: ConfusionCounts


@dataclass(frozen=True, eq=False)
class LabelKindResult:
    """Naming of organs, or of stations."""

    overall: Overall
    """Calibration errors are those of Platt scaling for each label."""
    chance: float | None
    """Top-1 accuracy of naming at random."""
    groups: Mapping[str, Overall]
    """Modality -> the same measures, on its images only."""
    labels: tuple[LabelResult, ...]
    platt: PlattScaling
    temperature: PlattScaling
    temperature_errors: Mapping[str, float]
    """"ece" and "brier" with one temperature for all labels."""
    reliability: tuple[ReliabilityPoint, ...]
    """Reliability of Platt scaling, in bins of equal mass."""
    abstention: RiskCoverage | None
    """Wrong top-1 labels over coverage, by calibrated probability; None if nothing ever shows."""
    judged: Judged
    """Scores, thresholds and probabilities that were measured."""

    @property
    def left_out(self) -> tuple[str, ...]:
        """Labels that do not enter macro means."""
        return tuple(each.label for each in self.labels if not each.counted)

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON; all but the images' scores."""
        return {
            "images": len(self.judged.case.patients),
            "patients": int(self.judged.case.clusters.max()) + 1,
            "overall": _describe(self.overall),
            "chance_of_top1": self.chance,
            "left_out_of_macro": list(self.left_out),
            "groups": {group: _describe(each) for group, each in self.groups.items()},
            "labels": [asdict(each) for each in self.labels],
            "platt": self.platt.to_dict(),
            "temperature": self.temperature.to_dict(),
            "temperature_errors": dict(self.temperature_errors),
            "reliability": [asdict(point) for point in self.reliability],
            "abstention": None if self.abstention is None else _describe_abstention(self.abstention),
        }


def evaluate_label_kind(val: LabelScores, test: LabelScores, settings: NamingSettings) -> LabelKindResult:
    """Fix thresholds and calibration on validation images, and measure on test images.

    Args:
        val: Of patients who are not in the test.
        test: Images to measure on.
        settings: What counts, and how intervals are drawn.

    Raises:
        DataError: If labels differ, a patient is in both, or nothing is known of either.
    """
    _check_splits(val, test)
    platt, temperature, thresholds = fit_platt(val), fit_temperature(val), fit_thresholds(val)
    counted = _common_enough(test, settings)
    judged = Judged(test, thresholds, platt.probabilities(test.scores), counted)
    warmer = count_equal_mass(temperature.probabilities(test.scores), test)
    found, chance, groups = find_intervals(judged, settings), chance_of_top1(test), sorted(set(test.groups))
    return LabelKindResult(
        overall=found.overall,
        chance=None if np.isnan(chance) else chance,
        groups={} if len(groups) < 2 else {name: find_group_intervals(judged, name, settings) for name in groups},
        labels=_describe_labels(judged, found),
        platt=platt,
        temperature=temperature,
        temperature_errors={"ece": float(warmer.ece()), "brier": float(warmer.brier())},
        reliability=judged.reliability.curve(),
        abstention=abstain(judged, settings),
        judged=judged,
    )


def _check_splits(val: LabelScores, test: LabelScores) -> None:
    if val.labels != test.labels:
        raise DataError(
            f"validation has the labels {', '.join(val.labels)}, test {', '.join(test.labels)}; expected the same."
        )
    check_apart(val.patients, test.patients, "validation and test")
    if not test.known.any():
        raise DataError("nothing is known of the test images: every label is uncertain on every one.")


def _common_enough(test: LabelScores, settings: NamingSettings) -> Bools:
    """Labels for macro means, [L]."""
    patients = test.patients_of(test.present)
    return np.asarray((patients >= settings.min_patients) & (test.known & ~test.present).any(0))


def _describe_labels(judged: Judged, found: MeasuredIntervals) -> tuple[LabelResult, ...]:
    case = judged.case
    errors, patients = count_errors(case, judged.thresholds), case.patients_of(case.present)
    return tuple(
        LabelResult(
            label=label,
            images=int(case.present[:, place].sum()),
            absent=int((case.known & ~case.present)[:, place].sum()),
            patients=int(patients[place]),
            counted=bool(judged.counted[place]),
            ap=found.ap[place],
            auroc=found.auroc[place],
            threshold=float(judged.thresholds[place]) if np.isfinite(judged.thresholds[place]) else None,
            errors=errors[place],
        )
        for place, label in enumerate(case.labels)
    )


def _describe(overall: Overall) -> dict[str, object]:
    return {name: None if each is None else asdict(each) for name, each in overall.items()}
