from collections import Counter

import numpy as np
import pytest

from vesalius.errors import ConfigError
from vesalius.models.tokenizers import ClipTokenizer
from vesalius.prompts.anatomy import PAPER_STATIONS, AnatomyLabel, Statement, write_captions
from vesalius.prompts.anatomy_captions import PLAIN, CaptionMix, draw_caption, draw_statement

ABDOMEN = AnatomyLabel(
    "MR", "T2", "coronal", frozenset({"abdomen"}), frozenset({"liver", "kidneys", "intestine"}), frozenset({"lungs"})
)
DRAWS = 4000


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def drawn(generator) -> list[Statement]:
    return [draw_statement(ABDOMEN, CaptionMix(), generator) for _ in range(DRAWS)]


def test_the_plain_mix_is_the_papers_caption(generator):
    caption = draw_caption(ABDOMEN, PLAIN, generator)
    assert caption.text == (
        "A coronal oriented MR T2 image of liver, kidneys, intestine organs belong to abdomen region"
    )
    assert caption.asserts == ABDOMEN.known


def test_without_stations_the_plain_mix_is_the_papers_second_caption(generator):
    mix = CaptionMix(0, 0, 0, 0, 0, 0, stations=())
    assert draw_caption(ABDOMEN, mix, generator).text == (
        "An image of coronal MR T2 scan consisting of liver, kidneys, intestine organs"
    )


def test_the_papers_stations_have_no_word_for_the_upper_limb(generator):
    hand = AnatomyLabel("X-ray", stations=frozenset({"upper limb"}), organs=frozenset({"hand"}))
    assert draw_statement(hand, CaptionMix(), generator).stations == {"upper limb"}
    for _ in range(50):
        assert not draw_statement(hand, CaptionMix(stations=PAPER_STATIONS), generator).stations


def test_parts_are_dropped_as_often_as_the_mix_says(drawn):
    shares = {
        "station": np.mean([not said.stations for said in drawn]),
        "organs": np.mean([not said.organs for said in drawn]),
        "plane": np.mean([said.plane is None for said in drawn]),
        "protocol": np.mean([said.protocol is None for said in drawn]),
        "subset": np.mean([0 < len(said.organs) < 3 for said in drawn]),
    }
    expected = {"station": 0.25, "organs": 0.15, "plane": 0.1, "protocol": 0.1, "subset": 0.2 * 0.85}
    for part, share in shares.items():
        assert share == pytest.approx(expected[part], abs=4 * np.sqrt(0.25 / DRAWS)), part


def test_stations_and_organs_are_never_dropped_together(drawn):
    assert all(said.stations or said.organs for said in drawn)


def test_what_stands_alone_is_never_dropped(generator):
    mix = CaptionMix(drop_station=0.5, drop_organs=0.5)
    alone = Statement("CT", stations=frozenset({"chest"})), Statement("CT", organs=frozenset({"heart"}))
    for label in alone:
        assert {draw_statement(label, mix, generator) for _ in range(50)} == {label}


def test_every_subset_of_organs_occurs(drawn):
    subsets = Counter(said.organs for said in drawn)
    assert len(subsets) == 2**3
    assert set(subsets) == {frozenset(), ABDOMEN.organs} | {names for names in subsets if names < ABDOMEN.organs}


def test_what_is_uncertain_is_never_named(drawn):
    assert all("lungs" not in said.organs for said in drawn)


def test_without_shuffling_names_come_in_the_bodys_order(generator):
    texts = {draw_caption(ABDOMEN, CaptionMix(0, 0, 0, 0, 0, shuffle=0), generator).text for _ in range(50)}
    assert len(texts) == 1


def test_shuffling_changes_words_and_not_what_they_say(generator):
    captions = [draw_caption(ABDOMEN, CaptionMix(0, 0, 0, 0, 0), generator) for _ in range(500)]
    assert len({caption.text for caption in captions}) > 3 * len(write_captions(captions[0].asserts))
    assert len({caption.asserts for caption in captions}) == 1


def test_the_generator_decides_every_draw():
    texts = [
        [draw_caption(ABDOMEN, CaptionMix(), generator).text for _ in range(20)]
        for generator in (np.random.default_rng(seed) for seed in (1, 1, 2))
    ]
    assert texts[0] == texts[1] != texts[2]


def test_the_text_is_a_wording_of_what_it_asserts(draw_label, generator):
    mix = CaptionMix(shuffle=0)
    for _ in range(500):
        caption = draw_caption(draw_label(generator), mix, generator)
        assert caption.text == write_captions(caption.asserts)[0]


def test_no_caption_is_longer_than_clips_77_tokens(draw_label, generator):
    texts = [draw_caption(draw_label(generator), CaptionMix(), generator).text for _ in range(3000)]
    assert ClipTokenizer(100)(texts).attention_mask.sum(dim=1).max() <= 77


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"drop_plane": 1.5}, "drop_plane is a probability from 0 to 1, got 1.5"),
        ({"shuffle": float("nan")}, "shuffle is a probability"),
        ({"drop_station": 0.6, "drop_organs": 0.6}, "sum up to 1, got 0.6 and 0.6"),
        ({"stations": ("thorax",)}, "No station named 'thorax'"),
    ],
)
def test_a_mix_that_cannot_be_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        CaptionMix(**settings)
