"""Models that name, by name."""

import pytest
import torch

from vesalius.errors import ModelError
from vesalius.imaging import MedicalImage
from vesalius.models.checkpoints import save_model
from vesalius.naming import AnatomyLabeller
from vesalius.naming.labeller import load_namer


@pytest.fixture
def no_weights(monkeypatch, tmp_path):
    monkeypatch.setenv("VESALIUS_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


def test_without_weights_it_is_said_where_they_belong(no_weights):
    with pytest.raises(ModelError, match="vesalius weights fetch pubmedclip-vit32") as caught:
        load_namer("pubmedclip")
    assert str(no_weights / "pubmedclip-vit32" / "PubMedCLIP_ViT32.pth") in str(caught.value)


def test_a_vocabulary_is_no_model(no_weights):
    with pytest.raises(ModelError, match="not a model"):
        load_namer("pubmedbert-vocabulary")


def test_an_unknown_model_is_refused(no_weights):
    with pytest.raises(ModelError, match="Did you mean 'pocket'"):
        load_namer("pokcet")


@pytest.mark.parametrize("name", ["pocket", "clip_vit_b32"])
def test_a_checkpoint_brings_its_calibration(build_tiny, tmp_path, name):
    scaling = {"labels": ["liver"], "slopes": [1.0], "offsets": [0.0]}
    notes = {"naming": {"calibration": {"organs": scaling}, "threshold": 0.6}}
    save_model(build_tiny(name), tmp_path / "model.safetensors", notes)
    model, calibration = load_namer(tmp_path)
    assert model.recipe.name == name
    assert calibration.least_probability == 0.6
    labeller = AnatomyLabeller(tmp_path / "model.safetensors")
    named = labeller.label(MedicalImage(torch.rand(1, 40, 40).numpy(), source=tmp_path))
    assert list(named.slices[0].organ_probabilities) == ["liver"]
    assert named.calibrated == ("organs",)
