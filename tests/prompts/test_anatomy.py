import pytest

from vesalius.errors import PromptError
from vesalius.prompts.anatomy import (
    ORGANS,
    PAPER_STATIONS,
    PROTOCOLS,
    STATIONS,
    AnatomyLabel,
    Statement,
    phrases_of,
    stations_of,
)


def test_labels_are_the_papers_and_the_upper_limb():
    assert len(ORGANS) == len(set(ORGANS)) == 20
    assert PAPER_STATIONS == ("head", "chest", "abdomen", "pelvis", "lower body")
    assert STATIONS[5:] == ("upper limb",)
    assert PROTOCOLS == ("T1", "T2", "FLAIR", "DWI", "ADC", "STIR")


def test_no_name_stands_for_an_organ_and_a_station():
    assert not set(ORGANS) & set(STATIONS)


@pytest.mark.parametrize("kind", ["modality", "protocol", "plane", "station", "organ"])
def test_every_label_has_two_phrases_or_more_and_shares_none(kind):
    rows = phrases_of(kind).values()
    every = [phrase for row in rows for phrase in row]
    assert len(rows) > 1
    assert all(len(row) >= 2 for row in rows)
    assert len(every) == len(set(every))


@pytest.mark.parametrize("organ", ORGANS)
def test_every_organ_lies_in_a_station(organ):
    assert stations_of(organ)
    assert stations_of(organ) <= set(STATIONS)


def test_every_station_has_an_organ_and_only_the_intestine_lies_in_two():
    assert {station for organ in ORGANS for station in stations_of(organ)} == set(STATIONS)
    assert [organ for organ in ORGANS if len(stations_of(organ)) > 1] == ["intestine"]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"modality": "MRI"}, "No modality named 'MRI'"),
        ({"modality": "MR", "protocol": "t1"}, "No protocol named 't1'.*Available: ADC, DWI"),
        ({"plane": "oblique"}, "No plane named 'oblique'"),
        ({"stations": frozenset({"thorax"})}, "No station named 'thorax'"),
        ({"organs": frozenset({"lung"})}, "No organ named 'lung'. Did you mean 'lungs'"),
        ({"uncertain": frozenset({"kidney"})}, "No organ or station named 'kidney'. Did you mean 'kidneys'"),
        ({"modality": "CT", "protocol": "T1"}, "protocol T1 belongs to MR, got modality CT"),
        ({"protocol": "T1"}, "protocol T1 belongs to MR, got modality None"),
    ],
)
def test_what_does_not_exist_is_refused(parts, message):
    with pytest.raises(PromptError, match=message):
        AnatomyLabel(**parts)


def test_nothing_is_both_present_and_uncertain():
    with pytest.raises(PromptError, match="chest, heart: both present and uncertain"):
        AnatomyLabel(
            stations=frozenset({"chest"}), organs=frozenset({"heart"}), uncertain=frozenset({"heart", "chest", "liver"})
        )


def test_an_unknown_organ_or_label_kind_is_answered_with_the_closest():
    with pytest.raises(PromptError, match="Did you mean 'knee'"):
        stations_of("knees")
    with pytest.raises(PromptError, match="No label kind named 'organs'. Did you mean 'organ'"):
        phrases_of("organs")


def test_a_partial_label_leaves_open_what_is_not_said():
    nothing = AnatomyLabel.partial()
    assert nothing.uncertain == {*ORGANS, *STATIONS}
    chest = AnatomyLabel.partial("CT", plane="axial", stations=["chest"], organs=["heart"])
    assert chest.uncertain == set(ORGANS) - {"heart"}
    assert chest.organs == {"heart"}


def test_the_station_is_the_only_one():
    assert Statement(stations=frozenset({"chest"})).station == "chest"
    assert Statement(stations=frozenset({"chest", "abdomen"})).station is None
    assert Statement().station is None
