import pytest

from vesalius.data.annotations import ImageRecord
from vesalius.evaluation.audit.session import (
    AT_ONCE,
    ATTRIBUTES,
    UNRELATED,
    Substitution,
    flip,
    plain_name,
    plan,
    plan_empty,
)
from vesalius.prompts import find_target, read_bank
from vesalius.prompts.attributes import COLOURS, NUMBERS, SHAPES, SIZES


def describe(place: str) -> ImageRecord:
    prompts = {"p0": "", "p1": "polyp", "p2": ["round polyp", "oval polyp"], "p6": f"round polyp in {place}"}
    return ImageRecord("a.png", "a.png", prompts)


RECORDS = [describe("top left"), describe("left"), describe("bottom left"), describe("left")]


def of(substitutions: list[Substitution], test: str, kind: str | None = None) -> list[Substitution]:
    return [each for each in substitutions if each.test == test and kind in (None, each.kind)]


def test_own_prompts_are_compared_with_the_plain_name_one_wording_a_family():
    for number, wording in enumerate(["round polyp", "oval polyp"]):
        asked = of(plan(RECORDS, number, None), "wording")
        assert [each.reference for each in asked] == ["polyp", "polyp"]
        assert [each.prompt for each in asked] == [wording, RECORDS[number].prompts["p6"]]


def test_paraphrases_take_turns_until_all_were_asked():
    phrases = find_target("polyp").phrases
    images = -(-len(phrases) // AT_ONCE)
    asked = {
        each.prompt
        for number in range(images)
        for each in of(plan([RECORDS[0]] * images, number, "polyp"), "wording", "paraphrases")
    }
    assert asked == set(phrases) - {"polyp"}


def test_the_swapped_prompt_is_another_image_s_of_the_most_detailed_family():
    (swap,) = of(plan(RECORDS, 0, "polyp"), "swap")
    assert swap == Substitution("swap", "another image's p6", "round polyp in top left", "round polyp in bottom left")


def test_a_prompt_that_denies_or_says_the_same_is_no_swap():
    denial = ImageRecord("b.png", "b.png", {"p1": "polyp", "p6": "no polyp"})
    assert of(plan([RECORDS[1], denial, RECORDS[3]], 0, "polyp"), "swap") == []


def test_an_attribute_is_flipped_where_it_is_first_spoken_of():
    flips = {each.kind: each for each in of(plan(RECORDS, 0, None), "flip")}
    assert flips["shape"] == Substitution("flip", "shape", "round polyp", "triangular polyp")
    assert flips["side"].prompt == "round polyp in top right"
    assert flips.keys() == {"shape", "side", "height"}


def test_nothing_is_asked_instead_of_the_plain_name():
    assert of(plan(RECORDS, 0, None), "empty") == [Substitution("empty", "no words", "polyp", "")]


class TestAbsent:
    def test_of_a_known_target_everything_else_is_absent(self):
        asked = of(plan(RECORDS, 0, "polyp"), "absent")
        by_kind = {kind: {each.prompt for each in asked if each.kind == kind} for kind in {each.kind for each in asked}}
        assert by_kind["denials"] == set(find_target("polyp").absences)
        assert {"breast tumour", "lungs", "brain"} < by_kind["other targets"]
        assert not by_kind["other targets"] & set(find_target("polyp").phrases)
        assert by_kind["unrelated things"] == set(UNRELATED)
        assert {each.reference for each in asked} == {"polyp"}

    def test_what_the_image_may_show_is_not_among_it(self):
        prompts = {each.prompt for number in range(40) for each in of(plan(RECORDS * 10, number, "lungs"), "absent")}
        assert "hip bones" in prompts
        assert not prompts & {*find_target("liver").phrases, *find_target("aorta").phrases}

    def test_of_an_unknown_target_only_unrelated_and_given_things_are_known_to_be_absent(self):
        asked = of(plan(RECORDS, 0, None, ["a stent"]), "absent")
        assert {each.kind for each in asked} == {"unrelated things", "given phrases"}
        assert "a stent" in {each.prompt for each in asked}

    def test_unrelated_things_are_not_those_that_models_are_trained_on(self):
        known = {phrase for target in read_bank().values() for phrase in (*target.phrases, *target.absences)}
        assert not known & set(UNRELATED)

    def test_an_image_that_shows_nothing_is_asked_its_own_prompts_too(self):
        record = ImageRecord("n.png", "n.png", {"p0": "", "p1": "no polyp", "p2": ["no polyp", "healthy mucosa"]})
        asked = plan_empty(record, 0, "polyp")
        own = of(asked, "absent", "prompts of empty images")
        assert [(each.reference, each.prompt) for each in own] == [("", "no polyp"), ("", "healthy mucosa")]
        assert {each.test for each in asked} == {"absent"}


@pytest.mark.parametrize(
    ("prompts", "name"),
    [({"p0": "", "p1": ["polyp", "a polyp"]}, "polyp"), ({"other": "toe"}, "toe"), ({"p0": ""}, "")],
)
def test_the_plain_name_is_the_first_that_has_words(prompts, name):
    assert plain_name(ImageRecord("a.png", "a.png", prompts)) == name


PROMPT = "One small pink circle polyp, located in top left of the image"
FLIPPED = {
    "shape": "One small pink triangular polyp, located in top left of the image",
    "colour": "One small blue circle polyp, located in top left of the image",
    "size": "One large pink circle polyp, located in top left of the image",
    "number": "Three small pink circle polyp, located in top left of the image",
    "side": "One small pink circle polyp, located in top right of the image",
    "height": "One small pink circle polyp, located in bottom left of the image",
}


@pytest.mark.parametrize("attribute", FLIPPED)
def test_one_attribute_is_turned_round_and_the_rest_stays(attribute):
    assert flip(PROMPT, attribute) == FLIPPED[attribute]


def test_what_a_prompt_does_not_say_is_not_flipped():
    assert flip(PROMPT, "kind") is None
    assert all(flip("polyp", attribute) is None for attribute in ATTRIBUTES)


def test_both_sides_stay_both_sides():
    assert flip("left and right lung", "side") is None


def test_parts_of_words_are_no_words():
    assert flip("a smallish lefthanded tumour", "size") is None


def test_a_kind_is_exchanged_within_a_hyphenated_sentence():
    prompt = "Malignant, irregular-shaped tumor in the breast ultrasound image."
    assert flip(prompt, "kind") == "Benign, irregular-shaped tumor in the breast ultrasound image."
    assert flip(prompt, "shape") == "Malignant, round-shaped tumor in the breast ultrasound image."


@pytest.mark.parametrize(
    ("attribute", "words"), [("shape", SHAPES), ("colour", COLOURS), ("size", SIZES), ("number", NUMBERS[:10])]
)
def test_every_word_that_masks_are_described_with_has_another(attribute, words):
    assert all(flip(f"a {word} polyp", attribute) for word in words)
