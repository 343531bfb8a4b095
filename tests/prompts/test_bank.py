from collections import Counter
from itertools import chain

import pytest

from vesalius.errors import PromptError
from vesalius.prompts import find_target, foreign_phrases, read_bank
from vesalius.prompts.bank import DISTRACTORS

TARGETS = sorted(read_bank().keys() - {DISTRACTORS})


def words(name: str) -> tuple[str, ...]:
    return (*read_bank()[name].phrases, *read_bank()[name].absences)


@pytest.mark.parametrize("name", sorted(read_bank()))
def test_phrases_are_words(name):
    assert read_bank()[name].phrases
    for phrase in words(name):
        assert phrase
        assert phrase == " ".join(phrase.split())


def test_no_phrase_stands_twice_whatever_its_case():
    counts = Counter(phrase.casefold() for phrase in chain.from_iterable(map(words, read_bank())))
    assert [phrase for phrase, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_can_be_said_to_be_absent(name):
    assert find_target(name).absences


@pytest.mark.parametrize("name", TARGETS)
def test_foreign_phrases_are_all_but_the_targets_own(name):
    groups = foreign_phrases(name)
    foreign = set(chain.from_iterable(groups))
    assert {row.phrases[0] for other, row in read_bank().items() if other not in (name, DISTRACTORS)} == set(groups[1])
    assert not foreign & set(find_target(name).phrases)
    assert set(find_target(name).absences) <= foreign
    for other in read_bank().keys() - {name}:
        assert set(read_bank()[other].phrases) <= foreign
        # That another thing is absent is true, and no reason for an empty mask.
        assert not set(read_bank()[other].absences) & foreign


def test_an_unknown_target_is_answered_with_the_closest():
    with pytest.raises(PromptError, match="No target named 'polyps'. Did you mean 'polyp'"):
        find_target("polyps")


def test_distractors_are_no_target():
    with pytest.raises(PromptError, match="No target named 'distractors'"):
        find_target(DISTRACTORS)
