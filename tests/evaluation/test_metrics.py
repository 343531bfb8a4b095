import pytest
import torch
from torchmetrics.functional.classification import binary_f1_score, binary_jaccard_index

from vesalius.evaluation.metrics import dice, iou

FULL, EMPTY = torch.ones(1, 4, 4, dtype=torch.bool), torch.zeros(1, 4, 4, dtype=torch.bool)


def random_masks(seed: int, share: float) -> torch.Tensor:
    return torch.rand(6, 9, 7, generator=torch.Generator().manual_seed(seed)) < share


def test_scores_by_hand():
    prediction = torch.tensor([[[1, 1, 0], [0, 0, 0]]], dtype=torch.bool)
    target = torch.tensor([[[0, 1, 1], [1, 0, 0]]], dtype=torch.bool)
    # One pixel in common, 2 + 3 in all, 4 in the union.
    assert dice(prediction, target).tolist() == [pytest.approx(2 / 5)]
    assert iou(prediction, target).tolist() == [pytest.approx(1 / 4)]


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_scores_equal_those_of_torchmetrics(share):
    prediction, target = random_masks(0, share), random_masks(1, 0.4)
    expected_dice = torch.stack([binary_f1_score(p.int(), t.int()) for p, t in zip(prediction, target, strict=True)])
    expected_iou = torch.stack(
        [binary_jaccard_index(p.int(), t.int()) for p, t in zip(prediction, target, strict=True)]
    )
    torch.testing.assert_close(dice(prediction, target), expected_dice)
    torch.testing.assert_close(iou(prediction, target), expected_iou)


@pytest.mark.parametrize("score", [dice, iou])
class TestBothScores:
    def test_two_empty_masks_agree(self, score):
        assert score(EMPTY, EMPTY).item() == 1

    def test_empty_and_full_have_nothing_in_common(self, score):
        assert score(EMPTY, FULL).item() == score(FULL, EMPTY).item() == 0

    def test_equal_masks_score_1(self, score):
        assert score(FULL, FULL).item() == 1
        masks = random_masks(0, 0.3)
        assert score(masks, masks).tolist() == [1] * 6

    def test_one_pixel_against_none_scores_0(self, score):
        pixel = EMPTY.clone()
        pixel[0, 2, 1] = True
        assert score(pixel, EMPTY).item() == score(EMPTY, pixel).item() == 0

    def test_order_does_not_matter(self, score):
        first, second = random_masks(0, 0.3), random_masks(1, 0.6)
        assert torch.equal(score(first, second), score(second, first))

    def test_each_image_is_scored_by_itself(self, score):
        first, second = torch.cat([FULL, EMPTY, EMPTY]), torch.cat([FULL, FULL, EMPTY])
        assert score(first, second).tolist() == [1, 0, 1]

    def test_any_number_but_0_is_inside(self, score):
        first, second = random_masks(0, 0.3), random_masks(1, 0.6)
        assert torch.equal(score(3 * first.float(), second.to(torch.uint8)), score(first, second))

    def test_masks_of_different_shapes_are_refused(self, score):
        with pytest.raises(ValueError, match=r"masks of different shapes: \(1, 4, 4\) and \(1, 4, 3\)"):
            score(FULL, FULL[..., :3])


def test_dice_and_iou_say_the_same():
    first, second = random_masks(0, 0.3), random_masks(1, 0.6)
    overlap = iou(first, second)
    torch.testing.assert_close(dice(first, second), 2 * overlap / (1 + overlap))
