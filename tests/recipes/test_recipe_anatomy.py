"""What `experiments/pocket/anatomy.py` is made of; the whole needs the shared series and minutes."""

import tomllib

import numpy as np
import pytest
import torch

NAMES = ("labelled_slice", "mednist", "people", "anatomy_data", "anatomy_views", "anatomy_page", "anatomy")


@pytest.fixture(scope="module")
def recipe(import_script):
    """The recipe's modules by name."""
    return {name: import_script("experiments/pocket", name) for name in NAMES}


def test_a_kind_of_picture_leaves_in_doubt_only_what_is_near(recipe):
    hand = recipe["labelled_slice"].partial("X-ray", None, "upper limb", "hand")
    assert hand.organs == {"hand"}
    assert "brain" not in hand.uncertain
    assert "wrist" in hand.uncertain
    abdomen = recipe["mednist"].CLASSES["AbdomenCT"]
    assert abdomen.stations == {"abdomen"}
    assert {"chest", "pelvis", "liver"} <= abdomen.uncertain
    assert not {"head", "brain"} & abdomen.uncertain


def test_the_pictures_that_somebody_looked_at_are_told_apart(recipe):
    look_up, step = recipe["mednist"].look_up, recipe["mednist"].STEP
    assert look_up(5 * step).organs == {"pelvic bone"}
    assert look_up(26 * step).stations == {"chest"}
    assert look_up(9 * step).organs == {"liver"}
    assert "abdomen" in look_up(6 * step).uncertain


def test_a_grey_background_becomes_black(recipe):
    picture = np.full((32, 32), 100, np.uint8)
    picture[8:24, 8:24] = 180
    cleared = recipe["mednist"].take_background(picture)
    assert cleared[0, 0] == 0
    assert cleared[16, 16] > 200
    assert not recipe["mednist"].take_background(np.full((32, 32), 9, np.uint8)).any()


def make_slice(recipe, name="a", *, test=False):
    label = recipe["labelled_slice"].partial("MR", "axial", "head", "brain")
    picture = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    return recipe["labelled_slice"].LabelledSlice(picture, label, f"series {name}", name, test=test)


def test_views_are_seeded_and_what_is_tested_is_shown_as_it_is(recipe, build_tiny):
    see, slices = recipe["anatomy_views"].see, [make_slice(recipe), make_slice(recipe, "b", test=True)]
    assert see(slices[0], 48, 1, 0).equal(see(slices[0], 48, 1, 0))
    assert not see(slices[0], 48, 1, 0).equal(see(slices[0], 48, 2, 0))
    views = recipe["anatomy_views"].encode(build_tiny("pocket"), slices, [1])
    assert views.places == [1, 0, 0, 0]
    assert views.pooled.shape == (4, 432)


def test_a_series_is_right_if_a_third_of_it_shows_what_it_is_named(recipe):
    slices = [make_slice(recipe)] * 4
    labels = {"stations": ("head", "chest"), "modality": ("CT", "MR")}
    odds = {
        place: {"stations": torch.tensor([2.0, 1.0] if place else [0.0, 1.0]), "modality": torch.tensor([1.0, 0.0])}
        for place in range(4)
    }
    page = recipe["anatomy_page"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "QUESTIONS", tuple(labels))
        (score,) = page.score_series(slices, odds, labels)
    assert score.right == {"stations": 0.75, "modality": 0.0}
    assert score.named == {"stations": "head", "modality": "CT"}
    assert score.series_right == {"stations": True, "modality": False}


def test_the_page_says_what_is_wrong(recipe, tmp_path):
    page = recipe["anatomy_page"]
    right = page.SeriesScore("knee", "knee", 3, {"stations": 1.0}, {"stations": "lower body"}, {"stations": True})
    wrong = page.SeriesScore("chest", "x", 3, {"stations": 0.0}, {"stations": "head"}, {"stations": False})
    page.write_page(tmp_path / "page.md", [right, wrong], 6, 12)
    text = (tmp_path / "page.md").read_text()
    assert "Series right: 1 of 2; wrong: chest." in text
    assert "| chest | 3 | 0% | head | wrong |" in text


def test_what_was_labelled_by_looking_can_be_read(recipe):
    """Every label of people.toml is one that a slice may have."""
    people = recipe["people"]
    rows = tomllib.loads(people.TABLE.read_text(encoding="utf-8"))["series"]
    assert len({row["file"] for row in rows}) == len(rows) == 162
    assert len({row["patient"] for row in rows}) == 63
    for row in rows:
        ends = [last for field in ("stations", "organs") for each in row.get(field, {}).values() for _, last in each]
        labels = [people.label_of(row, index) for index in range(max(ends, default=0) + 1)]
        assert any(label is not None for label in labels), row["file"]
    chest = people.label_of(rows[0], 10)
    assert chest.stations == {"abdomen", "chest"}
    assert "heart" in chest.organs
    assert people.label_of({"modality": "CT", "plane": "axial", "empty": [[0, 2]]}, 1) is None


def test_people_are_shared_out_like_with_like(recipe, build_tiny):
    slices = [make_slice(recipe, name) for name in "abcdefghijk"]
    head = recipe["anatomy"].Head.__new__(recipe["anatomy"].Head)
    head.slices, head.patients = slices, sorted({each.patient for each in slices})
    folds = head.folds()
    assert sorted(sum(folds, [])) == head.patients
    assert {len(each) for each in folds} == {2, 3}
