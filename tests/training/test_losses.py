import numpy as np
import pytest
import torch

from vesalius.errors import ConfigError
from vesalius.models import MaskPrediction
from vesalius.training.losses import LossWeights, segmentation_loss, soft_dice_loss


def sigmoid(values: torch.Tensor) -> np.ndarray:
    return 1 / (1 + np.exp(-values.double().numpy()))


@pytest.fixture
def logits() -> torch.Tensor:
    return 3 * torch.randn(4, 1, 7, 5, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def masks() -> torch.Tensor:
    masks = (torch.rand(4, 1, 7, 5, generator=torch.Generator().manual_seed(1)) > 0.6).float()
    masks[2] = 0
    return masks


def test_soft_dice_by_hand():
    logits = torch.tensor([[[[0.0, 100.0], [-100.0, 0.0]]]])  # probabilities 0.5, 1, 0, 0.5
    masks = torch.tensor([[[[1.0, 1.0], [0.0, 0.0]]]])
    # Overlap 1.5, sum 2 + 2, and one smoothing pixel above and below.
    assert soft_dice_loss(logits, masks).item() == pytest.approx(1 - (2 * 1.5 + 1) / (4 + 1))


def test_soft_dice_is_a_mean_over_images(logits, masks):
    per_image = []
    for p, t in zip(sigmoid(logits), masks.double().numpy(), strict=True):
        per_image.append(1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1))
    assert soft_dice_loss(logits, masks).item() == pytest.approx(np.mean(per_image), abs=1e-6)


def test_a_perfect_answer_costs_nothing_even_where_nothing_is_there(masks):
    assert soft_dice_loss(200 * (masks - 0.5), masks).item() == pytest.approx(0, abs=1e-6)


def test_an_empty_mask_still_pulls_logits_down():
    logits = torch.zeros(1, 1, 4, 4, requires_grad=True)
    soft_dice_loss(logits, torch.zeros(1, 1, 4, 4)).backward()
    assert (logits.grad > 0).all()


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_large_images_in_16_bits_do_not_overflow(kind):
    # 352² pixels sum to more than 65504, the largest number of float16; rounding the logits costs 3 decimals.
    logits = torch.full((1, 1, 352, 352), 2.0)
    masks = torch.ones_like(logits)
    loss = soft_dice_loss(logits.to(kind), masks)
    assert loss.item() == pytest.approx(soft_dice_loss(logits, masks).item(), abs=1e-4)


def test_the_whole_loss_is_the_weighted_sum_of_its_terms(logits, masks):
    existence = torch.tensor([1.0, -2.0, 0.5, 3.0])
    p, t = sigmoid(logits), masks.double().numpy()
    bce = -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean()
    q, there = sigmoid(existence), np.array([1, 1, 0, 1])
    judged = -(there * np.log(q) + (1 - there) * np.log(1 - q)).mean()
    expected = 0.7 * soft_dice_loss(logits, masks).item() + 0.4 * bce + 0.3 * judged
    weights = LossWeights(dice=0.7, bce=0.4, existence=0.3)
    loss = segmentation_loss(MaskPrediction(logits, existence), masks, weights)
    assert loss.item() == pytest.approx(expected, abs=1e-5)


def test_models_without_an_existence_score_have_no_such_term(logits, masks):
    expected = LossWeights(existence=0)
    with_score = segmentation_loss(MaskPrediction(logits, torch.zeros(4)), masks, expected)
    assert torch.equal(segmentation_loss(MaskPrediction(logits), masks, LossWeights()), with_score)


def test_cross_entropy_is_not_always_zero(logits, masks):
    # Defect 5 of the released code: a softmax over its one channel made the term 0.
    assert segmentation_loss(MaskPrediction(logits), masks, LossWeights(dice=0, bce=1)).item() > 0.5


def test_the_defaults_are_the_benchmarks():
    assert (LossWeights().dice, LossWeights().bce) == (1.0, 0.2)


@pytest.mark.parametrize("name", ["dice", "bce", "existence"])
def test_a_negative_weight_is_refused(name):
    with pytest.raises(ConfigError, match="weights of the loss must be at least 0"):
        LossWeights(**{name: -0.1})
