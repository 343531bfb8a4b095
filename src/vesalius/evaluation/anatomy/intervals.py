"""Measures of one system with intervals over patients."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from vesalius.evaluation.anatomy.draws import around, draw_patients
from vesalius.evaluation.anatomy.label_scores import Array
from vesalius.evaluation.anatomy.measures import Judged
from vesalius.evaluation.anatomy.settings import NamingSettings
from vesalius.evaluation.statistics import Interval

Overall = Mapping[str, Interval | None]
"""Name in ``MEASURES`` -> value; None where it is not defined."""


class Found(NamedTuple):
    """Measures over all labels, and two areas of each label."""

    overall: Overall
    ap: list[Interval | None]
    auroc: list[Interval | None]


def find_intervals(judged: Judged, settings: NamingSettings) -> Found:
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
    overall = {name: _overall(judged, name, float(value.overall[name][0]), drawn[name], settings) for name in drawn}
    return Found(
        overall,
        ap=_by_label(judged, value.ap[0], np.concatenate([block.ap for block in blocks]), settings),
        auroc=_by_label(judged, value.auroc[0], np.concatenate([block.auroc for block in blocks]), settings),
    )


def find_group_intervals(judged: Judged, group: str, settings: NamingSettings) -> Overall:
    """Measures over all labels on the images of one group; labels too rare there leave its macro means."""
    rows = np.flatnonzero(np.array(judged.case.groups) == group)
    case = judged.case.take(rows)
    counted = judged.counted & (case.patients_of(case.present) >= settings.least_patients)
    return find_intervals(Judged(case, judged.thresholds, judged.probabilities[rows], counted), settings).overall


def _overall(judged: Judged, name: str, value: float, drawn: Array, settings: NamingSettings) -> Interval | None:
    images = int(judged.images_of(name).sum())
    return around(value, drawn, judged.deciding_patients(name), images, settings.bootstrap)


def _by_label(judged: Judged, values: Array, drawn: Array, settings: NamingSettings) -> list[Interval | None]:
    """As few patients as show a label, or do not, decide how wide its intervals are."""
    images, rarer = judged.case.known.sum(0), judged.rarer_patients()
    return [
        around(float(value), drawn[:, place], int(rarer[place]), int(images[place]), settings.bootstrap)
        for place, value in enumerate(values)
    ]
