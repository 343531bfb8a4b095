import random

import pytest

from vesalius.errors import PromptError
from vesalius.prompts import read_bank, read_templates, sort_families, variants
from vesalius.prompts.templates import ANY_SET

SETS = {"endoscopy": 10, "breast_ultrasound": 7, "chest_xray": 7, "organ": 8}


def read(tmp_path, text: str):
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return read_templates(path)


@pytest.mark.parametrize(("name", "families"), SETS.items())
def test_each_set_has_its_families_of_which_p0_is_empty(name, families):
    family_set = read_templates().find_set(name)
    assert list(family_set.families) == [f"p{number}" for number in range(families)]
    assert family_set.families["p0"] == ("",)


def test_every_target_of_the_bank_has_words():
    classes = read_templates().classes
    assert read_bank().keys() - {"distractors"} <= classes.keys()


@pytest.mark.parametrize("name", ["polyp", "Polyp", "polyps", "breast_tumour", "breast tumour", "tumor"])
def test_objects_are_found_by_every_name_they_have(name):
    assert read_templates().find_object(name).definitions or name != "polyp"
    assert read_templates().find_object(name) in read_templates().classes.values()


def test_an_unknown_object_is_its_name():
    stone = read_templates().find_object("gall stone")
    assert (stone.name, stone.plural, stone.family_set, stone.definitions) == ("gall stone", "gall stones", ANY_SET, ())


def test_an_unknown_set_is_named_with_the_closest():
    with pytest.raises(PromptError, match=r"No set of prompt families named 'endoscpy'\. Did you mean 'endoscopy'\?"):
        read_templates().find_set("endoscpy")


def test_a_file_of_ones_own_extends_and_replaces(tmp_path):
    mine = read(
        tmp_path,
        """
        [classes.polyp]
        definitions = ["a mushroom"]
        [classes.tooth]
        name = "tooth"
        plural = "teeth"
        [sets.endoscopy.families]
        p3 = ["{colour} {class}", "a {class} of {colour} colour"]
        [sets.dental]
        absent = "no {class}"
        [sets.dental.families]
        p0 = ""
        p1 = "{class} {jaw}"
        [sets.dental.file_words.jaw]
        mx = "of the maxilla"
        """,
    )
    assert mine.find_object("polyp").definitions == ("a mushroom",)
    assert mine.find_object("polyp").family_set == "endoscopy"
    assert mine.find_object("tooth").plural == "teeth"
    assert mine.find_set("endoscopy").families["p3"] == ("{colour} {class}", "a {class} of {colour} colour")
    assert len(mine.find_set("endoscopy").families) == 10
    assert mine.find_set("dental").file_words == {"jaw": {"mx": "of the maxilla"}}
    assert read_templates().find_object("polyp").definitions != ("a mushroom",)


WRONG = {
    "no TOML": ("a =", "is not TOML"),
    "an unknown table": ("[set.x]", r"mine\.toml: No setting named 'set'\. Did you mean 'sets'\?"),
    "an unknown key": (
        '[sets.endoscopy]\nabsents = "no"',
        r"mine\.toml \[sets\.endoscopy\]: No setting named 'absents'",
    ),
    "no table": ("[sets]\nendoscopy = 3", r"\[sets\.endoscopy\]: expected a table, got 3"),
    "a set without absence": ('[sets.x.families]\np1 = "a"', r"\[sets\.x\]: absent is missing"),
    "a family that is no text": (
        "[sets.endoscopy.families]\np1 = 3",
        r"\[sets\.endoscopy\]: families\.p1 must be a list",
    ),
    "an empty family": ("[sets.endoscopy.families]\np1 = []", r"endoscopy\], p1: expected one template or more"),
    "a flag that is none": ('[sets.endoscopy]\nsentence = "yes"', r"sentence must be true or false, got 'yes'"),
    "an unknown word": (
        '[sets.endoscopy.families]\np1 = "{colr} {class}"',
        r"\[sets\.endoscopy\], p1: '\{colr\} \{class\}': No word named 'colr'\. Did you mean 'colour'\?",
    ),
    "a word reached into": (
        '[sets.endoscopy.families]\np1 = "{class.name}"',
        r"has a '\{' that belongs to no \{word\}",
    ),
    "a format": ('[sets.endoscopy.families]\np1 = "{class:>9999999999}"', r"has a '\{' that belongs to no"),
    "a stray brace": ('[sets.endoscopy]\nabsent = "no {class}}"', r"has a '\}' that belongs to no"),
    "an object without a name": ('[classes.x]\nplural = "xs"', r"\[classes\.x\]: name is missing"),
    "an object of no set": ('[classes.x]\nname = "x"\nset = "endo"', r"\[classes\.x\], set: No set of prompt families"),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_in_a_file_is_named_with_its_table(tmp_path, text, message):
    with pytest.raises(PromptError, match=message):
        read(tmp_path, text)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(PromptError, match=r"none\.toml: no such file"):
        read_templates(tmp_path / "none.toml")


def test_a_family_is_one_string_or_several():
    prompts = {"p0": "", "p1": "polyp", "p2": ["round polyp", "oval polyp"]}
    assert variants(prompts, "p0") == ("",)
    assert variants(prompts, "p1") == ("polyp",)
    assert variants(prompts, "p2") == ("round polyp", "oval polyp")


def test_a_missing_family_says_which_there_are():
    with pytest.raises(PromptError, match=r"prompts lack 'p7'; available: p0, p1, p10\."):
        variants({"p10": "c", "p0": "", "p1": "a"}, "p7")


def test_families_are_in_the_benchmarks_order_whatever_order_they_came_in():
    expected = [*(f"p{number}" for number in range(12)), "a_custom_one", "custom", "p", "px"]
    mixed = expected.copy()
    random.Random(0).shuffle(mixed)
    assert sort_families(mixed) == expected
    assert sort_families(dict.fromkeys(mixed, "")) == expected
