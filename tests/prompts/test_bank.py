from collections import Counter
from itertools import chain

import pytest

from vesalius.errors import PromptError
from vesalius.prompts import find_target, foreign_phrases, read_bank
from vesalius.prompts.bank import DISTRACTORS, to_bank

TARGETS = sorted(read_bank().keys() - {DISTRACTORS})


def words(name: str) -> tuple[str, ...]:
    row = read_bank()[name]
    return (*row.phrases, *row.compounds, *row.absences)


def test_phrases_are_words():
    for name, row in read_bank().items():
        assert row.phrases, name
        assert [phrase for phrase in words(name) if not phrase or phrase != " ".join(phrase.split())] == [], name


def test_no_phrase_stands_twice_whatever_its_case():
    counts = Counter(phrase.casefold() for phrase in chain.from_iterable(map(words, read_bank())))
    assert [phrase for phrase, count in counts.items() if count > 1] == []


def test_every_target_can_be_said_to_be_absent():
    assert [name for name in TARGETS if not find_target(name).absences] == []


def test_foreign_phrases_are_those_of_what_the_images_cannot_show():
    for name in TARGETS:
        denials, names, *others, distractors = foreign_phrases(name)
        shown = {name, DISTRACTORS, *find_target(name).may_show}
        foreign = {other: row for other, row in read_bank().items() if other not in shown}
        assert denials == find_target(name).absences, name
        assert set(names) == {row.phrases[0] for row in foreign.values()}, name
        assert set(others) == {row.phrases + row.compounds for row in foreign.values()}, name
        assert set(distractors) == set(read_bank()[DISTRACTORS].phrases) - shown, name


def test_nothing_an_image_may_show_is_said_to_be_absent():
    for name in TARGETS:
        target, foreign = find_target(name), set(chain.from_iterable(foreign_phrases(name)))
        shown = {
            each for entry in target.may_show for each in (read_bank()[entry].phrases if entry in TARGETS else [entry])
        }
        assert not foreign & {*target.phrases, *shown}, name
        # That another thing is absent is true, and no reason for an empty mask.
        others = chain.from_iterable(read_bank()[other].absences for other in TARGETS if other != name)
        assert not foreign & set(others), name


def test_organs_of_one_slice_show_each_other():
    organs = {"liver", "kidney", "spleen", "bladder", "hip_bone", "femur", "aorta", "spine", "stomach", "colon"}
    for name in organs:
        assert {name, *find_target(name).may_show} >= organs


def test_a_group_stands_for_its_members_but_the_target_itself():
    tables = {
        "disc": {"phrases": ["disc"], "may_show": ["eye", "text", "cup"]},
        "cup": {"phrases": ["cup"], "may_show": ["eye"]},
        "groups": {"eye": ["disc", "cup", "lens"]},
        DISTRACTORS: {"phrases": ["text", "lens"]},
    }
    bank = to_bank(tables)
    assert bank["disc"].may_show == ("cup", "lens", "text")
    assert bank["cup"].may_show == ("disc", "lens")


def test_a_group_has_targets_and_distractors():
    tables = {"cup": {"phrases": ["cup"]}, "groups": {"eye": ["cups"]}, DISTRACTORS: {"phrases": ["text"]}}
    with pytest.raises(PromptError, match=r"\[groups\], eye: No target or distractor named 'cups'. Did you mean 'cup'"):
        to_bank(tables)


def test_what_a_set_of_images_may_show_stands_in_for_what_the_target_s_images_may():
    _, names, *_, distractors = foreign_phrases("breast_tumour", ("lungs", "knee"))
    assert "lungs" not in names
    assert "lungs" in foreign_phrases("breast_tumour")[1]
    assert set(read_bank()[DISTRACTORS].phrases) - set(distractors) == {"knee"}


@pytest.mark.parametrize("entry", ["lung", "polyp", DISTRACTORS])
def test_what_may_be_shown_is_another_target_or_a_distractor(entry):
    tables = {
        "polyp": {"phrases": ["polyp"], "may_show": [entry]},
        "lungs": {"phrases": ["lungs"]},
        DISTRACTORS: {"phrases": ["text"]},
    }
    with pytest.raises(PromptError, match=rf"\[polyp\], may_show: No other target or distractor named '{entry}'"):
        to_bank(tables)


def test_an_unknown_target_is_answered_with_the_closest():
    with pytest.raises(PromptError, match="No target named 'polyps'. Did you mean 'polyp'"):
        find_target("polyps")


def test_distractors_are_no_target():
    with pytest.raises(PromptError, match="No target named 'distractors'"):
        find_target(DISTRACTORS)


def test_compounds_are_every_noun_in_every_place_and_asked_for_in_every_way():
    tables = {
        "polyp": {"phrases": ["polyp"], "nouns": ["polyp", "growth"], "places": ["in the gut"], "vague": ["lesion"]},
        DISTRACTORS: {"phrases": ["text"]},
        "requests": {"phrases": ["mark the {}"]},
    }
    polyp = to_bank(tables)["polyp"]
    assert polyp.compounds == ("polyp in the gut", "growth in the gut", "mark the polyp", "mark the growth")
    assert polyp.wordings == (("polyp",), polyp.compounds, ("lesion",))


def test_vague_words_are_nowhere_said_to_be_absent():
    vague = set(chain.from_iterable(find_target(name).vague for name in TARGETS))
    assert not vague & set(chain.from_iterable(chain.from_iterable(map(foreign_phrases, TARGETS))))
