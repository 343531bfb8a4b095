import time
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from vesalius.prompts.anatomy import AnatomyLabel, Statement
from vesalius.prompts.anatomy_captions import (
    CaptionMix,
    Contradiction,
    contradict,
    contradictions,
    draw_caption,
    draw_statement,
    entails,
    match_statements,
)

CHEST = AnatomyLabel(
    "CT", None, "axial", frozenset({"chest"}), frozenset({"lungs", "heart"}), frozenset({"liver", "abdomen"})
)


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


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


def test_a_caption_drawn_from_a_label_is_true_of_it(draw_label, generator):
    labels = [draw_label(generator) for _ in range(1000)]
    for label in labels:
        assert entails(label, draw_caption(label, CaptionMix(), generator).asserts) is True


@pytest.mark.parametrize("part", get_args(Contradiction))
def test_a_contradiction_is_never_true_or_open(part, draw_label, generator):
    found = 0
    for _ in range(300):
        label = draw_label(generator)
        drawn = contradict(label, part, CaptionMix(), generator)
        found += drawn is not None
        for wrong in contradictions(label, part):
            assert entails(label, wrong) is False
    assert found > 20


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
        start = time.perf_counter()
        match_statements(labels, statements)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.02
