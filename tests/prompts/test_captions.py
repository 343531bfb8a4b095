from itertools import pairwise

import pytest

from vesalius.prompts import ObjectWords, read_templates, variants, write_prompts
from vesalius.prompts.captions import fill_template

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
