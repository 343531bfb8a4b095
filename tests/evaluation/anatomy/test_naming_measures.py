from dataclasses import replace

import numpy as np
import pytest

from vesalius.evaluation.naming.fitting import fit_platt
from vesalius.evaluation.naming.label_scores import LabelScores
from vesalius.evaluation.naming.measures import MEASURES, Judged, fit_thresholds


def judge(case: LabelScores, counted=None) -> Judged:
    everything = np.ones(len(case.labels), bool)
    thresholds, probabilities = fit_thresholds(case), fit_platt(case).probabilities(case.scores)
    return Judged(case, thresholds, probabilities, everything if counted is None else counted)


def values(judged: Judged, weights=None) -> dict[str, float]:
    rows = np.ones((1, len(judged.case.patients))) if weights is None else weights[None]
    return {name: drawn[0] for name, drawn in judged.measure(rows).overall.items()}


def test_there_is_one_value_for_each_measure(make_case):
    assert list(values(judge(make_case()))) == list(MEASURES)


def test_perfect_scores_give_one(make_case):
    case = make_case(uncertain=0.2)
    perfect = replace(case, scores=case.truth.astype(float))
    found = values(judge(perfect))
    assert {name: found[name] for name in list(MEASURES)[:6]} == dict.fromkeys(list(MEASURES)[:6], 1)


def test_the_order_of_images_changes_nothing(make_case, rng):
    case = make_case(images=60, uncertain=0.2)
    mixed = case.index_select(rng.permutation(60))
    assert values(judge(mixed)) == pytest.approx(values(judge(case)))


def test_what_is_uncertain_changes_nothing(make_case, rng):
    case = make_case(uncertain=0.3)
    other = replace(case, scores=np.where(case.known, case.scores, 50 * rng.normal(size=case.scores.shape)))
    assert values(judge(other)) == pytest.approx(values(judge(case)))


def test_a_weight_of_two_counts_an_image_twice(make_case, rng):
    judged = judge(make_case(images=30))
    weights = rng.integers(0, 3, 30)
    rows = np.repeat(np.arange(30), weights)
    again = Judged(judged.case.index_select(rows), judged.thresholds, judged.probabilities[rows], judged.counted)
    weighted, repeated = values(judged, weights.astype(float)), values(again)
    del weighted["ece"], repeated["ece"]  # bins of equal mass are those of the sample
    assert weighted == pytest.approx(repeated)


def test_macro_means_are_over_the_labels_that_count(make_case):
    case = make_case(labels=4)
    measured = judge(case, np.array([True, False, True, False])).measure(np.ones((1, 40)))
    assert measured.overall["macro_ap"][0] == pytest.approx(measured.ap[0, ::2].mean())
    assert measured.overall["macro_auroc"][0] == pytest.approx(measured.auroc[0, ::2].mean())
    assert np.isnan(judge(case, np.zeros(4, bool)).measure(np.ones((1, 40))).overall["macro_ap"]).all()


def test_a_macro_mean_is_as_sure_as_its_rarest_label(make_case):
    case = make_case(images=40, labels=2, uncertain=0)  # 20 patients
    truth = case.truth.copy()
    truth[:, 0] = np.arange(40) < 6  # three of them
    judged = judge(replace(case, truth=truth))
    assert judged.rarer_patients()[0] == 3
    assert (judged.deciding_patients("macro_ap"), judged.deciding_patients("set_f1")) == (3, 20)
