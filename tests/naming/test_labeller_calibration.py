import pytest

from vesalius.errors import ModelError
from vesalius.naming.phrasebook import LEAST_PROBABILITY, Calibration

ORGANS = {"labels": ["liver", "brain"], "slopes": [1.0, 2.0], "offsets": [0.0, -1.0]}


RULE = {
    "agrees": 0.1, "contradicts": -0.7, "least_slices": 3, "patients": 32, "wrongly_agrees": 0.05,
    "wrongly_contradicts": 0.04, "found_right": 0.7, "found_wrong": 0.3,
}  # fmt: skip


def read(threshold=0.5, **said):
    return Calibration.from_notes(
        {"naming": {"held_out": {}, "calibration": said, "threshold": threshold}}, "m.safetensors"
    )


def test_notes_without_calibration_leave_the_defaults():
    for notes in ({}, {"naming": {"held_out": {}}}, {"naming": None}):
        assert Calibration.from_notes(notes, "m") == Calibration({}, LEAST_PROBABILITY)


def test_notes_tell_scalings_and_threshold():
    found = read(organs=ORGANS, threshold=0.7)
    assert found.least_probability == 0.7
    assert found.scalings["organs"].labels == ("liver", "brain")
    assert "stations" not in found.scalings


def test_notes_tell_from_which_margin_a_header_is_judged():
    rule = Calibration.from_notes({"naming": {"audit": RULE}}, "m").audit
    assert (rule.agrees, rule.contradicts, rule.least_slices, rule.found_wrong) == (0.1, -0.7, 3, 0.3)
    assert Calibration.from_notes({}, "m").audit is None


@pytest.mark.parametrize(
    "wrong", [{"agrees": 2}, {"contradicts": 0.5}, {"patients": None}, {"found_right": float("nan")}]
)
def test_damaged_thresholds_are_named(wrong):
    with pytest.raises(ModelError, match=f"audit: expected {next(iter(wrong))} from"):
        Calibration.from_notes({"naming": {"audit": {**RULE, **wrong}}}, "m")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"organs": {**ORGANS, "labels": ["liver", "brian"]}}, "unknown labels brian"),
        ({"organs": {"labels": ["liver"]}}, "not the parameters"),
        ({"organs": "none"}, "damaged"),
        ({"plane": {**ORGANS}}, "unknown labels brain, liver"),
        ({"threshold": 2}, "expected 0 to 1, got 2"),
        ({"threshold": "often"}, "often"),
    ],
)
def test_damaged_notes_are_named(said, message):
    with pytest.raises(ModelError, match=message) as caught:
        read(**said)
    assert str(caught.value).startswith("m.safetensors: ")
