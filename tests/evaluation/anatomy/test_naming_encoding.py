from dataclasses import dataclass

import numpy as np
import pytest
import torch

from vesalius.data.slices.dataset import AnatomySample
from vesalius.evaluation.naming.encoding import BATCH, EncodedSlices, encode_slices, ensemble_phrases, score_labels
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
