import pytest

from vesalius.evaluation.audit.session import ATTRIBUTES, flip
from vesalius.prompts.attributes import COLOURS, NUMBERS, SHAPES, SIZES

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
