import pytest
import torch

from vesalius.data.datasets import SegmentationDataset
from vesalius.errors import ModelError
from vesalius.export.checking import check_dice, check_numbers, largest_difference


@pytest.fixture
def pair(build_tiny):
    return build_tiny("clipseg"), build_tiny("clipseg")


def shift(model, by):
    """Add a number to every logit."""
    with torch.no_grad():
        model.decoder.to_logits[-1].bias += by


def test_equal_models_do_not_differ(pair):
    assert largest_difference(*pair) == 0


def test_a_difference_is_measured(pair):
    shift(pair[1], 0.25)
    assert largest_difference(*pair) == pytest.approx(0.25, abs=1e-4)


@pytest.mark.parametrize("by", [0.01, float("nan")])
def test_other_numbers_are_refused(pair, by):
    shift(pair[1], by)
    with pytest.raises(ModelError, match="clipseg: the export is not the same model"):
        check_numbers(*pair)


def test_other_masks_are_refused(pair, tiny_dataset):
    shift(pair[0], 100)
    shift(pair[1], -100)
    with pytest.raises(ModelError, match=r"8 bits change Dice from 0\.\d+ to 0\.000 on 2 images"):
        check_dice(*pair, SegmentationDataset(tiny_dataset, "val"), lambda: None)


def test_equal_masks_have_equal_dice(pair, tiny_dataset):
    seen = []
    found = check_dice(*pair, SegmentationDataset(tiny_dataset, "val"), lambda: seen.append(1))
    assert (found.images, len(seen), found.change) == (2, 2, 0)
