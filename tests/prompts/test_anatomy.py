import itertools
import re
from dataclasses import replace

import pytest

from vesalius.errors import PromptError
from vesalius.models.tokenizers import ClipTokenizer
from vesalius.prompts.anatomy import (
    MODALITIES,
    ORGANS,
    PAPER_STATIONS,
    PLANES,
    PROTOCOLS,
    STATIONS,
    AnatomyLabel,
    Statement,
    fitting_templates,
    phrases_of,
    read_anatomy_templates,
    stations_of,
    write_captions,
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


LIVER = Statement("CT", None, "axial", frozenset({"abdomen"}), frozenset({"liver"}))


def statements() -> list[Statement]:
    """One for every choice of parts that may be unknown."""
    modalities = [(None, None), ("CT", None), ("MR", None), *(("MR", protocol) for protocol in PROTOCOLS)]
    modalities += [(name, None) for name in MODALITIES[2:]]
    stations = [frozenset(names) for names in ((), ("lower body",), ("chest", "abdomen"), STATIONS)]
    organs = [frozenset(names) for names in ((), ("kidneys",), ("liver", "heart"), ORGANS)]
    parts = itertools.product(modalities, (None, *PLANES), stations, organs)
    return [Statement(*modality, plane, *rest) for modality, plane, *rest in parts]


def names_in(text: str) -> set[str]:
    """Labels that a caption names."""
    labels = (*MODALITIES, *PROTOCOLS, *PLANES, *STATIONS, *ORGANS)
    return {label for label in labels if re.search(rf"(?<![\w-]){label}(?![\w-])", text, re.IGNORECASE)}


def test_the_first_two_templates_are_the_papers():
    assert write_captions(Statement("MR", "T2", "sagittal", frozenset({"lower body"}), frozenset({"knee"})))[0] == (
        "A sagittal oriented MR T2 image of knee organs belong to lower body region"
    )
    assert write_captions(Statement("CT", None, "axial", organs=frozenset({"intestine", "liver"})))[0] == (
        "An image of axial CT scan consisting of liver, intestine organs"
    )


def test_there_are_eight_orders_of_words_or_more():
    words = ("axial", "ct", "liver", "abdomen")
    orders = {tuple(sorted(words, key=text.lower().index)) for text in write_captions(LIVER)}
    assert len(orders) >= 8


def test_every_template_is_of_use():
    assert set(read_anatomy_templates()) == {each for said in statements() for each in fitting_templates(said)}


@pytest.mark.slow
def test_every_statement_can_be_written_and_its_captions_name_nothing_else():
    for said in statements():
        named = {said.modality, said.protocol, said.plane, *said.stations, *said.organs} - {None}
        texts = write_captions(said)
        assert texts
        for text in texts:
            assert names_in(text) == named


@pytest.mark.slow
def test_captions_are_tidy_english():
    for text in itertools.chain.from_iterable(map(write_captions, statements())):
        assert not re.search(r"[{}\[\]]|  | ,|,,|^\W|\W$", text), text
        assert text[0].isupper()
        assert not re.search(r"\ban (?![aeiou]|MR\b|X-ray)|\ba (?=[aeiou]|MR\b|X-ray)", text, re.IGNORECASE), text
        assert not re.search(r"\bof the on|\b(in|of|with|by|on|the|and)$", text), text


@pytest.mark.parametrize(
    ("stations", "words"),
    [({"chest"}, "chest region"), ({"abdomen", "chest"}, "chest and abdomen regions")],
)
def test_several_stations_are_regions(stations, words):
    text = write_captions(Statement("CT", stations=frozenset(stations), organs=frozenset({"liver"})))[0]
    assert text == f"A CT image of the liver in the {words}"


def test_several_organs_are_enumerated():
    said = Statement(organs=frozenset({"kidneys", "liver", "lungs"}))
    assert write_captions(said)[0] == "An image of the lungs, liver and kidneys"


def test_nothing_known_is_an_image():
    assert write_captions(Statement()) == ("An image",)


@pytest.mark.parametrize("plane", PLANES)
def test_everything_at_once_fits_into_clips_77_tokens(plane):
    pytest.importorskip("torch", reason="CLIP's tokens are PyTorch's tensors")
    for modality, protocol in [*((name, None) for name in MODALITIES), *(("MR", name) for name in PROTOCOLS)]:
        said = Statement(modality, protocol, plane, frozenset(STATIONS), frozenset(ORGANS))
        for stations in (said.stations, frozenset()):
            texts = write_captions(replace(said, stations=stations))
            assert ClipTokenizer(100)(texts).attention_mask.sum(dim=1).max() <= 77
