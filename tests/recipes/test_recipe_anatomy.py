"""What `experiments/pocket/anatomy.py` is made of; the whole needs the shared series and minutes."""

import json
import tomllib
from dataclasses import replace
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
import torch

from vesalius.imaging import read_image
from vesalius.models.calibration import PlattScaling
from vesalius.prompts.anatomy import ORGANS, STATIONS, AnatomyLabel

NAMES = (
    "labelled_slice", "mednist", "people", "target_slices", "anatomy_data", "anatomy_views", "anatomy_scores",
    "anatomy_figures", "anatomy_head", "anatomy_page", "other_sequences", "anatomy",
)  # fmt: skip


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
    assert views.pooled.shape == (4, 1024)


def test_a_series_is_right_if_a_third_of_it_shows_what_it_is_named(recipe):
    slices = [make_slice(recipe)] * 4
    labels = {"stations": ("head", "chest"), "modality": ("CT", "MR")}
    odds = {
        place: {"stations": torch.tensor([2.0, 1.0] if place else [0.0, 1.0]), "modality": torch.tensor([1.0, 0.0])}
        for place in range(4)
    }
    module = recipe["anatomy_scores"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "QUESTIONS", tuple(labels))
        (score,) = module.score_series(slices, odds, labels)
    assert score.right == {"stations": 0.75, "modality": 0.0}
    assert score.named == {"stations": "head", "modality": "CT"}
    assert score.series_right == {"stations": True, "modality": False}
    assert score.asked == {"stations": 4, "modality": 4}
    assert score.shown == {"stations": "head", "modality": "MR"}


@pytest.fixture
def make_score(recipe):
    """A series of one person, with a share of slices whose station is right."""

    def make(name, right, named, *, series_right, asked=4):
        return recipe["anatomy_scores"].SeriesScore(
            name, f"person {name}", asked, {"stations": right}, {"stations": named}, {"stations": series_right},
            {"stations": asked}, {"stations": "chest"},
        )  # fmt: skip

    return make


def test_every_person_counts_the_same_and_every_slice_beside_it(recipe, make_score):
    scores = [
        make_score("a", 1.0, "chest", series_right=True, asked=9),
        make_score("b", 0.0, "head", series_right=False, asked=1),
    ]
    row = recipe["anatomy_page"].summarise(scores).splitlines()[2]
    assert row.startswith("| stations | 2 | 0.50 [0.00, 1.00] (≥ 0.85) | 0.90 of 10 | 0.50 [0.00, 1.00] (≥ 0.95) |")


def test_headers_speak_before_pixels_and_pixels_where_headers_are_silent(recipe, make_score, tmp_path):
    rows = [
        {"file": "a.nii.gz", "header": {"ScanningSequence": "SE", "RepetitionTime": "4000", "EchoTime": "100"}},
        {"file": "b.nii.gz", "header": {}},
    ]
    (tmp_path / "series.json").write_text(json.dumps(rows))
    scores = [
        replace(make_score(name, 0.0, "", series_right=False), right={"protocol": 0.0}, named={"protocol": "T1"},
                shown={"protocol": "T2"})
        for name in "ab"
    ]  # fmt: skip
    found = recipe["anatomy"].ask_headers(tmp_path / "series.json", scores)
    assert found.named == {"person a": [True], "person b": [False]}
    assert found.told == {"person a": [True]}


def test_the_page_says_plainly_what_falls_short(recipe, make_score):
    module, scores = recipe["anatomy_page"], [make_score("a", 0.9, "chest", series_right=False)]
    found = SimpleNamespace(overall={"macro_auroc": SimpleNamespace(value=0.91)})
    page = SimpleNamespace(
        figures={"organs": SimpleNamespace(found=found)}, headers=module.HeaderProtocols({"a": [True]}, {})
    )
    said = module.say_what_falls_short(page, scores)
    assert said == "Short of what was asked for: stations of series 0.00 of 0.95, organs' macro AUROC 0.91 of 0.93."


def test_what_twice_as_many_people_would_bring_is_read_off_the_curve(recipe):
    head, page = recipe["anatomy_head"], recipe["anatomy_page"]
    questions = recipe["anatomy_scores"].QUESTIONS
    points = [
        head.CurvePoint(people, pictures=True, slices=dict.fromkeys(questions, share), series={})
        for people, share in ((10, 0.5), (20, 0.6), (40, 0.7))
    ]
    assert "stations +0.100" in page._outlook(points)


def test_a_long_series_is_drawn_less_than_in_proportion_and_a_made_one_as_often_as_asked(recipe):
    weigh = recipe["anatomy_head"].weigh
    shown = [make_slice(recipe, "a")] * 4 + [make_slice(recipe, "b"), make_slice(recipe, "c", test=True)]
    shown += [replace(shown[0], series="series a as T2", made="contrast")]
    assert weigh(shown, 0.4).tolist() == pytest.approx([0.5] * 4 + [1.0, 0.0, 0.4])
    assert weigh(shown, 0.4, {"a"}).tolist() == [0, 0, 0, 0, 1, 0, 0]


BODY = {
    "modality": "CT",
    "plane": "axial",
    "stations": {"abdomen": [[0, 7]], "chest": [[8, 15]]},
    "organs": {"liver": [[3, 6]], "lungs": [[8, 15]]},
    "uncertain": {"head": [[15, 15]]},
    "empty": [],
}
"""16 axial slices, feet first."""


@pytest.fixture
def make_body():
    """A CT whose chest lies above one half of its abdomen alone."""

    def make(path, spacing=(4.0, 4.0, 10.0)):
        values = np.full((30, 30, 16), -1000, np.int16)
        values[4:26, 6:24, :8] = 50
        values[15:26, 6:24, 8:] = 50
        nibabel.save(nibabel.Nifti1Image(values, np.diag([*spacing, 1.0])), path)
        path.with_name(path.name.replace(".nii.gz", ".json")).write_text('{"Modality": "CT"}')
        return read_image(path)

    return make


def test_a_series_is_cut_across_and_shows_the_stations_that_the_slice_meets(recipe, make_body, tmp_path):
    module = recipe["people"]
    image = make_body(tmp_path / "body.nii.gz")
    cut = list(module.cut_across({"patient": "somebody", **BODY}, image, "body", 64))
    assert {(each.series, each.patient, each.native, each.made) for each in cut} == {
        ("body across", "somebody", False, "across")
    }
    planes = [each.label.plane for each in cut]
    assert set(planes) == {"coronal", "sagittal"}
    assert max(planes.count(each) for each in planes) <= module.MOST_ACROSS
    for each in cut:
        chest = each.picture[:24].any()  # the picture is a square about 16 slices of 10 mm
        assert each.label.stations == ({"abdomen", "chest"} if chest else {"abdomen"})
        assert each.label.uncertain == ({"liver", "lungs", "head"} if chest else {"liver"})
        assert not each.label.organs
        assert (each.label.modality, each.label.protocol) == ("CT", None)
    assert any("chest" not in each.label.stations for each in cut)
    assert "chest" in cut[planes.index("coronal")].label.stations


def test_thin_slabs_are_not_cut_across_and_slices_along_the_body_leave_stations_open(recipe, make_body, tmp_path):
    cut_across = recipe["people"].cut_across
    row = {"patient": "somebody", **BODY}
    assert not list(cut_across(row, make_body(tmp_path / "slab.nii.gz", (4.0, 4.0, 6.0)), "slab", 64))
    along = {**row, "plane": "sagittal", "stations": {"abdomen": [[0, 29]], "chest": [[10, 29]]}, "uncertain": {}}
    image = make_body(tmp_path / "along.nii.gz", (10.0, 4.0, 4.0))
    assert image.nearest_plane == "sagittal"
    axial = [each for each in cut_across(along, image, "along", 64) if each.label.plane == "axial"]
    assert axial
    assert all(not each.label.stations and {"abdomen", "chest"} <= each.label.uncertain for each in axial)


SHADES = {"air": 0.0, "fat": 0.9, "muscle": 0.36, "fluid": 0.16, "grey": 0.55, "white": 0.76}
"""Of tissues on T1."""


def make_t1(recipe, *organs):
    """Air, fat around, and a round brain of white and grey matter with fluid inside; or muscle without organs."""
    rows, columns = np.mgrid[:320, :320]
    radius = np.hypot(rows - 160, columns - 160)
    picture = np.where(radius < 140, SHADES["fat"], SHADES["air"])
    for tissue, limit in (("grey", 120), ("white", 90), ("fluid", 30)) if organs else (("muscle", 120), ("fluid", 30)):
        picture = np.where(radius < limit, SHADES[tissue], picture)
    label = recipe["labelled_slice"].partial("MR", "axial", "head" if organs else "lower body", *organs)
    label = replace(label, protocol="T1")
    return recipe["labelled_slice"].LabelledSlice(np.round(255 * picture).astype(np.uint8), label, "one", "somebody")


def paint_all(recipe, *slices, brain=120):
    """Protocol -> shades at the middle, at radii of 60, 105 and 130, and outside."""
    rows, columns = np.mgrid[:320, :320]
    painted = list(recipe["other_sequences"].repaint(slices, lambda _: np.hypot(rows - 160, columns - 160) < brain))
    assert all(each.made and not each.native and each.patient == "somebody" for each in painted)
    return {each.label.protocol: each.picture[160, [160, 220, 265, 290, 310]].astype(int) for each in painted}


def test_a_head_is_painted_as_other_sequences_show_its_tissues(recipe):
    found = paint_all(recipe, make_t1(recipe, "brain"))
    assert set(found) == {"T2", "FLAIR", "DWI", "ADC"}
    for name, (fluid, white, grey, fat, air) in found.items():
        assert air < 40, name
        assert fluid > max(grey, white) if name in ("T2", "ADC") else fluid < min(grey, white), name
        assert fat > 80 if name in ("T2", "FLAIR") else fat < 60, name


def test_elsewhere_fat_goes_dark_or_fluid_bright(recipe):
    found = paint_all(recipe, make_t1(recipe))
    assert set(found) == {"T2", "STIR"}
    fluid, muscle, *_, air = found["STIR"]
    assert fluid > muscle > air
    assert found["STIR"][3] < muscle < fluid
    assert found["T2"][3] > found["T2"][1]


def test_a_brain_that_is_outlined_badly_is_not_painted(recipe):
    assert not paint_all(recipe, make_t1(recipe, "brain"), brain=20)
    assert not paint_all(recipe, replace(make_t1(recipe, "brain"), test=True))
    module = recipe["other_sequences"]
    rows, columns = np.mgrid[:320, :320]
    pieces = (np.hypot(rows - 80, columns - 80) < 60) | (np.hypot(rows - 240, columns - 240) < 60)
    assert not list(module.repaint([make_t1(recipe, "brain")], lambda _: pieces))


def test_a_painted_slice_keeps_its_contrast_and_its_protocol(recipe):
    views = recipe["anatomy_views"]
    painted = replace(make_t1(recipe, "brain"), made="contrast")
    assert {views.label_view(painted, number, 0).protocol for number in range(1, 9)} == {"T1"}
    assert {views.label_view(make_t1(recipe, "brain"), number, 0).protocol for number in range(1, 9)} == {"T1", None}


def test_the_most_surely_wrong_slices_are_found_one_of_a_series(recipe):
    figures = recipe["anatomy_figures"]
    slices = [make_slice(recipe)] * 3 + [make_slice(recipe, "b")]
    scaling = PlattScaling(("head", "chest"), (1.0, 1.0), (0.0, 0.0))
    odds = {place: {"stations": torch.tensor([0.0, chest])} for place, chest in enumerate((1.0, 3.0, -1.0, 2.0))}
    found = figures.find_worst(slices, odds, ("head", "chest"), scaling, 10)
    assert [(each.series, each.number, each.said) for each in found] == [
        ("series a", 1, "chest"), ("series b", 0, "chest"),
    ]  # fmt: skip


def test_probabilities_of_a_person_come_from_the_other_parts(recipe):
    figures = recipe["anatomy_figures"]
    slices = [make_slice(recipe, name) for name in "abcd"]
    labels = {"stations": STATIONS, "organs": ORGANS}
    draws = torch.Generator().manual_seed(0)
    odds = {
        place: {name: torch.randn(len(every), generator=draws) for name, every in labels.items()} for place in range(4)
    }
    folds = [["a", "b"], ["c", "d"]]
    found = figures.measure(slices, odds, folds, labels, "stations")
    other = {place: values for place, values in odds.items() if place > 1}
    scaling = figures.calibrate(slices, other, labels)["stations"]
    own = torch.stack([odds[place]["stations"] for place in (0, 1)]).double().numpy()
    assert np.allclose(found.judged.probabilities[:2], scaling.probabilities(own))
    assert found.people == 4


def test_what_pictures_show_follows_their_folder_and_masks(recipe):
    targets = recipe["target_slices"]
    rows = tomllib.loads(targets.LABELS.read_text(encoding="utf-8"))
    for row in rows.values():
        known = dict.fromkeys(row.get("organs", {}), True)
        assert targets.label_of(row, "a_axi_1.jpg", known).modality == row["modality"]
        assert set(row.get("absent", ())) <= set(known)
    both = rows["curvas-abdominal-multiorgan"]
    label = targets.label_of(both, "1.jpg", {"liver": False, "kidneys": True, "pancreas": False})
    assert label.organs == {"kidneys"}
    assert "liver" not in label.uncertain
    assert "chest" in label.uncertain
    assert "head" not in label.uncertain
    assert targets.says(both, {"liver": False, "kidneys": True})
    assert not targets.says(both, {"liver": False})
    sagittal = targets.label_of(rows["prostate-cancer-mri"], "1_sag_2.jpg", {"prostate": True})
    assert (sagittal.plane, sagittal.protocol, sagittal.stations) == ("sagittal", "T2", {"pelvis"})
    assert targets.label_of(rows["leukocyte"], "1.jpg", {"white blood cell": True}) == AnatomyLabel("microscopy")
    retina = targets.label_of(rows["smdg-glaucoma"], "1.jpg", {"optic disc": True})
    assert retina == AnatomyLabel("fundus", uncertain=frozenset({"head"}))


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
    head = recipe["anatomy_head"].Head.__new__(recipe["anatomy_head"].Head)
    head.slices, head.patients = slices, sorted({each.patient for each in slices})
    folds = head.folds()
    assert sorted(sum(folds, [])) == head.patients
    assert {len(each) for each in folds} == {2, 3}
