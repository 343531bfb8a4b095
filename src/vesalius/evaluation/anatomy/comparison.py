"""Two systems on the same images: how much better one is, under the same draws of patients."""

from dataclasses import dataclass

import numpy as np

from vesalius.errors import DataError
from vesalius.evaluation.anatomy.draws import around, draw_patients
from vesalius.evaluation.anatomy.measures import Judged
from vesalius.evaluation.anatomy.settings import NamingSettings
from vesalius.evaluation.statistics import Interval

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
    _check(first, second)
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
        interval = around(value, drawn, patients, images, settings.bootstrap)
        if interval is not None:
            signs = np.sign(drawn[~np.isnan(drawn)]) * (-1 if name in LOWER_IS_BETTER else 1)
            found.append(NamingDifference(name, interval, float(((signs + 1) / 2).mean())))
    return found


def _check(first: Judged, second: Judged) -> None:
    one, other = first.case, second.case
    if (one.labels, one.patients) != (other.labels, other.patients) or not np.array_equal(one.truth, other.truth):
        raise DataError("systems are compared on the same images, labels and truth in the same order; these differ.")
