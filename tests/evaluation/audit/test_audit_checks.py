from dataclasses import replace

import numpy as np
import pytest

from vesalius.evaluation.audit.card import MEASURES, UNCLEAR, Check, read_checks
from vesalius.evaluation.audit.session import SubstitutionResult
from vesalius.evaluation.statistics import Interval

ANSWER = SubstitutionResult(
    image="a.png", record=0, test="wording", kind="paraphrases", reference="polyp", prompt="a polyp", pixels=1000,
    true_pixels=100, predicted_pixels=100, reference_dice=0.8, dice=0.6, change=0.25, existence=0.9,
)  # fmt: skip
OTHER = replace(ANSWER, dice=0.4, change=0.75, predicted_pixels=9, existence=0.5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("change", 0.5),
        ("lost", 0.3),
        ("spread", float(np.std([0.8, 0.6, 0.4]))),
        ("true_negatives", 0.5),
        ("existence", 0.7),
    ],
)
def test_measures_are_those_worked_out_by_hand(name, value):
    assert MEASURES[name]([ANSWER, OTHER]) == pytest.approx(value)


def test_dice_is_not_asked_of_images_that_show_nothing():
    empty = [replace(ANSWER, true_pixels=0)]
    assert [name for name in MEASURES if MEASURES[name](empty) is None] == ["change", "lost", "spread"]


def test_a_model_without_existence_has_none():
    assert MEASURES["existence"]([replace(ANSWER, existence=None)]) is None


def interval(low: float | None, high: float | None) -> Interval:
    return Interval(0.0, low, high, 10)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.0, 0.05, "low"),
        (0.2, 0.5, "middle"),
        (0.05, 0.2, "low or middle"),
        (0.05, 0.95, UNCLEAR),
        (0.1, 0.2, "middle"),
        (None, None, UNCLEAR),
    ],
)
def test_a_verdict_needs_the_whole_interval(low, high, verdict):
    check = Check("wording", "change", "", "", (0.1, 0.8), ("low", "middle", "high"))
    assert check.judge(interval(low, high)) == verdict


def test_every_check_has_a_measure_rising_limits_and_a_verdict_for_each_side():
    checks = read_checks()
    assert len({(check.test, check.measure) for check in checks}) == len(checks)
    for check in checks:
        assert check.measure in MEASURES
        assert list(check.limits) == sorted(set(check.limits))
        assert len(check.verdicts) == len(check.limits) + 1
