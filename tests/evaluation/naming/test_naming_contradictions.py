import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import expit

from vesalius.evaluation.naming.contradictions import CaptionPairs, measure_contradictions, pair_captions
from vesalius.evaluation.naming.encoding import EncodedSlices
from vesalius.prompts.anatomy import ORGANS, PAPER_STATIONS, STATIONS, AnatomyLabel, Statement, write_captions


@pytest.fixture(scope="module")
def model(build_tiny):
    return build_tiny("clip_vit_b32")


def slices_of(*shown: AnatomyLabel) -> EncodedSlices:
    vectors = F.normalize(torch.randn(len(shown), 64, generator=torch.Generator().manual_seed(0)), dim=-1)
    return EncodedSlices(vectors, shown, tuple(f"p{number}" for number in range(len(shown))))


def label(stations, organs=(), uncertain=()) -> AnatomyLabel:
    return AnatomyLabel("CT", None, "axial", frozenset(stations), frozenset(organs), frozenset(uncertain))


def case_of(slices: EncodedSlices, labels=STATIONS):
    return slices.score(torch.zeros(len(slices.shown), len(labels)), "stations", labels)


def test_the_grid_is_every_true_station_against_every_one_that_is_surely_wrong(model):
    slices = slices_of(label({"chest", "abdomen"}), label({"head"}, uncertain={"chest"}), label(()))
    pairs = pair_captions(model, slices, "stations", PAPER_STATIONS)
    assert np.bincount(pairs.images, minlength=3).tolist() == [2 * 3, 3, 0]
    assert pairs.true_images.tolist() == [0, 0, 1]


def test_wrong_organs_are_said_of_the_right_station(model):
    pairs = pair_captions(model, slices_of(label({"abdomen"}, {"liver", "kidneys"}, {"intestine"})), "organs", ORGANS)
    assert len(pairs.true_of) == 2 * (len(ORGANS) - 3)


def test_scores_are_the_models_logits_of_the_papers_caption(model):
    slices = slices_of(label({"abdomen"}, {"liver"}))
    pairs = pair_captions(model, slices, "stations", PAPER_STATIONS)
    says = [Statement("CT", None, "axial", frozenset({each}), frozenset({"liver"})) for each in ("abdomen", "head")]
    with torch.no_grad():
        texts = model.encode_text([write_captions(each)[0] for each in says]).embedding
        expected = model.log_scale.exp() * slices.vectors @ texts.T
    assert (pairs.true_scores[0], pairs.false_scores[0]) == pytest.approx(tuple(expected[0].tolist()), abs=1e-4)


def test_wordings_are_averaged_as_vectors(model):
    slices = slices_of(label({"abdomen"}, {"liver"}))
    one, several = (pair_captions(model, slices, "stations", STATIONS, count) for count in (1, 4))
    assert not np.allclose(one.margins, several.margins)


def pairs_of(true, false, images) -> CaptionPairs:
    """One true caption an image."""
    places = np.array(images)
    return CaptionPairs(np.array(true, float), np.unique(places), np.array(false, float), places)


def test_numbers_are_those_worked_out_by_hand(few):
    slices = slices_of(label({"chest"}), label({"chest", "abdomen"}))
    found = measure_contradictions(pairs_of([2, 0], [1, 3, 0], [0, 0, 1]), case_of(slices), few)
    assert (found.images, found.pairs) == (2, 3)
    assert found.win_rate.value == pytest.approx((0.5 + 0.5) / 2)  # one of two, and a tie
    assert found.margin.value == pytest.approx(((1 - 1) / 2 + 0) / 2)
    assert found.preference.value == pytest.approx(((expit(1) + expit(-1)) / 2 + 0.5) / 2)
    assert found.auc.value == pytest.approx((2 + 0 + 0.5) / 6)  # 2 > 1, 0; 0 = 0
    assert {count: each.value for count, each in found.by_count.items()} == {1: 0.5, 2: 0.5}


def test_a_model_that_always_knows_wins_always(few):
    slices = slices_of(*[label({"chest"})] * 6)
    found = measure_contradictions(pairs_of([5] * 6, [1] * 6, range(6)), case_of(slices), few)
    for interval in (found.win_rate, found.auc):
        assert (interval.value, interval.low, interval.high) == (1, 1, 1)


def test_where_nothing_contradicts_there_is_no_result(model, few):
    slices = slices_of(label(()))
    assert measure_contradictions(pair_captions(model, slices, "stations", STATIONS), case_of(slices), few) is None


def test_it_is_json_without_the_images_own_values(model, few):
    slices = slices_of(label({"chest"}), label({"head"}))
    content = measure_contradictions(pair_captions(model, slices, "stations", STATIONS), case_of(slices), few).to_dict()
    assert "preferences" not in json.loads(json.dumps(content, allow_nan=False))
