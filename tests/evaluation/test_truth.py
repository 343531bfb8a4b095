import pytest
import torch

from vesalius.evaluation.segmentation import Truth
from vesalius.models.encoder import MaskPrediction

MASK = torch.zeros(1, 6, 8, dtype=torch.bool)
MASK[:, 2:4, 1:5] = True
EMPTY = torch.zeros_like(MASK)


def answer(mask: torch.Tensor, existence: torch.Tensor | None = None) -> MaskPrediction:
    return MaskPrediction(torch.where(mask, 0.1, -0.1)[None], existence)


def test_scores_by_hand():
    shifted = MASK.roll(2, dims=2)
    row = Truth("a.png", MASK).score(answer(shifted, torch.zeros(1)), "polyp")
    assert (row.image, row.prompt) == ("a.png", "polyp")
    # Half of eight pixels in common; both outlines are whole, and their far ends two pixels apart.
    assert (row.dice, row.precision, row.recall) == (0.5, 0.5, 0.5)
    assert row.iou == pytest.approx(4 / 12)
    assert (row.hd95, row.nsd, row.distance_unit) == (2, 1, "px")
    assert (row.true_pixels, row.predicted_pixels, row.existence) == (8, 8, 0.5)


def test_distances_and_tolerance_are_in_millimetres_where_the_spacing_is_known():
    shifted = MASK.roll(2, dims=2)
    row = Truth("a.dcm", MASK, spacing_mm=(1.0, 3.0), tolerance=5.9).score(answer(shifted), "polyp")
    # Of eight columns of two pixels each, four overlap and two are one column, 3 mm, away.
    assert (row.hd95, row.distance_unit) == (6, "mm")
    assert row.nsd == pytest.approx(12 / 16)
    assert row.existence is None


def test_logits_above_0_are_inside():
    logits = torch.tensor([[[[0.0, 1e-6, -1e-6]]]])
    assert Truth("a.png", torch.ones(1, 1, 3, dtype=torch.bool)).score(MaskPrediction(logits), "").predicted_pixels == 1


@pytest.mark.parametrize(
    ("truth", "found", "score", "hd95"), [(EMPTY, EMPTY, 1, 0.0), (EMPTY, MASK, 0, None), (MASK, EMPTY, 0, None)]
)
def test_two_empty_masks_agree_and_one_agrees_with_nothing(truth, found, score, hd95):
    row = Truth("a.png", truth).score(answer(found), "polyp")
    assert {row.dice, row.iou, row.precision, row.recall, row.nsd} == {score}
    assert row.hd95 == hd95
