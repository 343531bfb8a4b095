from dataclasses import replace

import numpy as np
import pytest

from vesalius.naming.labeller import header_modality, header_plane, header_protocol
from vesalius.naming.labels import Answer

MR = Answer("MR", None, "header")


@pytest.mark.parametrize(("code", "label"), [("CT", "CT"), ("DX", "X-ray"), ("US", "ultrasound"), ("PT", None)])
def test_codes_become_labels(make_volume, code, label):
    answer = header_modality(make_volume("head", modality=code, header={"Modality": code}))
    assert (answer.label, answer.source) == (label, "header")


def test_screen_shots_and_unknown_files_leave_it_to_the_pixels(make_volume):
    assert header_modality(make_volume("head", modality="OT", header={"Modality": "OT"})) is None
    assert header_modality(make_volume("head", modality=None)) is None


def test_values_in_hu_are_said_to_be_such(make_volume):
    assert header_modality(make_volume("head", modality="CT")).source == "values"


def test_a_header_that_names_another_technique_is_not_overruled(make_volume):
    header = {"ScanningSequence": "GR", "EchoTime": "40", "RepetitionTime": "500"}
    answer = header_protocol(make_volume("head", modality="MR", header=header), MR)
    assert (answer.label, answer.source) == (None, "header")
    assert "T2*" in answer.evidence


def test_a_header_that_says_nothing_leaves_the_protocol_to_the_pixels(make_volume):
    assert header_protocol(make_volume("head", modality="MR"), MR) is None
    assert header_protocol(make_volume("head", modality=None), MR) is None
    assert header_protocol(make_volume("head"), Answer("CT", None, "header")).label is None


def test_oblique_slices_are_called_so_with_their_angle(make_volume):
    turn = np.eye(4)
    cosine, sine = np.cos(np.radians(40)), np.sin(np.radians(40))
    turn[1:3, 1:3] = [[cosine, -sine], [sine, cosine]]
    volume = replace(make_volume("head"), affine=turn @ make_volume("head").affine, plane="oblique")
    answer = header_plane([volume], MR)
    assert (answer.label, answer.evidence) == ("oblique", "40° from axial")


def test_radiographs_have_no_plane(make_volume):
    picture = make_volume("chest", affine=None, plane=None)
    assert header_plane([picture], Answer("X-ray", None, "header")).label is None
    assert header_plane([picture], MR) is None
