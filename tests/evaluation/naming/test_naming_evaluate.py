import json
from dataclasses import replace

import pytest

from vesalius.errors import DataError
from vesalius.evaluation.naming.evaluate import (
    count_evaluation_steps,
    evaluate_naming,
    evaluate_prevalence,
    evaluate_probe,
)
from vesalius.prompts.anatomy import ORGANS, AnatomyLabel

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def parts(make_slices):
    return [make_slices(seed=seed, who=who) for seed, who in enumerate("tvx")]


@pytest.fixture(scope="module")
def evaluation(build_tiny, parts, few):
    steps: list[int] = []
    found = evaluate_naming(build_tiny("clip_vit_b32"), *parts[1:], "tiny", few, steps.append)
    assert sum(steps) == count_evaluation_steps(*parts[1:])
    return found


def test_a_model_is_measured_in_every_way(evaluation):
    assert set(evaluation.label_kinds) == set(evaluation.contradictions) == set(evaluation.sensitivity)
    organs = evaluation.label_kinds["organs"]
    assert [each.label for each in organs.labels] == list(ORGANS)
    assert organs.chance == pytest.approx(1 / len(ORGANS))
    assert set(organs.left_out) == set(ORGANS) - {"brain", "lungs", "liver", "pelvic bone"}
    assert evaluation.contradictions["stations"].pairs == 24 * 5


def test_it_is_json(evaluation):
    content = json.loads(json.dumps(evaluation.to_dict(), allow_nan=False))
    assert content["name"] == "tiny"
    assert content["settings"]["min_patients"] == 3


def test_the_same_model_and_slices_give_the_same_numbers(evaluation, build_tiny, parts, few):
    again = evaluate_naming(build_tiny("clip_vit_b32"), *parts[1:], "tiny", few)
    assert again.to_dict() == evaluation.to_dict()


def test_a_probe_learns_what_an_untrained_model_cannot_say(evaluation, parts, few):
    probe = evaluate_probe(*parts, "linear probe", few)
    assert probe.label_kinds["stations"].overall["macro_auroc"].value > 0.95
    assert (
        probe.label_kinds["stations"].overall["top1"].value > evaluation.label_kinds["stations"].overall["top1"].value
    )
    assert probe.contradictions == {}
    assert set(probe.to_dict()["probe_c"]) == {"organs", "stations"}


def test_a_probe_is_not_tested_on_patients_that_it_learnt_from(parts, few):
    with pytest.raises(DataError, match="patients are in training and test, the first is 'x0'; split by patient"):
        evaluate_probe(parts[2], *parts[1:], "linear probe", few)


def test_prevalence_tells_nothing_apart(parts, few):
    overall = evaluate_prevalence(*parts, few).label_kinds["organs"].overall
    assert (overall["macro_auroc"].value, overall["macro_auroc"].low, overall["macro_auroc"].high) == (0.5, 0.5, 0.5)
    assert overall["macro_ap"].value == pytest.approx(0.25)


def test_a_label_kind_that_slices_do_not_tell_is_left_out(build_tiny, parts, few):
    stations = [AnatomyLabel.partial(each.modality, stations=each.stations) for each in parts[2].shown]
    untold = replace(parts[2], shown=tuple(stations))
    found = evaluate_naming(build_tiny("clip_vit_b32"), parts[1], untold, "tiny", few)
    assert list(found.label_kinds) == list(found.contradictions) == ["stations"]
    nothing = replace(parts[2], shown=tuple(AnatomyLabel.partial() for _ in stations))
    with pytest.raises(DataError, match="neither organs nor stations"):
        evaluate_prevalence(parts[0], parts[1], nothing, few)
