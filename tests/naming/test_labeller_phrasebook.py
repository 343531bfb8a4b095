"""Phrases and their vectors, and calibrations in a model's notes."""

import numpy as np
import pytest
import torch

from vesalius.errors import ModelError
from vesalius.models.clip import phrase_vectors
from vesalius.naming.phrasebook import LABELS, LEAST_PROBABILITY, NamingCalibration, Phrasebook, label_phrases
from vesalius.prompts.anatomy import ORGANS, STATIONS, phrases_of
from vesalius.runtime.torch import TorchRuntime


@pytest.mark.parametrize("question", LABELS)
def test_labels_are_asked_in_different_words(question):
    asked = [label_phrases(question, label) for label in LABELS[question]]
    assert all(len(set(texts)) == len(texts) >= 2 for texts in asked)
    assert len({text for texts in asked for text in texts}) == sum(map(len, asked))


def test_uncalibrated_labels_share_their_probability(clairvoyant):
    book = Phrasebook(TorchRuntime(clairvoyant), NamingCalibration({}))
    odds = book.odds(np.random.default_rng(0).random((3, max(clairvoyant.rows.values()) + 1), np.float32))
    assert odds["organs"].shape == (3, len(ORGANS))
    shares = book.probabilities("stations", odds["stations"])
    assert shares.shape == (3, len(STATIONS))
    assert shares.sum(1) == pytest.approx(1)


def test_stations_and_organs_are_asked_in_captions_too():
    assert len(label_phrases("organs", "liver")) > len(phrases_of("organ")["liver"])
    assert label_phrases("plane", "axial") == phrases_of("plane")["axial"]


LIVER_BRAIN = {"labels": ["liver", "brain"], "slopes": [1.0, 2.0], "offsets": [0.0, -1.0]}


RULE = {
    "agrees": 0.1, "contradicts": -0.7, "least_slices": 3, "patients": 32, "wrongly_agrees": 0.05,
    "wrongly_contradicts": 0.04, "found_right": 0.7, "found_wrong": 0.3,
}  # fmt: skip


def read(threshold=0.5, **said):
    return NamingCalibration.from_notes(
        {"naming": {"held_out": {}, "calibration": said, "threshold": threshold}}, "m.safetensors"
    )


def test_notes_without_calibration_leave_the_defaults():
    for notes in ({}, {"naming": {"held_out": {}}}):
        assert NamingCalibration.from_notes(notes, "m") == NamingCalibration({}, LEAST_PROBABILITY)


def test_notes_tell_scalings_and_threshold():
    found = read(organs=LIVER_BRAIN, threshold=0.7)
    assert found.least_probability == 0.7
    assert found.scalings["organs"].labels == ("liver", "brain")
    assert "stations" not in found.scalings


def test_notes_tell_from_which_margin_a_header_is_judged():
    rule = NamingCalibration.from_notes({"naming": {"audit": RULE}}, "m").audit
    assert (rule.agrees, rule.contradicts, rule.least_slices, rule.found_wrong) == (0.1, -0.7, 3, 0.3)
    assert NamingCalibration.from_notes({}, "m").audit is None


@pytest.mark.parametrize(
    "wrong", [{"agrees": 2}, {"contradicts": 0.5}, {"patients": None}, {"found_right": float("nan")}]
)
def test_damaged_thresholds_are_named(wrong):
    with pytest.raises(ModelError, match=f"audit: expected {next(iter(wrong))} from"):
        NamingCalibration.from_notes({"naming": {"audit": {**RULE, **wrong}}}, "m")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"organs": {**LIVER_BRAIN, "labels": ["liver", "brian"]}}, "unknown labels brian"),
        ({"organs": {"labels": ["liver"]}}, "not the parameters"),
        ({"organs": "none"}, "damaged"),
        ({"plane": {**LIVER_BRAIN}}, "unknown labels brain, liver"),
        ({"threshold": 2}, "expected 0 to 1, got 2"),
        ({"threshold": "often"}, "often"),
    ],
)
def test_damaged_notes_are_named(said, message):
    with pytest.raises(ModelError, match=message) as caught:
        read(**said)
    assert str(caught.value).startswith("m.safetensors: ")


@pytest.mark.parametrize("said", [None, 5, "x", [1]])
@pytest.mark.parametrize("place", ["naming", "calibration", "audit", "organs"])
def test_notes_that_are_no_object_are_not_taken_for_none(place, said):
    notes = {"calibration": {"calibration": said}, "audit": {"audit": said}, "organs": {"calibration": {place: said}}}
    with pytest.raises(ModelError, match=f"calibration in its notes is damaged \\({place}: expected an object, got"):
        NamingCalibration.from_notes({"naming": notes.get(place, said)}, "m")


def test_phrase_vectors_are_unit_means(build_tiny):
    model = build_tiny("pocket")
    vectors = phrase_vectors(model, {"a": ("one phrase", "another"), "b": ("a third",)})
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(2))
    mean = model.encode_text(["one phrase", "another"]).embedding.mean(0)
    torch.testing.assert_close(vectors[0], mean / mean.norm())
