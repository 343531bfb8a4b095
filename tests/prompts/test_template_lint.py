import pytest

from vesalius.prompts import read_templates
from vesalius.prompts.captions import CONTEXT_LENGTH, lint_templates

HEAD = """
[sets.spare]
absent = "no {class}"
[sets.spare.file_words.view]
side = "lateral"
[sets.spare.families]
p0 = ""
p1 = "{class} in a picture"
"""


def count_words(prompt: str) -> int:
    return len(prompt.split()) + 2


def issues(tmp_path, text: str, family_set: str = "spare") -> str:
    """What is wrong with a set of a user's file; the package's own are checked once, below."""
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    found = [each for each in lint_templates(read_templates(path), count_words) if each.family_set.name == family_set]
    assert found
    return "\n".join(f"{issue.place}: {issue.message}" for lint in found for issue in lint.issues())


def test_nothing_is_wrong_with_the_packages_templates():
    pytest.importorskip("instant_clip_tokenizer", reason="of the extra train, whose models the templates must fit")
    from instant_clip_tokenizer import Tokenizer

    pairs = Tokenizer()
    lints = lint_templates(read_templates(), lambda prompt: len(pairs.encode(prompt)) + 2)
    assert [issue for lint in lints for issue in lint.issues()] == []
    assert {lint.family_set.name for lint in lints} == read_templates().sets.keys()


def test_every_word_of_every_attribute_is_rendered():
    (lint,) = (each for each in lint_templates(read_templates(), count_words) if each.outlined.name == "polyp")
    prompts = {prompt for family, prompt in lint.wordings if family == "p6"}
    for word in ("twenty", "tiny", "bottom right", "irregular", "purple", "no polyp"):
        assert any(word in prompt for prompt in prompts)


WRONG = {
    "an empty family": ('p2 = "{view?}"', "set spare, object, p2: is empty; only p0 is."),
    "a repetition": ('p2 = "{class} in a picture"', "p2: says the same as p1."),
    "a family that nothing fills": ('p2 = "{class}: {definition}"', "p2: is never written"),
    "stray punctuation": (
        'p2 = "{class} {view?}, in a picture"',
        "p2: has stray punctuation: 'object , in a picture'.",
    ),
    "a side that stays": ('p2 = "the topmost {class}"', "p2: says 'topmost', which stays when the image is flipped"),
    "a side of the body": ('p2 = "{class} of the left lung"', "p2: names a side besides {location}, which"),
    "a prompt that is too long": (
        f'p2 = "{{class}}{" long" * 75}"',
        f"p2: has 78 tokens, and CLIP reads {CONTEXT_LENGTH}",
    ),
}


@pytest.mark.parametrize(("line", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_named_with_set_object_and_family(tmp_path, line, message):
    assert message in issues(tmp_path, f"{HEAD}{line}")


def test_a_definition_with_a_side_is_found(tmp_path):
    text = '[classes.spleen]\ndefinitions = ["an organ of the left side"]'
    assert "set organ, spleen, p6: names a side besides {location}" in issues(tmp_path, text, "organ")


def test_a_fault_is_told_once(tmp_path):
    lines = issues(tmp_path, HEAD + 'p2 = "{class} of the left lung"').splitlines()
    assert lines == [
        "set spare, object, p2: names a side besides {location}, which would be swapped when the image is flipped."
    ]
