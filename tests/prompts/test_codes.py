import re
from collections import defaultdict
from collections.abc import Mapping

import pytest
from pydicom.sr._concepts_dict import concepts

from vesalius.errors import PromptError
from vesalius.prompts.anatomy import ORGANS, PAPER_STATIONS, PLANES, STATIONS, stations_of
from vesalius.prompts.codes import body_part_of, codes_of, stations_of_body_part

NOT_IN_DICOM = {"63337009", "67734004", "774007"}
"""Of IHE's value set; DICOM lacks two and words the third otherwise."""


@pytest.fixture(scope="module")
def meanings() -> Mapping[str, set[str]]:
    """SNOMED CT code -> how DICOM words it, by pydicom's dictionary."""
    found = defaultdict(set)
    for row in concepts["SCT"].values():
        for code, (meaning, _) in row.items():
            found[code].add(meaning)
    return found


def test_codes_and_meanings_are_dicoms(meanings):
    for label in (*ORGANS, *STATIONS, *PLANES, "oblique"):
        assert codes_of(label).sct, label
        for code in codes_of(label).sct:
            assert code.meaning in meanings[code.value], label


def test_every_station_has_a_term_and_a_region_of_ihe(meanings):
    for station in STATIONS:
        codes = codes_of(station)
        assert codes.body_part == body_part_of([station]).term
        region = codes.ihe_region
        assert region.value in NOT_IN_DICOM or region.meaning in meanings[region.value], station


def test_no_code_stands_for_two_labels():
    for read in (
        lambda codes: [code.value for code in codes.sct],
        lambda codes: [codes.body_part] if codes.body_part else [],
        lambda codes: list(codes.radlex),
        lambda codes: list(codes.fma),
    ):
        every = [value for label in (*ORGANS, *STATIONS) for value in read(codes_of(label))]
        assert len(every) == len(set(every))


def test_identifiers_look_like_those_of_their_systems():
    for label in (*ORGANS, *STATIONS):
        codes = codes_of(label)
        assert [value for value in codes.radlex if not re.fullmatch(r"RID\d+", value)] == [], label
        assert [value for value in codes.fma if not value.isdigit()] == [], label


def test_the_check_digits_of_snomed_ct_agree():
    """A mistyped digit would show, in the codes that DICOM's dictionary lacks too."""
    for label in (*ORGANS, *STATIONS, *PLANES, "oblique"):
        codes = codes_of(label)
        for code in (*codes.sct, *([codes.ihe_region] if codes.ihe_region else [])):
            assert verhoeff(code.value) == 0, f"{label}: {code.value}"


def verhoeff(value: str) -> int:
    """0 if the last digit is the check digit of the others: products in the dihedral group of ten elements."""
    permutation = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)
    check = 0
    for place, digit in enumerate(map(int, reversed(value))):
        for _ in range(place % 8):
            digit = permutation[digit]
        check = (check + digit if check < 5 else check - digit) % 5 + 5 * ((check < 5) != (digit < 5))
    return check


@pytest.mark.parametrize(
    ("stations", "term"),
    [
        (["chest", "abdomen"], "CHESTABDOMEN"),
        (["pelvis", "abdomen"], "ABDOMENPELVIS"),
        (["chest", "abdomen", "pelvis"], "CHESTABDPELVIS"),
        (["pelvis", "lower body"], "PELVISLOWEXTREMT"),
        (PAPER_STATIONS, "WHOLEBODY"),
        (STATIONS, "WHOLEBODY"),
        (["chest", "pelvis"], None),
        (["head", "chest"], None),
        ([], None),
    ],
)
def test_several_stations_have_one_term_or_none(stations, term, meanings):
    found = body_part_of(stations)
    assert (found and found.term) == term
    if found:
        assert found.code.meaning in meanings[found.code.value]
        assert len(found.term) <= 16
        assert found.term == found.term.upper()


def test_terms_are_read_as_they_are_written():
    for station in STATIONS:
        assert stations_of_body_part(body_part_of([station]).term) == {station}
    for stations in (["chest", "abdomen"], ["abdomen", "pelvis"], ["chest", "abdomen", "pelvis"], STATIONS):
        assert stations_of_body_part(body_part_of(stations).term) == set(stations)


def test_an_organs_term_may_stand_for_the_organs_stations():
    for organ in ORGANS:
        term = codes_of(organ).body_part
        assert term is None or stations_of_body_part(term) >= stations_of(organ), organ


@pytest.mark.parametrize(
    ("text", "stations"),
    [
        ("ARM", {"upper limb"}),
        ("LEG", {"lower body"}),
        ("EXTREMITY", {"upper limb", "lower body"}),
        ("JAW", {"head"}),
        ("CSPINE", {"head"}),
        ("LEFT KNEE", {"lower body"}),
        ("Kidneys", {"abdomen"}),
        ("LUMBAR SPINE", {"abdomen", "pelvis"}),
        ("Chest, Abdomen and Pelvis", {"chest", "abdomen", "pelvis"}),
        ("PARANASAL SINUSES", {"head"}),
        ("Pelvis and lower extremities", {"pelvis", "lower body"}),
        ("COLON", {"abdomen", "pelvis"}),
        ("HEADNECK", {"head"}),
        ("Head and Neck", {"head"}),
        ("abdomen_pelvis ", {"abdomen", "pelvis"}),
        ("Lower-Leg", {"lower body"}),
        ("NECKCHESTABDPELV", {"head", "chest", "abdomen", "pelvis"}),
        ("PHANTOM", set()),
        ("", set()),
    ],
)
def test_older_terms_and_free_spelling_are_read(text, stations):
    assert stations_of_body_part(text) == stations


def test_what_does_not_exist_is_answered_with_the_closest():
    with pytest.raises(PromptError, match="No label with codes named 'kidney'. Did you mean 'kidneys'"):
        codes_of("kidney")
    with pytest.raises(PromptError, match="No station named 'thorax'"):
        body_part_of(["thorax"])
