"""Patients drawn with replacement, in proportion to what kinds of images they have if wanted."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from vesalius.evaluation.anatomy.label_scores import Array, LabelScores
from vesalius.evaluation.bootstrap import Bootstrap, draw_weights, find_plain_ends
from vesalius.evaluation.statistics import Interval

_CELLS = 2**22
"""Weights held in memory at a time; 32 MB."""


def draw_patients(case: LabelScores, settings: Bootstrap, *, stratified: bool) -> Iterator[Array]:
    """How often each image is in each draw, in blocks.

    Args:
        case: Whose images.
        settings: Number of draws and seed.
        stratified: Draw, from the patients of each group, as many as there are; a patient is of the group of most of
            their images. Where a group has a single patient, who would then never vary, all are drawn together.

    Yields:
        Weights [r, N], ``settings.resamples`` rows in all.
    """
    strata = _strata(case) if stratified else []
    if len(strata) < 2 or min(map(len, strata)) < 2:
        yield from draw_weights(case.clusters, settings)
        return
    generator, block = np.random.default_rng(settings.seed), max(1, _CELLS // len(case.patients))
    for start in range(0, settings.resamples, block):
        rows = min(block, settings.resamples - start)
        weights = np.zeros((rows, int(case.clusters.max()) + 1))
        for members in strata:
            count = len(members)
            weights[:, members] = generator.multinomial(count, np.full(count, 1 / count), size=rows)
        yield weights[:, case.clusters]


def _strata(case: LabelScores) -> list[NDArray[np.intp]]:
    """Patients by the group of most of their images."""
    groups, numbers = np.unique(case.groups, return_inverse=True)
    counts = np.zeros((int(case.clusters.max()) + 1, len(groups)))
    np.add.at(counts, (case.clusters, numbers), 1)
    own = counts.argmax(1)
    return [np.flatnonzero(own == group) for group in np.unique(own)]


def around(value: float, drawn: Array, patients: int, images: int, settings: Bootstrap) -> Interval | None:
    """A value and its interval.

    Args:
        value: Of all images; NaN if there is none.
        drawn: Of each draw, [R]; NaN are left out.
        patients: Number of patients who decide it.
        images: Number of images behind it.
        settings: Confidence.

    Returns:
        None without a value.
    """
    return None if np.isnan(value) else Interval(value, *find_ends_of(drawn, patients, settings), images)


def find_ends_of(drawn: Array, patients: int, settings: Bootstrap) -> tuple[float | None, float | None]:
    """Percentiles of draws, widened for few patients; None where fewer than two leave nothing to draw."""
    if patients < 2 or np.isnan(drawn).all():
        return None, None
    return find_plain_ends(drawn, patients, settings.confidence)
