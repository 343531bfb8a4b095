import pytest

from vesalius.prompts import mirror_prompt, read_bank

PROMPTS = [
    "one small polyp, located in top left of the image",
    "tumor at the bottom-right in the breast ultrasound image",
    "left and right lung, upper and lower lobes",
    "Left lung. TOP LEFT. Upper lobe",
    "",
    *(phrase for target in read_bank().values() for phrase in (*target.phrases, *target.absences)),
]
FLIPS = [{"horizontal": True}, {"vertical": True}, {"horizontal": True, "vertical": True}]


@pytest.mark.parametrize("flip", FLIPS)
def test_a_flip_undoes_itself(flip):
    for prompt in PROMPTS:
        if not any(word.isupper() for word in prompt.split() if len(word) > 2):
            assert mirror_prompt(mirror_prompt(prompt, **flip), **flip) == prompt


def test_both_flips_are_one_after_the_other():
    for prompt in PROMPTS:
        after = mirror_prompt(mirror_prompt(prompt, horizontal=True), vertical=True)
        assert mirror_prompt(prompt, horizontal=True, vertical=True) == after


def test_no_flip_changes_nothing():
    assert [mirror_prompt(prompt) for prompt in PROMPTS] == PROMPTS


def test_each_flip_swaps_its_own_sides_only():
    prompt = "top left, bottom right"
    assert mirror_prompt(prompt, horizontal=True) == "top right, bottom left"
    assert mirror_prompt(prompt, vertical=True) == "bottom left, top right"
    assert mirror_prompt("upper and lower lobe", vertical=True) == "lower and upper lobe"


def test_a_word_keeps_its_capital():
    assert mirror_prompt("Left lung, Top", horizontal=True, vertical=True) == "Right lung, Bottom"


@pytest.mark.parametrize("prompt", ["bright spot", "topic", "a clefted polyp", "stopped", "upright patient"])
def test_sides_inside_other_words_stay(prompt):
    assert mirror_prompt(prompt, horizontal=True, vertical=True) == prompt


@pytest.mark.parametrize(
    "prompt", ["left ventricle", "the Right atrium", "left and right ventricles", "left lower chamber of the heart"]
)
def test_a_side_that_belongs_to_a_name_stays(prompt):
    assert mirror_prompt(prompt, horizontal=True, vertical=True) == prompt
    assert mirror_prompt(f"{prompt} at the left", horizontal=True) == f"{prompt} at the right"
