import itertools
import math

import numpy as np
import pytest
import torch

from vesalius.evaluation.metrics import boundary_pixels, dice, iou, precision, recall, surface_distances
from vesalius.imaging.slices import mask_overlap

FULL, EMPTY = torch.ones(1, 4, 4, dtype=torch.bool), torch.zeros(1, 4, 4, dtype=torch.bool)
PIXEL = EMPTY.clone()
PIXEL[0, 2, 1] = True
SCORES = (dice, iou, precision, recall)
ORACLES = {
    dice: "binary_f1_score",
    iou: "binary_jaccard_index",
    precision: "binary_precision",
    recall: "binary_recall",
}


def random_masks(seed: int, share: float) -> torch.Tensor:
    return torch.rand(6, 9, 7, generator=torch.Generator().manual_seed(seed)) < share


def pairs(count: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions and targets of every density; among them all pairs of empty, full, one pixel and two thirds."""
    generator = torch.Generator().manual_seed(0)
    shares = torch.rand(2, count, 1, 1, generator=generator) ** 2
    masks = torch.rand(2, count, 11, 13, generator=generator) < shares
    special = torch.zeros(4, 11, 13, dtype=torch.bool)
    special[1], special[2, 4, 5], special[3, :, :9] = True, True, True
    masks[0, :16], masks[1, :16] = special.repeat(4, 1, 1), special.repeat_interleave(4, 0)
    return masks[0], masks[1]


def test_scores_by_hand():
    prediction = torch.tensor([[[1, 1, 0], [0, 0, 0]]], dtype=torch.bool)
    target = torch.tensor([[[0, 1, 1], [1, 0, 0]]], dtype=torch.bool)
    # One pixel in common, 2 predicted, 3 true, 4 in the union.
    assert dice(prediction, target).tolist() == [pytest.approx(2 / 5)]
    assert iou(prediction, target).tolist() == [pytest.approx(1 / 4)]
    assert precision(prediction, target).tolist() == [pytest.approx(1 / 2)]
    assert recall(prediction, target).tolist() == [pytest.approx(1 / 3)]


def test_the_overlap_of_arrays_is_the_same_dice():
    found, truth = pairs()
    one_by_one = [mask_overlap(*each) for each in zip(found.numpy(), truth.numpy(), strict=True)]
    assert dice(found, truth).tolist() == pytest.approx(one_by_one)


@pytest.mark.parametrize("score", SCORES)
def test_scores_of_200_pairs_equal_those_of_torchmetrics(score, torchmetrics):
    oracle = getattr(torchmetrics, ORACLES[score])
    predictions, targets = pairs()
    expected = []
    for prediction, target in zip(predictions, targets, strict=True):
        # Of two empty masks torchmetrics knows nothing; one empty mask it scores 0, as we do.
        both_empty = not (prediction | target).any()
        known = oracle(prediction.int(), target.int())
        expected.append(torch.tensor(1.0) if both_empty else known)
    torch.testing.assert_close(score(predictions, targets), torch.stack(expected), rtol=0, atol=1e-6, check_dtype=False)


@pytest.mark.parametrize("score", SCORES)
class TestEveryScore:
    def test_two_empty_masks_agree(self, score):
        assert score(EMPTY, EMPTY).item() == 1

    @pytest.mark.parametrize("other", [FULL, PIXEL], ids=["full", "one pixel"])
    def test_an_empty_mask_has_nothing_in_common_with_another(self, score, other):
        assert score(EMPTY, other).item() == score(other, EMPTY).item() == 0

    def test_equal_masks_score_1(self, score):
        assert score(FULL, FULL).item() == 1
        masks = random_masks(0, 0.3)
        assert score(masks, masks).tolist() == [1] * 6

    def test_each_image_is_scored_by_itself(self, score):
        first, second = torch.cat([FULL, EMPTY, EMPTY]), torch.cat([FULL, FULL, EMPTY])
        assert score(first, second).tolist() == [1, 0, 1]

    def test_any_number_but_0_is_inside(self, score):
        first, second = random_masks(0, 0.3), random_masks(1, 0.6)
        assert torch.equal(score(3 * first.float(), second.to(torch.uint8)), score(first, second))

    def test_masks_of_different_shapes_are_refused(self, score):
        with pytest.raises(ValueError, match=r"masks of different shapes: \(1, 4, 4\) and \(1, 4, 3\)"):
            score(FULL, FULL[..., :3])


@pytest.mark.parametrize("score", [dice, iou])
def test_order_does_not_matter_to_overlap(score):
    first, second = random_masks(0, 0.3), random_masks(1, 0.6)
    assert torch.equal(score(first, second), score(second, first))


def test_precision_of_one_is_recall_of_the_other():
    first, second = random_masks(0, 0.3), random_masks(1, 0.6)
    assert torch.equal(precision(first, second), recall(second, first))


def test_dice_and_iou_say_the_same():
    first, second = random_masks(0, 0.3), random_masks(1, 0.6)
    overlap = iou(first, second)
    torch.testing.assert_close(dice(first, second), 2 * overlap / (1 + overlap))


def test_dice_is_the_harmonic_mean_of_precision_and_recall():
    first, second = random_masks(0, 0.3), random_masks(1, 0.6)
    expected = 2 / (1 / precision(first, second) + 1 / recall(first, second))
    torch.testing.assert_close(dice(first, second), expected)


NO_SURFACE, WHOLE = np.zeros((7, 9), bool), np.ones((7, 9), bool)
SURFACE_PIXEL = NO_SURFACE.copy()
SURFACE_PIXEL[3, 4] = True


def brute_force(prediction, target, spacing, tolerance):
    """HD95 and NSD from their definitions: loops over pixels, all pairs of distances, percentiles by hand."""
    edges = [edge(mask) for mask in (prediction, target)]
    if not edges[0] or not edges[1]:
        return (0.0, 1.0) if edges[0] == edges[1] else (math.inf, 0.0)
    directed = [
        [min(distance(here, there, spacing) for there in edges[1 - side]) for here in edges[side]] for side in (0, 1)
    ]
    near = sum(each <= tolerance for each in itertools.chain(*directed))
    return max(map(percentile_95, directed)), near / sum(map(len, directed))


def edge(mask):
    height, width = mask.shape

    def inside(row, column):
        return 0 <= row < height and 0 <= column < width and mask[row, column]

    def exposed(row, column):
        around = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
        return inside(row, column) and not all(itertools.starmap(inside, around))

    return [place for place in itertools.product(range(height), range(width)) if exposed(*place)]


def distance(here, there, spacing):
    return math.hypot((here[0] - there[0]) * spacing[0], (here[1] - there[1]) * spacing[1])


def percentile_95(values):
    ordered = sorted(values)
    place = 0.95 * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def random_pairs():
    """Noise, blobs, empty, full and single pixels."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:17, :23]
    special = [np.zeros((17, 23), bool), np.ones((17, 23), bool), (rows == 8) & (columns == 0)]
    blobs = [
        ((rows - rng.uniform(0, 17)) / rng.uniform(1, 9)) ** 2 + ((columns - rng.uniform(0, 23)) / 5) ** 2 < 1
        for _ in range(5)
    ]
    noise = [rng.random((17, 23)) < share for share in (0.02, 0.3, 0.9)]
    masks = [*special, *blobs, *noise]
    return list(itertools.product(masks, masks))


@pytest.mark.slow
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.4, 1.3)])
def test_hd95_and_nsd_equal_a_brute_force_implementation(spacing):
    pairs = random_pairs()
    assert len(pairs) > 100
    for prediction, target in pairs:
        distances = surface_distances(prediction, target, spacing)
        hd95, nsd = brute_force(prediction, target, spacing, 2.0)
        assert distances.hd95() == pytest.approx(hd95, abs=1e-9)
        assert distances.nsd(2.0) == pytest.approx(nsd, abs=1e-9)


def test_the_outline_is_what_touches_the_outside_by_a_side():
    mask = np.zeros((6, 7), bool)
    mask[1:5, 1:6] = True
    mask[0, 0] = True
    expected = mask.copy()
    expected[2:4, 2:5] = False
    assert (boundary_pixels(mask) == expected).all()


def test_beyond_the_image_is_outside():
    expected = WHOLE.copy()
    expected[1:-1, 1:-1] = False
    assert (boundary_pixels(WHOLE) == expected).all()


def test_distances_by_hand():
    # A line of 20 pixels and the same line two rows lower, but for one stray pixel 10 rows up.
    target, prediction = np.zeros((30, 20), bool), np.zeros((30, 20), bool)
    target[20], prediction[22] = True, True
    assert surface_distances(prediction, target).hd95() == 2
    prediction[10, 0] = True
    distances = surface_distances(prediction, target)
    assert sorted(distances.from_prediction) == [2.0] * 20 + [10.0]
    # The 95th percentile of 21 distances is the 20th of them; NSD counts 40 of 41 pixels.
    assert distances.hd95() == 2
    assert distances.nsd(2) == pytest.approx(40 / 41)
    assert distances.nsd(1.9) == 0
    assert distances.nsd(10) == 1


def test_distances_count_millimetres_of_each_axis():
    there = np.roll(np.roll(SURFACE_PIXEL, 1, axis=0), 2, axis=1)
    distances = surface_distances(SURFACE_PIXEL, there, (3.0, 2.0))
    assert distances.hd95() == 5
    assert distances.nsd(5) == 1


class TestEmptyMasks:
    def test_two_agree(self):
        distances = surface_distances(NO_SURFACE, NO_SURFACE)
        assert (distances.hd95(), distances.nsd(2)) == (0, 1)

    @pytest.mark.parametrize("other", [WHOLE, SURFACE_PIXEL], ids=["full", "one pixel"])
    def test_one_is_infinitely_far_from_another(self, other):
        for distances in (surface_distances(NO_SURFACE, other), surface_distances(other, NO_SURFACE)):
            assert (distances.hd95(), distances.nsd(1e9)) == (math.inf, 0)


@pytest.mark.parametrize("mask", [WHOLE, SURFACE_PIXEL], ids=["full", "one pixel"])
def test_equal_masks_have_no_distance(mask):
    distances = surface_distances(mask, mask)
    assert (distances.hd95(), distances.nsd(0)) == (0, 1)


def test_order_does_not_matter():
    for prediction, target in random_pairs()[::7]:
        one, other = surface_distances(prediction, target), surface_distances(target, prediction)
        assert one.hd95() == other.hd95()
        assert one.nsd(2) == other.nsd(2)


def test_masks_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match=r"masks of different shapes: \(7, 9\) and \(7, 8\)"):
        surface_distances(WHOLE, WHOLE[:, :8])


def test_equal_differences_of_scores_are_equal():
    """Whose ranks are tied, as a signed-rank test has to know."""
    shares = [torch.arange(10)[None] < count for count in (10, 9, 8, 5, 6)]
    nine, eight, five, six = (recall(each, shares[0]).item() for each in shares[1:])
    assert round(nine - eight, 12) == round(six - five, 12)
