import itertools
import re
from dataclasses import replace

import pytest

from vesalius.models.tokenizers import ClipTokenizer
from vesalius.prompts.anatomy import (
    MODALITIES,
    ORGANS,
    PLANES,
    PROTOCOLS,
    STATIONS,
    Statement,
    fitting_templates,
    read_anatomy_templates,
    write_captions,
)

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


def test_every_statement_can_be_written_and_its_captions_name_nothing_else():
    for said in statements():
        named = {said.modality, said.protocol, said.plane, *said.stations, *said.organs} - {None}
        texts = write_captions(said)
        assert texts
        for text in texts:
            assert names_in(text) == named


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
    for modality, protocol in [*((name, None) for name in MODALITIES), *(("MR", name) for name in PROTOCOLS)]:
        said = Statement(modality, protocol, plane, frozenset(STATIONS), frozenset(ORGANS))
        for stations in (said.stations, frozenset()):
            texts = write_captions(replace(said, stations=stations))
            assert ClipTokenizer(100)(texts).attention_mask.sum(dim=1).max() <= 77
