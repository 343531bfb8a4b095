from dataclasses import replace

import pytest
import torch

from vesalius.data.datasets import SegmentationDataset
from vesalius.errors import ModelError
from vesalius.export.checking import check_dice, check_numbers, largest_difference, why_not_naming
from vesalius.models import MaskPrediction


@pytest.fixture
def namers(build_tiny):
    return build_tiny("pocket"), build_tiny("pocket")


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


@pytest.mark.parametrize("broken", [(False, True, False), (False, False, True)])
def test_not_a_number_is_refused_wherever_it_comes(namers, monkeypatch, broken):
    calls, encode = iter(broken), namers[1].encode_image

    def spoil(images):
        features = encode(images)
        return replace(features, embedding=features.embedding * (float("nan") if next(calls) else 1))

    monkeypatch.setattr(namers[1], "encode_image", spoil)
    with pytest.raises(ModelError, match="logits differ by nan"):
        check_numbers(*namers)


def test_other_masks_are_refused(pair, tiny_dataset):
    shift(pair[0], 100)
    shift(pair[1], -100)
    with pytest.raises(ModelError, match=r"8 bits change Dice from 0\.\d+ to 0\.000 on 2 images"):
        check_dice(*pair, SegmentationDataset(tiny_dataset, "val"), lambda: None)


def test_equal_masks_have_equal_dice(pair, tiny_dataset):
    seen = []
    found = check_dice(*pair, SegmentationDataset(tiny_dataset, "val"), lambda: seen.append(1))
    assert (found.images, len(seen), found.change) == (2, 2, 0)


def test_an_export_without_existence_is_refused(namers, monkeypatch):
    decode = namers[1].decode
    monkeypatch.setattr(namers[1], "decode", lambda *features: MaskPrediction(decode(*features).logits))
    with pytest.raises(ModelError, match="the export answers otherwise: expected .*'existence'"):
        check_numbers(*namers)


@pytest.mark.slow
def test_vectors_that_only_naming_uses_are_compared_too(namers, monkeypatch):
    turn_images(namers[1], monkeypatch, 0.01)
    assert largest_difference(*namers) == pytest.approx(0.01, abs=1e-4)


@pytest.mark.slow
def test_an_export_names_where_its_model_does_and_little_changes(namers, tiny_dataset, monkeypatch, build_tiny):
    validation = SegmentationDataset(tiny_dataset, "val")
    assert why_not_naming(*namers, None) is None
    assert why_not_naming(*namers, validation) is None
    turn_images(namers[1], monkeypatch, 1.0)
    assert "8 bits change a station's log-odds by" in why_not_naming(*namers, validation)
    assert "share no space" in why_not_naming(build_tiny("unet_d"), build_tiny("unet_d"), None)


def turn_images(model, monkeypatch, by):
    """Add a number to every entry of the image vectors."""
    encode = model.encode_image

    def turned(images):
        features = encode(images)
        return replace(features, embedding=features.embedding + by * torch.eye(1, features.embedding.shape[1]))

    monkeypatch.setattr(model, "encode_image", turned)
