from typing import get_args

import numpy as np
import pytest

from vesalius.errors import PromptError
from vesalius.prompts.anatomy import ORGANS, AnatomyLabel, Statement
from vesalius.prompts.anatomy_captions import PLAIN, Contradiction, contradict, contradictions

KNEE = AnatomyLabel(
    "MR", "T1", "sagittal", frozenset({"lower body"}), frozenset({"knee"}), frozenset({"leg", "pelvis"})
)


def test_the_right_organ_stands_with_every_wrong_station():
    wrong = contradictions(KNEE, "stations")
    assert [each.station for each in wrong] == ["head", "chest", "abdomen", "upper limb"]
    assert all(each.organs == {"knee"} for each in wrong)


def test_a_wrong_organ_stands_in_the_right_station():
    wrong = contradictions(KNEE, "organs")
    assert len(wrong) == len(ORGANS) - 2
    assert all(each.stations == {"lower body"} for each in wrong)
    assert all(not each.organs & {"knee", "leg"} for each in wrong)


def test_another_modality_has_no_protocol_and_can_have_a_plane():
    assert contradictions(KNEE, "modality") == (Statement("CT", None, "sagittal", KNEE.stations, KNEE.organs),)
    assert [each.modality for each in contradictions(AnatomyLabel("X-ray"), "modality")] == [
        "CT", "MR", "ultrasound", "endoscopy",
    ]  # fmt: skip


def test_protocol_and_plane_are_replaced_by_all_others():
    assert [each.protocol for each in contradictions(KNEE, "protocol")] == ["T2", "FLAIR", "DWI", "ADC", "STIR"]
    assert [each.plane for each in contradictions(KNEE, "plane")] == ["axial", "coronal"]


def test_a_shorter_statement_stays_as_short():
    wrong = contradictions(KNEE, "stations", Statement("MR", stations=KNEE.stations))
    assert wrong[0] == Statement("MR", stations=frozenset({"head"}))


@pytest.mark.parametrize("part", get_args(Contradiction))
def test_nothing_contradicts_what_is_not_known(part):
    assert contradictions(AnatomyLabel.partial(), part) == ()
    assert contradict(AnatomyLabel.partial(), part, PLAIN, np.random.default_rng(0)) is None


def test_a_slice_that_may_show_everything_is_contradicted_by_no_organ():
    label = AnatomyLabel(organs=frozenset({"knee"}), uncertain=frozenset(ORGANS) - {"knee"})
    assert contradictions(label, "organs") == ()


def test_a_contradiction_is_drawn_among_all_and_worded():
    generator = np.random.default_rng(0)
    drawn = [contradict(KNEE, "stations", PLAIN, generator) for _ in range(100)]
    assert {caption.asserts for caption in drawn} == set(contradictions(KNEE, "stations"))
    assert drawn[0].text == (
        f"A sagittal oriented MR T1 image of knee organs belong to {drawn[0].asserts.station} region"
    )


def test_an_unknown_part_is_answered_with_the_closest():
    with pytest.raises(PromptError, match="No part of a statement named 'organ'. Did you mean 'organs'"):
        contradictions(KNEE, "organ")
