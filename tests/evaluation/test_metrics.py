import pytest
import torch
from torchmetrics.functional.classification import (
    binary_f1_score,
    binary_jaccard_index,
    binary_precision,
    binary_recall,
)

from vesalius.evaluation.metrics import dice, iou, precision, recall

FULL, EMPTY = torch.ones(1, 4, 4, dtype=torch.bool), torch.zeros(1, 4, 4, dtype=torch.bool)
PIXEL = EMPTY.clone()
PIXEL[0, 2, 1] = True
SCORES = (dice, iou, precision, recall)
ORACLES = {
    dice: binary_f1_score,
    iou: binary_jaccard_index,
    precision: binary_precision,
    recall: binary_recall,
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


@pytest.mark.parametrize("score", SCORES)
def test_scores_of_200_pairs_equal_those_of_torchmetrics(score):
    predictions, targets = pairs()
    expected = []
    for prediction, target in zip(predictions, targets, strict=True):
        # Of two empty masks torchmetrics knows nothing; one empty mask it scores 0, as we do.
        both_empty = not (prediction | target).any()
        known = ORACLES[score](prediction.int(), target.int())
        expected.append(torch.tensor(1.0) if both_empty else known)
    torch.testing.assert_close(score(predictions, targets), torch.stack(expected), rtol=0, atol=1e-6)


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
