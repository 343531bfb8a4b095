import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from vesalius.data.slices.dataset import AnatomySample
from vesalius.evaluation.naming.encoding import (
    BATCH,
    EncodedSlices,
    encode_slices,
    ensemble_phrases,
    measure_sensitivity,
    read_wordings,
    score_labels,
)
from vesalius.models.clip import logit_scale
from vesalius.models.registry import LOGIT_SCALE
from vesalius.prompts.anatomy import ORGANS, STATIONS, AnatomyLabel


@dataclass
class Noise:
    """Slices of noise; counts how often each is read."""

    count: int
    reads: int = 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> AnatomySample:
        self.reads += 1
        image = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(index))
        label = AnatomyLabel("CT" if index else None, organs=frozenset({"liver"}), uncertain=frozenset({"lungs"}))
        return AnatomySample(image, label, f"p{index}")


@pytest.fixture(scope="module")
def model(build_tiny):
    return build_tiny("clip_vit_b32")


def test_every_slice_is_read_and_encoded_once(model):
    noise, steps = Noise(BATCH + 3), []
    found = encode_slices(model, noise, steps.append)
    assert (noise.reads, steps) == (BATCH + 3, [BATCH, 3])
    np.testing.assert_allclose(found.vectors.norm(dim=1), 1, atol=1e-5)
    alone = model.encode_image(noise[5].image[None]).embedding
    torch.testing.assert_close(found.vectors[5:6], alone.detach(), atol=1e-5, rtol=1e-4)
    assert found.patients[-1] == f"p{BATCH + 2}"
    assert found.groups[:2] == ("unknown modality", "CT")


def test_scores_are_the_models_own_logits_for_one_phrase(model):
    noise = Noise(3)
    case = score_labels(model, encode_slices(model, noise), "organs", ("liver", "brain"), lambda kind, label: (label,))
    with torch.no_grad():
        expected = model(torch.stack([noise[index].image for index in range(3)]), ["liver", "brain"])
    np.testing.assert_allclose(case.scores, expected, rtol=1e-4, atol=1e-4)
    assert case.truth.tolist() == [[1, 0]] * 3


def test_phrases_of_every_label_differ_and_name_it():
    for kind, labels in (("organs", ORGANS), ("stations", STATIONS)):
        for label in labels:
            phrases = ensemble_phrases(kind, label)
            assert len(set(phrases)) == len(phrases) >= 4
            assert any(label in phrase for phrase in phrases)


def test_models_without_a_temperature_have_that_of_naming(build_tiny, model):
    assert logit_scale(build_tiny("pocket")) == LOGIT_SCALE
    assert logit_scale(model) == pytest.approx(1 / 0.07)


def test_any_encoder_with_a_shared_space_can_be_asked(build_tiny):
    pocket = build_tiny("pocket")
    found = encode_slices(pocket, Noise(2))
    assert isinstance(found, EncodedSlices)
    assert score_labels(pocket, found, "stations", STATIONS).scores.shape == (2, len(STATIONS))


def test_there_are_ten_different_wordings_or_more_each_with_a_place_for_the_label():
    wordings = read_wordings()
    assert len(set(wordings)) == len(wordings) >= 10
    assert all(wording.count("{label}") == 1 for wording in wordings)
    assert all("{" not in wording.format(label="liver") for wording in wordings)


def test_the_spread_is_that_of_single_wordings(build_tiny, make_slices):
    model = build_tiny("clip_vit_b32")
    found = measure_sensitivity(model, make_slices(), "stations", STATIONS, np.ones(len(STATIONS), bool))
    values = [each["top1"] for each in found.wordings.values()]
    assert len(values) == len(read_wordings())
    assert found.spread["top1"].mean == pytest.approx(np.mean(values))
    assert found.spread["top1"].sd == pytest.approx(np.std(values, ddof=1))
    assert (found.spread["top1"].lowest, found.spread["top1"].highest) == (min(values), max(values))
    json.dumps(found.to_dict(), allow_nan=False)


def test_without_labels_that_count_there_is_no_area(build_tiny, make_slices):
    model = build_tiny("clip_vit_b32")
    found = measure_sensitivity(model, make_slices(), "stations", STATIONS, np.zeros(len(STATIONS), bool))
    assert found.spread["auroc"] is None
