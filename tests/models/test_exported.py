from pathlib import Path

import numpy as np
import pytest
import torch

from vesalius.errors import ModelError
from vesalius.imaging import MedicalImage
from vesalius.models.exported import ExportedSegmenter, flatten_image, flatten_text, restore_image, restore_text
from vesalius.naming import AnatomyLabeller


@pytest.fixture(scope="module")
def pair(build_tiny):
    """A model, and one whose graphs are that model's own steps."""
    model = build_tiny("pocket")

    def decode(tensors):
        batch = len(tensors["text_embedding"])
        found = model.decode(restore_image(tensors, batch), restore_text(tensors, batch))
        return {"logits": found.logits, "existence": found.existence}

    graphs = {
        "image": lambda tensors: flatten_image(model.encode_pixels(tensors["pixel_values"])),
        "text": lambda tensors: flatten_text(model.encode_tokens(tensors["input_ids"], tensors["attention_mask"])),
        "decoder": decode,
    }
    return model, ExportedSegmenter(model, graphs).eval()


def test_it_answers_as_the_model_it_was_made_from(pair):
    model, exported = pair
    images, prompts = torch.rand(2, 3, 40, 56), ["polyp", "one small polyp"]
    with torch.inference_mode():
        expected, found = model.predict(images, prompts), exported.predict(images, prompts)
    assert torch.equal(found.logits, expected.logits)
    assert torch.equal(found.existence, expected.existence)


def test_it_judges_existence_where_its_model_does(pair):
    assert pair[1].judges_existence


def test_it_names_as_its_model_does(pair):
    image = MedicalImage(torch.rand(3, 40, 48).numpy(), source=Path("x"), affine=np.eye(4), modality="CT")
    expected, found = (AnatomyLabeller(model).label(image).to_dict() for model in pair)
    assert found == expected


def test_it_cannot_be_trained(pair):
    with pytest.raises(ModelError, match=r"\(pocket\) cannot be trained; use the checkpoint"):
        pair[1].train()


def test_it_cannot_be_saved_as_a_checkpoint(pair):
    with pytest.raises(ModelError, match="cannot be saved as a checkpoint"):
        pair[1].state_dict()
