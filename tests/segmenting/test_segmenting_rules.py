from pathlib import Path

import numpy as np
import pytest

from vesalius.errors import ConfigError
from vesalius.imaging import MedicalImage
from vesalius.knowledge import Knowledge, LearntTarget
from vesalius.masks import Collector, LabelMasks, MaskRules, collect_masks
from vesalius.predict import Predictor
from vesalius.segmentation import Segmentation

SIZE = (8, 10)


def answer(logits: np.ndarray, *, existence: float | None = 0.9, run: float | None = None) -> Segmentation:
    return Segmentation("thing", logits.astype(np.float32), SIZE, existence, run)


def square(rows: slice, columns: slice, value: float = 4.0) -> np.ndarray:
    logits = np.full(SIZE, -9.0)
    logits[rows, columns] = value
    return logits


def collect(rules: MaskRules, *slices: list[Segmentation]) -> list[np.ndarray]:
    collected = Collector(SIZE, len(slices[0]), rules)
    for answers in slices:
        collected.add(answers)
    return [np.stack([masks[index] for index in range(len(slices))]) for masks in collected.finish()]


@pytest.mark.parametrize(("threshold", "marked"), [(0.5, 40), (0.9, 20), (0.99, 0)])
def test_the_threshold_is_a_pixels_probability(threshold, marked):
    logits = square(slice(4), slice(None), 1.0)
    logits[:2] = 3.0  # 0.95; 1.0 is 0.73
    assert collect(MaskRules(threshold), [answer(logits)])[0].sum() == marked


@pytest.mark.parametrize(("least", "there"), [(None, True), (0.6, True), (0.8, False)])
def test_what_is_less_sure_than_asked_loses_its_mask_on_all_slices(least, there):
    logits = square(slice(2), slice(2))
    slices = [[answer(logits, existence=0.9, run=0.3)], [answer(logits, existence=0.1, run=0.7)]]
    (masks,) = collect(MaskRules(existence=least), *slices)
    assert masks.any(axis=(1, 2)).tolist() == [there, there]


def test_models_that_do_not_judge_existence_keep_their_masks():
    assert collect(MaskRules(existence=0.99), [answer(square(slice(2), slice(2)), existence=None)])[0].any()


def test_the_largest_object_is_one_of_the_volume_not_of_a_slice():
    small, large = square(slice(0, 3), slice(0, 3)), square(slice(5, 7), slice(5, 7))
    nothing = np.full(SIZE, -9.0)
    (masks,) = collect(
        MaskRules(keep_largest=True), *([answer(each)] for each in (small, nothing, large, large, large))
    )
    assert masks.sum(axis=(1, 2)).tolist() == [0, 0, 4, 4, 4]


def test_objects_below_the_least_size_go_and_corners_hold_together():
    logits = square(slice(0, 2), slice(0, 2))
    logits[2, 2] = 4.0  # touches at a corner: 5 pixels
    logits[6:8, 6:8] = 4.0  # 4 pixels
    (masks,) = collect(MaskRules(min_size=5), [answer(logits)])
    assert (masks.sum(), masks[0, 2, 2]) == (5, True)
    assert not collect(MaskRules(min_size=5), [answer(square(slice(2), slice(2)))])[0].any()


def test_shared_pixels_go_to_the_more_probable_phrase():
    left, right = square(slice(None), slice(0, 6), 2.0), square(slice(None), slice(4, 10), 3.0)
    masks = collect(MaskRules(labels=True), [answer(left), answer(right)])
    assert [each.sum() for each in masks] == [8 * 4, 8 * 6]
    assert [each.sum() for each in collect(MaskRules(), [answer(left), answer(right)])] == [8 * 6, 8 * 6]


def test_what_is_not_there_takes_no_pixel_from_others():
    left, right = square(slice(None), slice(0, 6), 2.0), square(slice(None), slice(4, 10), 3.0)
    rules = MaskRules(existence=0.5, labels=True)
    kept, gone = collect(rules, [answer(left), answer(right, existence=0.2)])
    assert (kept.sum(), gone.sum()) == (8 * 6, 0)


def test_a_label_map_has_the_numbers_of_the_phrases():
    collected = Collector(SIZE, 2, MaskRules(labels=True))
    collected.add([answer(square(slice(0, 2), slice(None))), answer(square(slice(1, 4), slice(None), 9.0))])
    labels = LabelMasks(collected.finish(), [1, 3])[0]
    assert labels.dtype == np.uint8
    assert labels[:, 0].tolist() == [1, 3, 3, 3, 0, 0, 0, 0]
    (plane,) = LabelMasks(collected.finish(), [1, 3]).planes([2, 1, 0], [False] * 3)
    np.testing.assert_array_equal(plane, labels)


@pytest.mark.parametrize(
    ("rules", "option"),
    [
        (MaskRules(threshold=0), "--threshold"),
        (MaskRules(threshold=1.5), "--threshold"),
        (MaskRules(threshold=float("nan")), "--threshold"),
        (MaskRules(existence=-0.1), "--existence"),
        (MaskRules(min_size=-1), "--min-size"),
    ],
)
def test_rules_out_of_range_are_refused(rules, option):
    with pytest.raises(ConfigError, match=option):
        rules.check(1)
    MaskRules(0.7, 0.0, min_size=3).check(1)


def test_a_label_map_holds_255_phrases():
    MaskRules(labels=True).check(255)
    with pytest.raises(ConfigError, match="255 phrases at most, got 256"):
        MaskRules(labels=True).check(256)


def test_what_is_not_asked_has_no_mask_between_those_that_do(bright):
    predictor = Predictor(bright)
    predictor.knowledge = Knowledge([LearntTarget(name, ("ct",), 1) for name in ("liver", "spleen")])
    pixels = np.zeros((2, 8, 8), np.uint8)
    pixels[1, :, 4:] = 255
    slices = MedicalImage(pixels, Path("series"), modality="CT").slices()
    understood = predictor.understand(slices, ["fracture", "liver", "polyp", "spleen"])
    found = collect_masks(predictor, slices, understood, MaskRules())
    assert [each and [len(each.masks), len(each.slice_existence)] for each in found] == [None, [2, 2], None, [2, 2]]
    assert collect_masks(predictor, slices, understood[:1], MaskRules(labels=True)) == [None]
