import numpy as np
import pytest

from vesalius.data.slices.outlines import Structures, crop
from vesalius.data.slices.visibility import (
    ABSENT,
    PRESENT,
    UNCERTAIN,
    organ_states,
    read_visibility_rules,
    station_levels,
)
from vesalius.prompts.anatomy import ORGANS, STATIONS

SHAPE = (40, 20, 20)
STEP_MM = 10.0
"""One voxel of a slice is 1 cm²."""


def structures(predicted=False, solid=1.0, **boxes) -> Structures:
    """Each box: first level, last level, cm² on an axial slice (a row of voxels at the back, another for each name)."""
    regions, clean = {}, {}
    for row, (name, box) in enumerate(boxes.items()):
        mask = np.zeros(SHAPE, bool)
        if box:
            mask[box[0] : box[1] + 1, row % 20, : box[2]] = True
        regions[name] = crop(mask)
        mask[:, :, int(solid * (box[2] if box else 0)) :] = False
        clean[name] = crop(mask)
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = STEP_MM, -STEP_MM, -STEP_MM, 1
    return Structures(SHAPE, affine, regions, clean, predicted)


def axial(organ: str, given: Structures) -> list[int]:
    return organ_states(given, 0, read_visibility_rules())[organ].tolist()


def test_the_table_rules_every_organ_and_names_only_stations():
    rules = read_visibility_rules()
    assert set(rules.organs) == set(ORGANS)
    assert set(rules.levels) <= set(STATIONS)
    assert {"vertebrae_C2", "tibia", "heart_atrium_left", "hip_left"} <= rules.structures


def test_an_organ_is_present_absent_or_too_small_to_tell():
    states = axial("liver", structures(liver=(10, 19, 12), spleen=(0, 39, 5)))
    assert states == [ABSENT] * 10 + [PRESENT] * 10 + [ABSENT] * 20
    assert set(axial("liver", structures(liver=(10, 19, 3)))[10:20]) == {UNCERTAIN}, "below 5 cm²"


def test_an_organ_that_nobody_looked_for_is_uncertain():
    assert set(axial("mandible", structures(liver=(10, 19, 12)))) == {UNCERTAIN}


def test_a_slice_with_less_than_a_tenth_of_the_largest_area_is_uncertain():
    given = structures(colon=(10, 15, 20), small_bowel=(12, 15, 20), duodenum=(12, 15, 20))
    assert axial("intestine", given)[11] == PRESENT
    large = np.zeros(SHAPE, bool)
    large[20:22], large[10:12, 0, :6] = True, True
    given = Structures(SHAPE, given.affine, {"colon": crop(large)}, {"colon": crop(large)}, predicted=False)
    states = axial("intestine", given)
    assert states[20] == PRESENT
    assert states[10] == UNCERTAIN, "6 cm² of 400"


def test_a_mask_on_blank_background_is_uncertain():
    assert axial("liver", structures(solid=0.9, liver=(10, 19, 20)))[12] == PRESENT
    assert axial("liver", structures(solid=0.7, liver=(10, 19, 20)))[12] == UNCERTAIN


def test_a_model_is_not_trusted_on_the_first_and_last_slice():
    states = axial("liver", structures(predicted=True, liver=(10, 19, 12)))
    assert (states[0], states[1], states[-2], states[-1]) == (UNCERTAIN, ABSENT, ABSENT, UNCERTAIN)


def test_coronal_slices_need_half_the_area():
    rules = read_visibility_rules()
    mask = np.zeros(SHAPE, bool)
    mask[10:13, 5] = [[True] + [False] * 19] * 3
    given = Structures(SHAPE, structures().affine, {"liver": crop(mask)}, {"liver": crop(mask)}, predicted=False)
    assert organ_states(given, 1, rules)["liver"][5] == PRESENT, "3 cm² of 2.5"
    assert PRESENT not in organ_states(given, 0, rules)["liver"]


def test_a_thigh_begins_two_centimetres_below_the_hips():
    states = axial("thigh", structures(femur_left=(0, 24, 8), hip_left=(20, 30, 8)))
    assert states[:18] == [PRESENT] * 18
    assert states[18:25] == [UNCERTAIN] * 7, "femur at hip level"
    assert states[25:] == [ABSENT] * 15
    assert PRESENT not in axial("thigh", structures(femur_left=(0, 24, 8))), "without hips nobody knows the level"


def test_a_neck_is_above_the_shoulder_blades_unless_the_throat_shows():
    bones = {"vertebrae_C6": (25, 34, 4), "scapula_left": (20, 28, 6)}
    assert axial("neck", structures(**bones))[25:35] == [UNCERTAIN] * 4 + [PRESENT] * 6
    assert axial("neck", structures(**bones, trachea=(27, 34, 2)))[25:35] == [UNCERTAIN] * 2 + [PRESENT] * 8


def test_a_shoulder_needs_blade_and_arm_of_one_side_near_the_joint():
    near = structures(scapula_left=(20, 30, 8), humerus_left=(10, 30, 6))
    assert axial("shoulder", near)[20:31] == [UNCERTAIN] * 4 + [PRESENT] * 7, "6 cm below the head"
    other = structures(scapula_left=(20, 30, 8), humerus_right=(10, 30, 6), humerus_left=None, scapula_right=None)
    assert PRESENT not in axial("shoulder", other)


def test_a_knee_is_a_patella_or_femur_and_tibia():
    rows = {"femur_left": (20, 30, 8), "tibia": (10, 21, 8), "patella": (24, 25, 4)}
    assert axial("knee", structures(**rows))[18:28] == [0, 0, 1, 1, 0, 0, 1, 1, 0, 0]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"vertebrae_T8": (20, 24, 9), "vertebrae_L2": (10, 17, 9)}, {"chest": [20], "abdomen": [12, 18], "": [9, 25]}),
        ({"vertebrae_T11": (20, 24, 9)}, {"chest abdomen": [22]}),
        ({"vertebrae_L5": (20, 24, 9), "vertebrae_L4": (23, 30, 9)}, {"pelvis": [21], "abdomen pelvis": [24]}),
        (
            {"vertebrae_L5": (20, 24, 9), "hip_left": (8, 20, 9), "femur_left": (0, 12, 9)},
            {"pelvis": [9], "lower body": [3]},
        ),
        ({"vertebrae_C5": (30, 34, 4), "brain": (36, 39, 20)}, {"head": [31, 35, 38]}),
        ({"vertebrae_T8": (20, 24, 9), "vertebrae_T9": (19, 19, 1)}, {"chest": [20]}),
    ],
)
def test_vertebrae_hips_and_femurs_tell_the_station(names, expected):
    levels = station_levels(structures(**names), {}, read_visibility_rules())
    for stations, places in expected.items():
        for place in places:
            present, uncertain = levels.on_level(place)
            words = [name for name in ("head", "chest", "abdomen", "pelvis", "lower body") if name in present]
            assert " ".join(words) == stations, place
            assert bool(uncertain) == (stations == "")


def test_without_single_vertebrae_the_organs_vote():
    rules = read_visibility_rules()
    given = structures(vertebrae=(0, 39, 9), liver=(10, 19, 12), colon=(5, 15, 12), lung_left=(18, 30, 12))
    levels = station_levels(given, organ_states(given, 0, rules), rules)
    assert levels.on_level(12) == (frozenset({"abdomen"}), frozenset())
    assert levels.on_level(25) == (frozenset({"chest"}), frozenset())
    assert levels.on_level(6)[1] == frozenset(STATIONS), "intestine alone is of two stations"
    assert levels.on_level(18)[1] == frozenset(STATIONS), "liver and lungs draw"


def test_a_coronal_slice_meets_the_stations_its_tissue_runs_through():
    rules = read_visibility_rules()
    levels = station_levels(structures(vertebrae_T8=(20, 29, 9), vertebrae_L2=(10, 19, 9)), {}, rules)
    tissue = np.zeros(SHAPE[0])
    tissue[18:30] = 100.0
    assert levels.on_rows(tissue, STEP_MM, rules) == (frozenset({"chest"}), frozenset({"abdomen"})), "2 cm of abdomen"
    tissue[12:] = 100.0
    present, uncertain = levels.on_rows(tissue, STEP_MM, rules)
    assert present == {"chest", "abdomen"}
    assert "head" in uncertain, "the levels above are unknown"
