import json
from dataclasses import replace

import numpy as np
import pytest

from vesalius.errors import DataError
from vesalius.evaluation.naming.fitting import fit_platt
from vesalius.evaluation.naming.label_kind import abstain, compare_naming, evaluate_label_kind
from vesalius.evaluation.naming.measures import MEASURES, Judged, fit_thresholds


@pytest.fixture(scope="module")
def result(make_case, few):
    return evaluate_label_kind(make_case(seed=1, who="v"), make_case(images=80), few)


def test_every_measure_lies_within_its_interval_but_for_the_error_that_chance_adds_to(result):
    for name, interval in result.overall.items():
        if name != "ece":
            assert interval.low <= interval.value <= interval.high
            assert interval.low < interval.high


def test_modalities_are_measured_apart(result, make_case, few):
    assert list(result.groups) == ["CT", "MR"]
    assert result.groups["CT"]["top1"].n + result.groups["MR"]["top1"].n == result.overall["top1"].n
    alone = replace(make_case(images=80), groups=("CT",) * 80)
    assert evaluate_label_kind(make_case(seed=1, who="v"), alone, few).groups == {}


def test_a_label_that_few_patients_show_is_marked_and_left_out_of_macro_means(make_case, few):
    val, test = make_case(seed=1, who="v"), make_case(images=80)
    truth = test.truth.copy()
    truth[4:, 1] = 0  # patients 0 and 1 at most
    found = evaluate_label_kind(val, replace(test, truth=truth), few)
    assert found.left_out == ("label 1",)
    assert not found.labels[1].counted
    kept = np.mean([found.labels[place].ap.value for place in (0, 2)])
    assert found.overall["macro_ap"].value == pytest.approx(kept)


def test_a_label_of_one_kind_has_no_areas(make_case, few):
    test = make_case(images=80, uncertain=0)
    truth = test.truth.copy()
    truth[:, 0] = 1
    label = evaluate_label_kind(make_case(seed=1, who="v"), replace(test, truth=truth), few).labels[0]
    assert (label.ap, label.auroc, label.counted, label.absent) == (None, None, False, 0)


def test_thresholds_and_calibration_come_from_validation_alone(make_case, few, result):
    test = make_case(images=80)
    shifted = evaluate_label_kind(make_case(seed=1, who="v"), replace(test, scores=test.scores + 9), few)
    assert [each.threshold for each in shifted.labels] == [each.threshold for each in result.labels]
    assert shifted.platt == result.platt
    assert shifted.overall["macro_ap"] == result.overall["macro_ap"]
    assert shifted.overall["brier"].value > result.overall["brier"].value


def test_silence_is_worth_more_than_chance(result):
    abstention = result.abstention
    assert abstention.best <= abstention.aurc.value < abstention.chance
    assert abstention.risk[-1] == pytest.approx(1 - result.overall["top1"].value)


def test_silence_is_drawn_from_the_patients_of_each_modality(make_case, few):
    case = make_case(uncertain=0, labels=2)
    ct = np.array(case.groups) == "CT"
    truth = np.tile(np.array([[1, 0]], np.int8), (40, 1))
    scores = np.where(ct[:, None], [1.0, 0.0], [0.0, 0.5])
    case = replace(case, truth=truth, scores=scores)
    judged = Judged(case, np.zeros(2), np.where(scores > 0, scores, 0.1), np.ones(2, bool))
    aurc = abstain(judged, few).aurc
    assert aurc.low == pytest.approx(aurc.value) == pytest.approx(aurc.high), "half of every draw is wrong"
    together = abstain(judged, replace(few, stratified=False)).aurc
    assert together.low < together.value - 0.05


def test_it_is_json(result):
    content = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert content["overall"]["top1"]["value"] == result.overall["top1"].value
    assert content["left_out_of_macro"] == []
    assert {"true_positives", "false_negatives", "false_positives", "true_negatives"} == set(
        content["labels"][0]["errors"]
    )


def test_data_that_does_not_fit_is_refused(make_case, few):
    val, test = make_case(seed=1, who="v"), make_case()
    with pytest.raises(DataError, match="20 patients are in validation and test, the first is 'p0'"):
        evaluate_label_kind(test, test, few)
    with pytest.raises(DataError, match="expected the same"):
        evaluate_label_kind(make_case(labels=2, who="v"), test, few)
    with pytest.raises(DataError, match="every label is uncertain"):
        evaluate_label_kind(val, replace(test, truth=np.full_like(test.truth, -1)), few)


def test_where_nothing_shows_there_is_nothing_to_name(make_case, few):
    test = make_case()
    found = evaluate_label_kind(make_case(seed=1, who="v"), replace(test, truth=np.zeros_like(test.truth)), few)
    assert (found.chance, found.abstention, found.overall["top1"], found.overall["macro_ap"]) == (
        None,
        None,
        None,
        None,
    )
    assert found.overall["set_f1"].value < 1
    json.dumps(found.to_dict(), allow_nan=False)


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
