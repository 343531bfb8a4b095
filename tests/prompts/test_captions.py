from itertools import pairwise

import pytest

from vesalius.prompts import ObjectWords, mirror_prompt, read_bank, read_templates, variants, write_prompts
from vesalius.prompts.captions import CONTEXT_LENGTH, fill_template, lint_templates

FOUND = {"number": "two", "size": "small", "location": "top left, right", "shape": "oval", "colour": "pink"}
POLYP = ObjectWords("polyp", "polyps", "endoscopy", ("a bump", "a growth"))


@pytest.fixture(scope="module")
def sets():
    return read_templates().sets


def test_the_endoscopy_families_read_as_the_benchmarks_do(sets):
    assert write_prompts(sets["endoscopy"], POLYP, FOUND) == {
        "p0": "",
        "p1": "polyp",
        "p2": "oval polyp",
        "p3": "pink oval polyp",
        "p4": "small pink oval polyp",
        "p5": "two small pink oval polyp",
        "p6": "two small pink oval polyp, located in top left, right of the image",
        "p7": ["polyp which is a bump", "polyp which is a growth"],
        "p8": ["two small pink oval polyp which is a bump", "two small pink oval polyp which is a growth"],
        "p9": [
            "two small pink oval polyp which is a bump located in top left, right of the image",
            "two small pink oval polyp which is a growth located in top left, right of the image",
        ],
    }


def test_the_endoscopy_families_have_the_form_of_the_benchmarks_own(sets, shared):
    from vesalius.data.annotations import read_annotations

    for record in read_annotations(shared / "data/segmentation/bkai_polyp/anns/test.json"):
        prompts = record.prompts
        if prompts["p1"] != "polyp":
            continue
        steps = [str(prompts[f"p{number}"]) for number in range(1, 6)]
        names = ("shape", "colour", "size", "number")
        added = [later.removesuffix(earlier).strip() for earlier, later in pairwise(steps)]
        words = dict(zip(names, added, strict=True))
        place = str(prompts["p6"]).removeprefix(f"{steps[-1]}, located in ").removesuffix(" of the image")
        definitions = tuple(each.removeprefix("polyp which is ") for each in variants(prompts, "p7"))
        outlined = ObjectWords("polyp", "polyps", "endoscopy", definitions)
        assert write_prompts(sets["endoscopy"], outlined, {**words, "location": place}) == prompts


def test_the_ultrasound_families_read_as_the_benchmarks_do(sets):
    tumour = ObjectWords("tumor", "tumors")
    made = write_prompts(sets["breast_ultrasound"], tumour, FOUND, file_name="100_benign.png")
    assert made["p1"] == "Tumor in the breast ultrasound image."
    assert made["p2"] == [
        "Benign tumor in the breast ultrasound image.",
        "Regular-shaped tumor in the breast ultrasound image.",
    ]
    assert made["p6"] == [
        "Two small oval-shaped benign tumors at the top left, right in the breast ultrasound image.",
        "Two small oval-shaped regular tumors at the top left, right in the breast ultrasound image.",
    ]


def test_what_a_file_name_does_not_tell_is_left_blank_or_out(sets):
    made = write_prompts(sets["breast_ultrasound"], ObjectWords("tumor", "tumors"), {**FOUND, "number": "one"})
    assert made["p4"] == "One small tumor in the breast ultrasound image."


def test_a_chest_x_ray_tells_what_else_is_outlined(sets):
    made = write_prompts(
        sets["chest_xray"],
        ObjectWords("edema", "edemas"),
        FOUND,
        file_name="patient1_view1_FRONTAL.jpg",
        present=["edema", "cardiomegaly"],
    )
    assert made["p2"] == "Edema in a frontal chest X-ray."
    assert made["p6"] == "Edema in a chest X-ray. Findings: edema, cardiomegaly."


def test_an_object_without_definitions_has_no_families_that_need_one(sets):
    made = write_prompts(sets["endoscopy"], ObjectWords("stone", "stones"), FOUND)
    assert list(made) == ["p0", "p1", "p2", "p3", "p4", "p5", "p6"]


@pytest.mark.parametrize("name", ["endoscopy", "breast_ultrasound", "chest_xray", "organ"])
def test_an_empty_mask_says_so_in_all_families_but_the_empty_one(sets, name):
    made = write_prompts(sets[name], POLYP, None)
    assert made.keys() == sets[name].families.keys()
    assert made["p0"] == ""
    assert {str(made[family]).lower()[:8] for family in made if family != "p0"} == {"no polyp"}


def test_a_word_that_is_not_known_leaves_a_template_out_and_with_a_question_mark_blank():
    assert fill_template("{a} {b}", {"a": "x"}) is None
    assert fill_template("{a} {b?} c", {"a": "x"}) == "x c"
    assert fill_template("{b?} c", {}, sentence=True) == "C"
    assert fill_template("", {}, sentence=True) == ""


def test_words_are_put_in_as_they_are():
    assert fill_template("{a}", {"a": "{b} \\1 {a}", "b": "no"}) == "{b} \\1 {a}"


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_definition_with_a_side_is_found(tmp_path):
    text = '[classes.spleen]\ndefinitions = ["an organ of the left side"]'
    assert "set organ, spleen, p6: names a side besides {location}" in issues(tmp_path, text, "organ")


def test_a_fault_is_told_once(tmp_path):
    lines = issues(tmp_path, HEAD + 'p2 = "{class} of the left lung"').splitlines()
    assert lines == [
        "set spare, object, p2: names a side besides {location}, which would be swapped when the image is flipped."
    ]
