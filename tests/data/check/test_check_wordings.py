import numpy as np
import pytest

from vesalius.data.check import check_dataset
from vesalius.data.check.wordings import denials, find_contradiction
from vesalius.imaging import write_mask


def messages(root) -> list[tuple[str, str]]:
    return [(finding.kind, finding.message) for finding in check_dataset(root).findings]


def test_lacking_and_rare_families_are_counted(root, change):
    change("train", lambda records: records[0].update(prompts={"p0": "", "p1": "polyp", "p9": "one polyp"}))
    assert messages(root) == [
        ("lacking_family", "images/train_0.png: prompts lack p2, which most records have; p2: 6 of 7."),
        ("rare_family", "images/train_0.png: prompts have p9, which most records lack; p9: 1 of 7."),
    ]


@pytest.mark.parametrize(
    ("wording", "kind"),
    [
        ("", "blank_prompt"),
        ([" ", "polyp"], "blank_prompt"),
        ("one {size} polyp", "unfilled_prompt"),
        ("polyp in nan of the image", "unfilled_prompt"),
        ("polyp <colour>", "unfilled_prompt"),
    ],
)
def test_wordings_with_gaps_are_found(root, change, wording, kind):
    change("val", lambda records: records[1]["prompts"].update(p1=wording))
    ((found, message),) = messages(root)
    assert found == kind
    assert "images/val_1.png: 'p1'" in message


@pytest.mark.parametrize("wording", ["polyp < 5 mm and > 2 mm", "polyp with undefined margins", "banana"])
def test_ordinary_words_are_no_gaps(root, change, wording):
    change("val", lambda records: records[1]["prompts"].update(p1=wording))
    assert messages(root) == []


def test_an_empty_mask_whose_prompt_says_so_gives_the_answer_away(root, change):
    write_mask(root / "masks/test_0.png", np.zeros((60, 80), bool))
    change("test", lambda records: records[0].update(prompts={"p0": "", "p1": "No polyp here.", "p2": "normal mucosa"}))
    assert messages(root) == [
        ("prompt_gives_answer", "images/test_0.png: p1, p2 say “No polyp here.” and the mask is empty.")
    ]


def test_an_empty_mask_that_no_prompt_betrays_is_another_finding(root):
    write_mask(root / "masks/test_0.png", np.zeros((60, 80), bool))
    assert messages(root) == [("empty_mask", "masks/test_0.png: nothing is marked, and no prompt says so.")]


@pytest.mark.parametrize(
    ("wording", "denied"),
    [
        ("no polyp", True),
        ("healthy breast with no mass", True),
        ("polyp with no stalk", False),
        ("normal liver", False),
    ],
)
def test_only_a_firm_denial_contradicts_a_mask(root, change, wording, denied):
    change("test", lambda records: records[0]["prompts"].update(p1=wording))
    assert [kind for kind, _ in messages(root)] == (["prompt_denies_mask"] if denied else [])


def test_denials_name_the_first_wording_of_each_family():
    prompts = {"p10": "without a lesion", "p2": ["polyp", "no polyp"], "p1": "polyp"}
    assert denials(prompts) == {"p2": "no polyp", "p10": "without a lesion"}


@pytest.mark.parametrize(
    ("one", "other", "how"),
    [
        ("benign tumor", "one benign tumor", None),
        ("malignant tumor", "tumor", None),
        ("No tumor in the breast", "Two tumor in the breast", "“No tumor in the breast” and “Two tumor in the breast”"),
        ("no edema", "cardiomegaly", None),
        ("no polyp", "no polyp", None),
    ],
)
def test_prompts_exclude_each_other_by_class_or_by_denial(one, other, how):
    assert find_contradiction({"p1": one}, {"p1": other}) == how
