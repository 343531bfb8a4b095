import math

import nibabel as nib
import numpy as np
import pytest
from tiny_body import BOXES, SHAPE, affine, body_values

from vesalius.data.slices import CutSettings, SeriesDescription, find_volumes
from vesalius.data.slices.cutting import NEIGHBOURS, choose_slices, cut, distant_organs, to_square, usable_planes
from vesalius.data.slices.series_table import SliceRange
from vesalius.errors import ConfigError, DataError, ImageError
from vesalius.imaging import read_image, write_rgb
from vesalius.prompts.anatomy import ORGANS, STATIONS, stations_of

pytestmark = pytest.mark.filterwarnings("ignore::vesalius.errors.ImageNotice")  # units of CT are guessed


def pictures(source, description=None, **settings):
    return list(cut(find_volumes(source, description)[0], CutSettings(**{"size": 64, **settings})))


def at(found, plane, position_mm):
    return min(
        (each for each in found if each.plane == plane), key=lambda each: abs(each.slice.position_mm - position_mm)
    )


def test_axial_slices_say_what_is_outlined_on_them(write_subject):
    found = pictures(write_subject())
    assert [each.plane for each in found] == ["axial"] * 5 + ["coronal"] * 5 + ["sagittal"] * 5
    low, high = at(found, "axial", -70), at(found, "axial", 170)
    assert low.label.stations == {"pelvis"}
    assert low.label.organs == {"pelvic bone"}
    assert high.label.stations == {"chest"}
    assert high.label.organs == {"lungs"}
    assert at(found, "axial", 60).label.organs == {"liver", "kidneys"}
    assert "knee" in low.label.uncertain, "no class of these tells a knee"
    assert not {"brain", "heart", "liver"} & (low.label.uncertain | low.label.organs)


def test_coronal_and_sagittal_labels_belong_to_the_slice_that_is_shown(write_subject):
    found = pictures(write_subject(), per_plane=30, spacing_mm=0)
    left, right = at(found, "sagittal", -45), at(found, "sagittal", 70)
    assert "kidneys" in left.label.organs
    assert "liver" not in left.label.organs
    assert "liver" in right.label.organs
    assert "kidneys" not in right.label.organs
    back, front = at(found, "coronal", -65), at(found, "coronal", 40)
    assert "intestine" not in back.label.organs
    assert front.label.organs >= {"intestine", "liver", "lungs"}
    assert front.label.stations >= {"chest", "abdomen"}
    shades = np.unique(to_square(front.slice.rgb_square(), 300))
    assert len(shades) > 5, "organs show"


def test_slices_are_square_padded_and_of_the_asked_size(write_subject):
    assert {each.levels.shape for each in pictures(write_subject())} == {(64, 64)}
    tall = to_square(np.ones((40, 10, 3), np.float32), 40)
    assert tall[:, :14].max() == 0
    assert tall[:, 16:24].min() == 255


def test_every_window_is_written(write_subject):
    found = pictures(write_subject(), windows=("lung", "bone"), per_plane=1)
    assert [each.window for each in found] == ["lung", "bone"] * 3


def test_a_label_map_says_the_same_as_mask_volumes(write_subject, write_label_map):
    masks, mapped = pictures(write_subject()), pictures(write_label_map())
    assert [each.label for each in masks] == [each.label for each in mapped]


def test_versions_and_modalities_name_their_structures_otherwise(write_subject):
    names = [name for name in BOXES if not name.startswith(("vertebrae", "sacrum"))]
    found = pictures(write_subject(modality="mri", names=names))
    assert {each.label.modality for each in found} == {"MR"}
    assert at(found, "axial", 170).label.stations == {"chest"}
    assert at(found, "axial", -70).label.stations == {"pelvis"}
    assert "neck" in at(found, "axial", 170).label.uncertain


def test_an_image_shown_in_half_keeps_the_other_halfs_organs_uncertain(write_subject):
    values = body_values()
    values[:20] = values.min()
    found = pictures(write_subject(values=values))
    middle = at(found, "axial", 60)
    assert "liver" in middle.label.organs
    assert "kidneys" in middle.label.uncertain


def test_a_series_without_outlines_shows_what_a_person_says(tmp_path):
    nib.save(nib.Nifti1Image(body_values(), affine()), tmp_path / "scan.nii.gz")
    description = SeriesDescription(
        stations=(SliceRange("pelvis", 0, 20), SliceRange("chest", 38)), organs=(SliceRange("liver"),)
    )
    found = pictures(tmp_path / "scan.nii.gz", description)
    low, middle, high = at(found, "axial", -70), at(found, "axial", 50), at(found, "axial", 170)
    assert (low.label.stations, high.label.stations) == ({"pelvis"}, {"chest"})
    assert middle.label.stations == set()
    assert {"pelvis", "chest", "abdomen", "kidneys"} <= middle.label.uncertain
    assert low.label.organs == {"liver"}
    assert all(not each.label.stations for each in found if each.plane != "axial"), "ranges are axial"


def test_ranges_beyond_the_volume_are_refused(tmp_path):
    nib.save(nib.Nifti1Image(body_values(), affine()), tmp_path / "scan.nii.gz")
    for beyond in (SliceRange("liver", 60), SliceRange("liver", 2, 60)):
        with pytest.raises(DataError, match="liver is said of slice 60; there are 0 to 59"):
            pictures(tmp_path / "scan.nii.gz", SeriesDescription(organs=(SliceRange("lungs", 0, 59), beyond)))


def test_an_organ_far_from_all_stations_is_warned_of(tmp_path):
    nib.save(nib.Nifti1Image(body_values(), affine()), tmp_path / "scan.nii.gz")
    description = SeriesDescription(stations=(SliceRange("head"),), organs=(SliceRange("foot"), SliceRange("brain")))
    with pytest.warns(UserWarning, match=r"scan\.nii\.gz: said to show foot, far from head; see if it does"):
        pictures(tmp_path / "scan.nii.gz", description)


def test_thick_slices_are_cut_only_as_they_were_taken(tmp_path):
    nib.save(nib.Nifti1Image(np.ones((20, 20, 5), np.float32), np.diag([1, 1, 5, 1])), tmp_path / "thick.nii.gz")
    assert usable_planes(read_image(tmp_path / "thick.nii.gz")) == ("axial",)


@pytest.mark.parametrize(("length", "spacing_mm"), [(60, 5.0), (7, 3.0), (300, 1.5), (1, 4.0), (11, 10.0)])
def test_slices_lie_apart_within_the_tissue(length, spacing_mm):
    tissue = np.zeros((length + 8, 4, 4), bool)
    tissue[3 : 3 + length] = True
    chosen = choose_slices(tissue, spacing_mm, CutSettings())
    assert 1 <= len(chosen) <= 5
    assert set(chosen) <= set(range(3, 3 + length))
    assert all(gap * spacing_mm >= 10 for gap in np.diff(chosen))
    assert choose_slices(tissue & False, spacing_mm, CutSettings()) == []


def test_masks_of_another_size_or_place_are_refused(write_subject):
    source = write_subject()
    liver = source / "s0001/segmentations/liver.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, np.uint8), np.diag([5.0, 5, 5, 1])), liver)
    with pytest.raises(ImageError, match=r"liver\.nii\.gz: lies elsewhere"):
        pictures(source)
    nib.save(nib.Nifti1Image(np.zeros((3, 3, 3), np.uint8), affine()), liver)
    with pytest.raises(ImageError, match=r"another size; expected the volume's \[60, 30, 40\]"):
        pictures(source)


def test_a_folder_that_names_no_known_structure_is_refused(write_subject):
    source = write_subject(names=())
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, np.uint8), affine()), source / "s0001/segmentations/spleen.nii.gz")
    with pytest.raises(DataError, match="names none of the structures"):
        pictures(source)


def test_a_modality_that_nobody_tells_or_that_contradicts_the_header_is_refused(tmp_path):
    nib.save(nib.Nifti1Image(np.ones((9, 9, 9), np.float32), np.eye(4)), tmp_path / "scan.nii.gz")
    with pytest.raises(DataError, match="say which with --modality"):
        pictures(tmp_path / "scan.nii.gz", SeriesDescription(stations=(SliceRange("head"),)))
    (tmp_path / "scan.json").write_text('{"Modality": "MR"}')
    with pytest.raises(DataError, match="said to be CT, but its header says MR"):
        pictures(tmp_path / "scan.nii.gz", SeriesDescription(modality="CT"))
    (tmp_path / "scan.json").write_text('{"Modality": "MR", "SeriesDescription": "Localizer"}')
    with pytest.raises(DataError, match="is a localizer"):
        pictures(tmp_path / "scan.nii.gz", SeriesDescription(organs=(SliceRange("brain"),)))


@pytest.mark.parametrize(
    ("code", "told", "expected"),
    [
        ("ct", None, "CT"), (" MR", "MR", "MR"), ("CT\\\\SR", "CT", "CT"),
        ("US", "ultrasound", "ultrasound"), ("US", None, "ultrasound"), ("OT", "CT", "CT"),
    ],
)  # fmt: skip
def test_modalities_are_compared_by_what_naming_calls_them(tmp_path, code, told, expected):
    nib.save(nib.Nifti1Image(body_values(), affine()), tmp_path / "scan.nii.gz")
    (tmp_path / "scan.json").write_text(f'{{"Modality": "{code}"}}')
    description = SeriesDescription(modality=told, stations=(SliceRange("chest"),))
    assert {each.label.modality for each in pictures(tmp_path / "scan.nii.gz", description)} == {expected}


def test_pictures_of_a_kind_without_a_name_are_left_out(tmp_path):
    nib.save(nib.Nifti1Image(body_values(), affine()), tmp_path / "scan.nii.gz")
    (tmp_path / "scan.json").write_text('{"Modality": "PT"}')
    for told, message in ((None, "modality PT; it has no name here; leave it out"), ("CT", "its header says PT")):
        with pytest.raises(DataError, match=message):
            pictures(tmp_path / "scan.nii.gz", SeriesDescription(modality=told, stations=(SliceRange("chest"),)))


@pytest.mark.parametrize(
    "wrong", [{"per_plane": 0}, {"spacing_mm": -1}, {"spacing_mm": math.nan}, {"size": 8}, {"windows": ()}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match="--per-plane must be 1 or more"):
        CutSettings(**wrong)


def test_an_unknown_window_is_refused():
    with pytest.raises(ImageError, match="Did you mean 'lung'"):
        CutSettings(windows=("lungs",))


def test_a_single_slice_is_cut_as_it_was_taken(tmp_path):
    flat = np.ones((20, 1, 20), np.float32) * np.arange(20, dtype=np.float32)
    nib.save(nib.Nifti1Image(flat, np.diag([1, 5, 1, 1])), tmp_path / "flat.nii.gz")
    found = pictures(
        tmp_path / "flat.nii.gz", SeriesDescription(modality="MR", protocol="T2", organs=(SliceRange("knee"),))
    )
    assert [each.label.plane for each in found] == ["coronal"]
    assert found[0].label.protocol == "T2"
    assert found[0].label.organs == {"knee"}


def test_a_picture_without_a_place_in_the_patient_is_refused(tmp_path):
    write_rgb(tmp_path / "scan.png", np.zeros((8, 8, 3)))
    with pytest.raises(DataError, match="has no place in the patient"):
        pictures(tmp_path / "scan.png", SeriesDescription(modality="CT", organs=(SliceRange("liver"),)))


def test_an_organ_with_a_range_is_absent_outside_of_it(tmp_path):
    nib.save(nib.Nifti1Image(body_values(), affine()), tmp_path / "scan.nii.gz")
    description = SeriesDescription(
        "CT", stations=(SliceRange("abdomen"),), organs=(SliceRange("liver", 0, 20), SliceRange("kidneys"))
    )
    found = pictures(tmp_path / "scan.nii.gz", description)
    low, high = at(found, "axial", -70), at(found, "axial", 170)
    assert (low.label.organs, high.label.organs) == ({"liver", "kidneys"}, {"kidneys"})
    assert "liver" not in high.label.uncertain
    across = next(each for each in found if each.plane == "coronal")
    assert (across.label.organs, "liver" in across.label.uncertain) == ({"kidneys"}, True)


def test_organs_far_from_the_stations_that_show_are_absent(tmp_path):
    nib.save(nib.Nifti1Image(body_values(), affine()), tmp_path / "scan.nii.gz")
    found = pictures(tmp_path / "scan.nii.gz", SeriesDescription("CT", stations=(SliceRange("head"),)))
    assert not {"liver", "knee"} & found[0].label.uncertain
    assert {"brain", "lungs"} <= found[0].label.uncertain


def test_neighbours_are_mutual():
    assert NEIGHBOURS.keys() == set(STATIONS)
    assert all(one in NEIGHBOURS[other] for one in STATIONS for other in NEIGHBOURS[one])


@pytest.mark.parametrize("organ", ORGANS)
def test_no_organ_is_distant_from_its_own_stations(organ):
    assert all(organ not in distant_organs({station}) for station in stations_of(organ))


def test_more_stations_rule_out_less():
    assert distant_organs({"chest", "abdomen"}) < distant_organs({"chest"})
    assert "knee" in distant_organs({"head"})
    assert "hand" not in distant_organs({"pelvis"})  # it may lie beside
