from dataclasses import replace

import numpy as np
import pytest

from vesalius.errors import DataError
from vesalius.evaluation.naming.fitting import fit_platt
from vesalius.evaluation.naming.label_kind import compare_naming
from vesalius.evaluation.naming.measures import MEASURES, Judged, fit_thresholds


def judge(case) -> Judged:
    probabilities = fit_platt(case).probabilities(case.scores)
    return Judged(case, fit_thresholds(case), probabilities, np.ones(len(case.labels), bool))


@pytest.fixture
def strong(make_case):
    return judge(make_case(images=60, signal=4))


@pytest.fixture
def weak(make_case, rng):
    case = make_case(images=60, signal=4)
    return judge(replace(case, scores=case.scores + rng.normal(0, 4, case.scores.shape)))


def test_the_better_system_is_better_by_every_measure(strong, weak, few):
    found = compare_naming(strong, weak, few)
    assert [each.measure for each in found] == list(MEASURES)
    for each in found:
        if each.measure != "ece":
            assert each.better > 0.95
    by_name = {each.measure: each.difference for each in found}
    assert by_name["macro_ap"].low > 0
    assert by_name["brier"].high < 0


def test_exchanging_systems_turns_the_sign(strong, weak, few):
    for one, other in zip(compare_naming(strong, weak, few), compare_naming(weak, strong, few), strict=True):
        assert one.difference.value == pytest.approx(-other.difference.value)
        assert one.better == pytest.approx(1 - other.better)


def test_a_system_does_not_differ_from_itself(strong, few):
    for each in compare_naming(strong, strong, few):
        assert (each.difference.value, each.difference.low, each.difference.high, each.better) == (0, 0, 0, 0.5)


def test_other_images_cannot_be_compared(strong, make_case, few):
    with pytest.raises(DataError, match="these differ"):
        compare_naming(strong, judge(make_case(images=60, seed=5)), few)
