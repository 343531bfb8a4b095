import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vesalius.errors import ConfigError
from vesalius.models import MaskPrediction
from vesalius.training.losses import (
    KINDS,
    ContrastiveLoss,
    LossWeights,
    bound_scale,
    organ_loss,
    paper_loss,
    segmentation_loss,
    share_loss,
    siglip_loss,
    similarity_logits,
    soft_dice_loss,
    start_bias,
    unicl_loss,
)


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
@pytest.mark.parametrize("weight", [-0.1, math.nan, math.inf])
def test_a_weight_that_is_none_is_refused(name, weight):
    with pytest.raises(ConfigError, match=f"{name} must be"):
        LossWeights(**{name: weight})


def test_a_loss_without_any_weight_is_refused():
    with pytest.raises(ConfigError, match="are all 0"):
        LossWeights(0, 0, 0)


LOG_SCALE = torch.tensor(math.log(20))


def unit(*shape: int, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def pairs(rows: list[str]) -> tuple[Tensor, Tensor]:
    """ "+" true, "-" false, "?" unknown."""
    table = [list(row) for row in rows]
    true = torch.tensor([[mark == "+" for mark in row] for row in table])
    return true, torch.tensor([[mark != "?" for mark in row] for row in table])


ALL_KINDS = pytest.mark.parametrize("kind", KINDS)
MATRIX = pytest.mark.parametrize("kind", ["unicl", "siglip"])


def test_the_papers_loss_by_hand():
    logits = torch.tensor([[2.0, 0.0], [1.0, 3.0]])
    rows = math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-2))
    columns = math.log(1 + math.exp(-1)) + math.log(1 + math.exp(-3))
    assert paper_loss(logits).item() == pytest.approx((rows / 2 + columns / 2) / 2)


def test_unicl_by_hand():
    logits = torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.5, -1.0], [3.0, 1.0, 0.0]])
    true, known = pairs(["++-", "-+?", "---"])
    # Row 0: two true captions, mean of their log shares; row 1: caption 2 is left out; row 2: nothing true, no term.
    whole = math.log(math.e + 1 + math.exp(2))
    first = -((1 - whole) + (0 - whole)) / 2 - math.log(2)
    second = math.log(1 + math.exp(-0.5))
    assert share_loss(logits, true, known).item() == pytest.approx((first + second) / 2)
    # Column 0 is true of image 0; column 1 of images 0 and 1; column 2 of none.
    column0 = math.log(math.e + 1 + math.exp(3)) - 1
    whole1 = math.log(1 + math.exp(0.5) + math.e)
    column1 = -((0 - whole1) + (0.5 - whole1)) / 2 - math.log(2)
    expected = ((first + second) / 2 + (column0 + column1) / 2) / 2
    assert unicl_loss(logits, true, known).item() == pytest.approx(expected)


def test_siglip_by_hand():
    logits = torch.tensor([[1.0, -2.0], [0.5, 0.0]])
    true, known = pairs(["+-", "?+"])
    expected = math.log(1 + math.exp(-1)) + math.log(1 + math.exp(-2)) + math.log(2)
    assert siglip_loss(logits, true, known).item() == pytest.approx(expected / 2)


def test_organs_by_hand():
    logits = torch.tensor([[1.0, -2.0], [0.5, 0.0]])
    present, known = pairs(["+-", "?+"])
    expected = math.log(1 + math.exp(-1)) + math.log(1 + math.exp(-2)) + math.log(2)
    assert organ_loss(logits, present, known).item() == pytest.approx(expected / 3)


def test_where_nothing_is_known_of_organs_the_loss_is_zero_and_has_a_gradient():
    logits = torch.ones(2, 3, requires_grad=True)
    nothing = torch.zeros(2, 3, dtype=torch.bool)
    loss = organ_loss(logits, nothing, nothing)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros(2, 3))


def test_with_only_its_own_caption_true_unicl_is_the_papers_loss():
    logits = 5 * torch.randn(6, 6, generator=torch.Generator().manual_seed(1))
    diagonal, everything = torch.eye(6, dtype=torch.bool), torch.ones(6, 6, dtype=torch.bool)
    torch.testing.assert_close(unicl_loss(logits, diagonal, everything), paper_loss(logits))


@MATRIX
def test_an_unknown_pair_changes_neither_loss_nor_gradients(kind):
    logits = torch.randn(4, 4, generator=torch.Generator().manual_seed(2), requires_grad=True)
    true, known = pairs(["+-?-", "-+--", "--+-", "?--+"])
    loss = ContrastiveLoss(kind)
    found = loss(logits, true, known)
    (gradient,) = torch.autograd.grad(found, logits)
    assert torch.equal(gradient[~known], torch.zeros(2))
    moved = (logits + 7 * (~known)).detach().requires_grad_()
    again = loss(moved, true, known)
    torch.testing.assert_close(again, found)
    torch.testing.assert_close(torch.autograd.grad(again, moved)[0], gradient)


@ALL_KINDS
def test_the_order_of_a_batch_does_not_matter(kind):
    images, captions = unit(5, 8), unit(5, 8, seed=1)
    true, known = pairs(["+--+?", "-+---", "--+--", "+--+-", "?---+"])
    order = torch.randperm(5, generator=torch.Generator().manual_seed(3))
    loss = ContrastiveLoss(kind)
    straight = loss(similarity_logits(images, captions, LOG_SCALE, -3), true, known)
    shuffled = similarity_logits(images[order], captions[order], LOG_SCALE, -3)
    mixed = loss(shuffled, true[order][:, order], known[order][:, order])
    torch.testing.assert_close(mixed, straight)


@MATRIX
def test_captions_may_be_fewer_than_images(kind):
    true, known = pairs(["+-", "+-", "-+"])
    logits = similarity_logits(unit(3, 4), unit(2, 4), LOG_SCALE)
    assert ContrastiveLoss(kind)(logits, true, known).isfinite()


@ALL_KINDS
@pytest.mark.parametrize("scale", [1.0, 100.0])
@pytest.mark.parametrize("kind_of_number", [torch.float32, torch.float16, torch.bfloat16])
def test_gradients_are_finite_in_every_precision(kind, scale, kind_of_number):
    images, captions = (unit(4, 8, seed=seed).to(kind_of_number).requires_grad_() for seed in (0, 1))
    log_scale = torch.tensor(math.log(scale), requires_grad=True)
    true, known = pairs(["+-?+", "-+--", "????", "----"])
    loss = ContrastiveLoss(kind)(similarity_logits(images, captions, log_scale), true, known)
    loss.backward()
    assert loss.dtype == torch.float32
    assert all(tensor.grad.isfinite().all() for tensor in (images, captions, log_scale))


def test_logits_are_not_rounded_under_mixed_precision():
    images, captions = unit(4, 64), unit(4, 64, seed=1)
    exact = similarity_logits(images, captions, LOG_SCALE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(similarity_logits(images, captions, LOG_SCALE), exact)


def test_a_scale_beyond_100_is_brought_back_and_still_learns():
    log_scale = torch.tensor(math.log(130), requires_grad=True)
    paper_loss(similarity_logits(unit(3, 4), unit(3, 4, seed=1), log_scale)).backward()
    assert log_scale.grad != 0
    bound_scale(log_scale)
    assert log_scale.exp().item() == pytest.approx(100)


def test_a_scale_below_100_stays():
    log_scale = torch.tensor(math.log(99))
    bound_scale(log_scale)
    assert log_scale.exp().item() == pytest.approx(99)


@MATRIX
def test_a_batch_of_which_nothing_is_true_is_survived(kind):
    logits = torch.randn(3, 3, requires_grad=True)
    nothing = torch.zeros(3, 3, dtype=torch.bool)
    loss = ContrastiveLoss(kind)(logits, nothing, nothing)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros(3, 3))


def repeated(copies: int, groups: int) -> tuple[Tensor, Tensor, Tensor]:
    """Perfect vectors of images whose captions stand several times in the batch."""
    vectors = torch.eye(groups).repeat_interleave(copies, dim=0)
    true = (vectors @ vectors.T) > 0.5
    return vectors, true, torch.ones_like(true)


@pytest.mark.parametrize("copies", [2, 4])
def test_identical_captions_put_a_floor_under_the_papers_loss_alone(copies):
    vectors, true, known = repeated(copies, groups=3)
    logits = similarity_logits(vectors, vectors, torch.tensor(math.log(100)))
    assert paper_loss(logits).item() == pytest.approx(math.log(copies), abs=1e-4)
    assert unicl_loss(logits, true, known).item() == pytest.approx(0, abs=1e-4)
    assert siglip_loss(logits - 50, true, known).item() == pytest.approx(0, abs=1e-4)


def test_captions_that_are_the_same_word_for_word_give_the_papers_loss_unicls_gradients():
    # Equal words have equal vectors, so the wrongly negative among them pull as much as they push.
    images = unit(8, 16).requires_grad_()
    captions = unit(4, 16, seed=1).requires_grad_()
    which = torch.arange(4).repeat(2)
    true = which[:, None] == which[None, :]
    logits = similarity_logits(images, captions[which], LOG_SCALE)
    plain = torch.autograd.grad(paper_loss(logits), (images, captions), retain_graph=True)
    several = torch.autograd.grad(unicl_loss(logits, true, torch.ones_like(true)), (images, captions))
    torch.testing.assert_close(plain, several)


def test_a_paraphrase_is_pushed_away_by_the_papers_loss_and_not_by_the_others():
    image = torch.tensor([1.0, 0.0])
    images = torch.stack([image, image])
    paraphrases = F.normalize(torch.tensor([[1.0, 0.3], [1.0, -0.3]]), dim=1).requires_grad_()
    true = torch.ones(2, 2, dtype=torch.bool)
    logits = similarity_logits(images, paraphrases, LOG_SCALE)
    logits.retain_grad()
    paper_loss(logits).backward(retain_graph=True)
    assert logits.grad[0, 1] > 0
    assert logits.grad[1, 0] > 0
    logits.grad = None
    unicl_loss(logits, true, true).backward(retain_graph=True)
    torch.testing.assert_close(logits.grad, torch.zeros(2, 2), atol=1e-6, rtol=0)
    logits.grad = None
    siglip_loss(logits, true, true).backward()
    assert (logits.grad <= 0).all()


@pytest.mark.parametrize("rows", [["+--", "-+-", "--+"], ["+-?", "?+-", "-?+"]])
def test_the_bias_starts_where_the_mean_probability_is_the_base_rate(rows):
    true, known = pairs(rows)
    logits = similarity_logits(unit(3, 8), unit(3, 8, seed=1), torch.tensor(math.log(100)))
    bias = start_bias(logits, true, known)
    probabilities = torch.sigmoid(logits.double() + bias)[known]
    assert probabilities.mean().item() == pytest.approx(true[known].double().mean().item(), abs=1e-9)


@pytest.mark.parametrize("mark", ["+", "-", "?"])
def test_the_bias_starts_finite_whatever_is_true(mark):
    true, known = pairs([mark * 3] * 3)
    assert math.isfinite(start_bias(100 * torch.eye(3), true, known))


def test_an_unknown_loss_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match=r"No contrastive loss named 'clip'.*Available: paper, siglip, unicl"):
        ContrastiveLoss("clip")


@pytest.mark.parametrize("weight", [-1, math.nan])
def test_a_weight_of_organs_that_is_none_is_refused(weight):
    with pytest.raises(ConfigError, match=f"organs must be at least 0, got {weight}"):
        ContrastiveLoss(organs=weight)
