"""PubMedCLIP's file, where ``weights fetch`` puts it, through the labeller's own path."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vesalius.imaging import MedicalImage
from vesalius.naming import AnatomyLabeller


@pytest.mark.slow
@torch.no_grad()
def test_the_labeller_sees_what_the_original_sees(golden, tmp_path, monkeypatch):
    original = golden("clip_vit_b32_openai")
    path = tmp_path / "pubmedclip-vit32" / "PubMedCLIP_ViT32.pth"
    path.parent.mkdir()
    torch.save({"epoch": 3, "state_dict": original.weights()}, path)
    monkeypatch.setenv("VESALIUS_WEIGHTS", str(tmp_path))
    labeller = AnatomyLabeller("pubmedclip")
    path.unlink()
    pixels, spec = original.image(), labeller.runtime.model.spec
    mean, std = (torch.tensor(each)[:, None, None] for each in (spec.mean, spec.std))
    seen = torch.from_numpy(labeller._encode((pixels * std + mean).permute(0, 2, 3, 1).numpy()))
    expected = F.normalize(torch.from_numpy(original.outputs["out_image_features"]), dim=-1)
    torch.testing.assert_close(seen, expected, rtol=0, atol=1e-4)
    named = labeller.label(MedicalImage(np.zeros((2, 32, 32), np.uint8), source=Path("x")))
    assert sum(named.slices[0].organ_probabilities.values()) == pytest.approx(1)
