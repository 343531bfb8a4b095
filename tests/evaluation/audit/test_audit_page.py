from dataclasses import replace

import numpy as np
import pytest

from vesalius.data.datasets import SegmentationDataset
from vesalius.evaluation.audit.page import GAP, SIDE, draw_worst, find_worst
from vesalius.evaluation.audit.run import audit
from vesalius.evaluation.audit.session import SubstitutionResult
from vesalius.imaging import read_image

GOOD = SubstitutionResult(
    image="a.png", record=0, test="wording", kind="paraphrases", reference="polyp", prompt="a polyp", pixels=1000,
    true_pixels=100, predicted_pixels=0, reference_dice=0.8, dice=0.8, change=0.0, existence=None,
)  # fmt: skip


def test_the_worst_come_first_and_no_image_twice():
    lost = [
        replace(GOOD, image=image, dice=dice, prompt=str(dice))
        for image, dice in [("a", 0.7), ("b", 0.1), ("b", 0.3), ("c", 0.5)]
    ]
    worst = find_worst(lost, 2)
    assert [(each.result.image, each.result.dice) for each in worst] == [("b", 0.1), ("c", 0.5)]
    assert worst[0].why == "Dice 0.80 became 0.10"
    assert worst[0].picture == "wording_1_b.png"


def test_the_same_answers_in_another_order_give_the_same_pictures():
    equal = [replace(GOOD, image=image, dice=0.5) for image in "cab"]
    assert [each.result.image for each in find_worst(equal, 3)] == ["a", "b", "c"]
    assert find_worst(equal, 3) == find_worst(equal[::-1], 3)


def test_what_is_not_wrong_is_not_shown():
    quiet = replace(GOOD, test="absent", predicted_pixels=9)
    still = replace(GOOD, test="flip", change=0.001)
    assert find_worst([GOOD, quiet, still], 3) == []
    loud = find_worst([replace(quiet, predicted_pixels=500)], 3)
    assert loud[0].why == "50% of the image marked; it is not there"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pocket", "unet_d"])
def test_pictures_hold_truth_and_answers_side_by_side(build_tiny, tiny_dataset, tmp_path, name):
    model, dataset = build_tiny(name), SegmentationDataset(tiny_dataset, "test")
    answers = [replace(each, change=0.5) for each in audit(model, dataset).results if each.test in ("flip", "wording")]
    answers = [replace(each, dice=each.reference_dice - 0.5) for each in answers]
    counted = []
    paths = draw_worst(model, dataset, answers, tmp_path, count=1, on_picture=lambda: counted.append(1))
    assert sorted(path.name for path in paths) == ["flip_1_test_0.png", "wording_1_test_0.png"]
    assert len(counted) == 2
    widths = {path.name.split("_")[0]: read_image(path).slices()[0].rgb.shape[1] for path in paths}
    assert widths == {"flip": 3 * (SIDE + GAP), "wording": 4 * (SIDE + GAP)}


@pytest.mark.slow
def test_an_image_larger_or_smaller_than_a_panel_fits(build_tiny, tiny_dataset, tmp_path):
    model, dataset = build_tiny("pocket"), SegmentationDataset(tiny_dataset, "test")
    (answer,) = [replace(each, change=1.0) for each in audit(model, dataset, limit=1).results if each.kind == "side"]
    (path,) = draw_worst(model, dataset, [replace(answer, prompt="polyp " * 200)], tmp_path, count=1)
    rgb = read_image(path).slices()[0].rgb
    assert np.ptp(rgb) > 0
