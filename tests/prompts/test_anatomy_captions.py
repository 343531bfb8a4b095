import time
from collections import Counter
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from vesalius.errors import ConfigError, PromptError
from vesalius.models.tokenizers import ClipTokenizer
from vesalius.prompts.anatomy import ORGANS, PAPER_STATIONS, AnatomyLabel, Statement, write_captions
from vesalius.prompts.anatomy_captions import (
    PLAIN,
    CaptionMix,
    Contradiction,
    contradict,
    contradictions,
    draw_caption,
    draw_statement,
    entails,
    match_statements,
)

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


@pytest.mark.slow
def test_no_caption_is_longer_than_clips_77_tokens(draw_label, generator):
    pytest.importorskip("torch", reason="CLIP's tokens are PyTorch's tensors")
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
        "CT", "MR", "ultrasound", "endoscopy", "fundus", "photograph", "microscopy",
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


CHEST = AnatomyLabel(
    "CT", None, "axial", frozenset({"chest"}), frozenset({"lungs", "heart"}), frozenset({"liver", "abdomen"})
)


@pytest.mark.parametrize(
    ("statement", "answer"),
    [
        (Statement(), True),
        (Statement("CT", None, "axial", frozenset({"chest"}), frozenset({"heart"})), True),
        (Statement("MR"), False),
        (Statement("MR", "T1"), False),
        (Statement(plane="coronal"), False),
        (Statement(organs=frozenset({"liver"})), None),
        (Statement(stations=frozenset({"chest", "abdomen"})), None),
        (Statement(organs=frozenset({"liver", "brain"})), False),
        (Statement("MR", organs=frozenset({"liver"})), False),
        (Statement(stations=frozenset({"pelvis"})), False),
    ],
)
def test_a_statement_is_true_wrong_or_open(statement, answer):
    assert entails(CHEST, statement) is answer


@pytest.mark.parametrize(
    ("label", "statement", "answer"),
    [
        (AnatomyLabel(), Statement("CT"), None),
        (AnatomyLabel("MR"), Statement("MR", "T1"), None),
        (AnatomyLabel("MR", "T1"), Statement("MR"), True),
        (AnatomyLabel("MR", "T1"), Statement("MR", "T2"), False),
        (AnatomyLabel("CT"), Statement("MR", "T2"), False),
        (AnatomyLabel("CT"), Statement("CT", plane="axial"), None),
        (AnatomyLabel("CT"), Statement("CT", plane="axial", organs=frozenset({"brain"})), False),
    ],
)
def test_what_the_label_does_not_tell_is_open_unless_something_else_is_wrong(label, statement, answer):
    assert entails(label, statement) is answer


@pytest.mark.slow
def test_a_caption_drawn_from_a_label_is_true_of_it(draw_label, generator):
    labels = [draw_label(generator) for _ in range(1000)]
    for label in labels:
        assert entails(label, draw_caption(label, CaptionMix(), generator).asserts) is True


@pytest.mark.slow
@pytest.mark.parametrize("part", get_args(Contradiction))
def test_a_contradiction_is_never_true_or_open(part, draw_label, generator):
    found = 0
    for _ in range(500):
        label = draw_label(generator)
        drawn = contradict(label, part, CaptionMix(), generator)
        found += drawn is not None
        for wrong in contradictions(label, part):
            assert entails(label, wrong) is False
    assert found > 20


@pytest.mark.slow
def test_saying_less_never_makes_a_true_statement_false(draw_label, generator):
    for _ in range(1000):
        label, other = draw_label(generator), draw_label(generator)
        said = other.known if generator.random() < 0.5 else draw_statement(label, CaptionMix(), generator)
        order = {False: 0, None: 1, True: 2}
        less = draw_statement(said, CaptionMix(0.4, 0.4, 0.5, 0.5, 0.8), generator)
        assert order[entails(label, less)] >= order[entails(label, said)]


def test_all_that_is_known_of_a_slice_is_true(draw_label, generator):
    labels = [draw_label(generator) for _ in range(200)]
    assert all(entails(label, label.known) for label in labels)


def test_learning_more_of_a_slice_settles_answers_and_changes_none(draw_label, generator):
    for _ in range(300):
        label, statement = draw_label(generator), draw_statement(draw_label(generator), CaptionMix(), generator)
        before = entails(label, statement)
        assert before is None or entails(replace(label, uncertain=frozenset()), statement) is before


def test_the_matrix_is_every_pair(draw_label, generator):
    labels = [draw_label(generator) for _ in range(30)]
    statements = [draw_statement(label, CaptionMix(), generator) for label in labels[:20]]
    found = match_statements(labels, statements)
    assert found.true.shape == found.known.shape == (30, 20)
    for row, label in enumerate(labels):
        for column, statement in enumerate(statements):
            answer = entails(label, statement)
            assert found.known[row, column] == (answer is not None)
            assert found.true[row, column] == (answer is True)
    assert found.true.any()
    assert (~found.known).any()
    assert not (found.true & ~found.known).any()


def test_the_diagonal_of_a_batch_is_true(draw_label, generator):
    labels = [draw_label(generator) for _ in range(64)]
    captions = [draw_caption(label, CaptionMix(), generator) for label in labels]
    assert match_statements(labels, [caption.asserts for caption in captions]).true.diagonal().all()


def test_an_empty_batch_has_an_empty_matrix():
    assert match_statements([], [Statement()]).true.shape == (0, 1)
    assert match_statements([CHEST], []).known.shape == (1, 0)


def test_a_batch_of_256_takes_a_few_milliseconds(draw_label, generator):
    labels = [draw_label(generator) for _ in range(256)]
    statements = [draw_statement(label, CaptionMix(), generator) for label in labels]
    seconds = []
    for _ in range(5):
        start = time.process_time()
        match_statements(labels, statements)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.2  # a loop over all pairs takes seconds, and more of them where this takes more
