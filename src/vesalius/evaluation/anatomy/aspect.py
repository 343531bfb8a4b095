"""One system's scores of organs, or of stations, evaluated: tuned on validation images, measured on test images."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from vesalius.errors import DataError
from vesalius.evaluation.anatomy.abstention import abstain, describe_abstention
from vesalius.evaluation.anatomy.equal_mass import count_equal_mass
from vesalius.evaluation.anatomy.intervals import Found, Overall, find_group_intervals, find_intervals
from vesalius.evaluation.anatomy.label_scores import Bools, LabelScores
from vesalius.evaluation.anatomy.measures import Judged
from vesalius.evaluation.anatomy.naming_scores import Counts, chance_of_top1, count_errors, fit_thresholds
from vesalius.evaluation.anatomy.platt import fit_platt, fit_temperature
from vesalius.evaluation.anatomy.settings import NamingSettings
from vesalius.evaluation.calibration import ReliabilityPoint
from vesalius.evaluation.statistics import Interval
from vesalius.evaluation.uncertainty import RiskCoverage
from vesalius.models.calibration import PlattScaling


@dataclass(frozen=True)
class LabelResult:
    """One label, one versus the rest."""

    label: str
    images: int
    """That show it."""
    absent: int
    """That surely do not."""
    patients: int
    """Who show it."""
    counted: bool
    """Whether it enters macro means: enough patients show it, and some image does not."""
    ap: Interval | None
    """None where a kind is lacking."""
    auroc: Interval | None
    threshold: float | None
    """Fixed on validation images; None if those show nothing at all, and nothing is then named."""
    errors: Counts


@dataclass(frozen=True, eq=False)
class AspectResult:
    """Naming of organs, or of stations."""

    overall: Overall
    """Calibration errors are those of Platt scaling for each label."""
    chance: float | None
    """Of top-1 by naming at random."""
    groups: Mapping[str, Overall]
    """Modality -> the same measures, on its images only."""
    labels: tuple[LabelResult, ...]
    platt: PlattScaling
    temperature: PlattScaling
    temperature_errors: Mapping[str, float]
    """"ece" and "brier" with one temperature for all labels."""
    reliability: tuple[ReliabilityPoint, ...]
    """Of Platt scaling, in bins of equal mass."""
    abstention: RiskCoverage | None
    """Wrong first names, by the probability stated for the name; None if nothing ever shows."""
    judged: Judged
    """What all this was measured on."""

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
            "abstention": None if self.abstention is None else describe_abstention(self.abstention),
        }


def evaluate_aspect(val: LabelScores, test: LabelScores, settings: NamingSettings) -> AspectResult:
    """Fix thresholds and calibration on validation images, and measure on test images.

    Args:
        val: Of patients who are not in the test.
        test: Images to measure on.
        settings: What counts, and how intervals are drawn.

    Raises:
        DataError: If labels differ, a patient is in both, or nothing is known of either.
    """
    _check(val, test)
    platt, temperature, thresholds = fit_platt(val), fit_temperature(val), fit_thresholds(val)
    counted = _common_enough(test, settings)
    judged = Judged(test, thresholds, platt.probabilities(test.scores), counted)
    warmer = count_equal_mass(temperature.probabilities(test.scores), test)
    found, chance, groups = find_intervals(judged, settings), chance_of_top1(test), sorted(set(test.groups))
    return AspectResult(
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


def _check(val: LabelScores, test: LabelScores) -> None:
    if val.labels != test.labels:
        raise DataError(
            f"validation has the labels {', '.join(val.labels)}, test {', '.join(test.labels)}; expected the same."
        )
    if both := sorted(set(val.patients) & set(test.patients)):
        raise DataError(f"{len(both)} patients are in validation and test, the first is '{both[0]}'; split by patient.")
    if not test.known.any():
        raise DataError("nothing is known of the test images: every label is uncertain on every one.")


def _common_enough(test: LabelScores, settings: NamingSettings) -> Bools:
    """Labels for macro means, [L]."""
    patients = test.patients_of(test.present)
    return np.asarray((patients >= settings.least_patients) & (test.known & ~test.present).any(0))


def _describe_labels(judged: Judged, found: Found) -> tuple[LabelResult, ...]:
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
