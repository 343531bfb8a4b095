from dataclasses import replace

import pytest
import torch

from vesalius.errors import ModelError
from vesalius.models import start
from vesalius.models.checkpoints import save_model
from vesalius.models.public_weights import read_sources
from vesalius.models.start import start_encoder

TINY = {"image_size": 32, "width": 64, "text_width": 64, "layers": 1}


def test_a_named_encoder_is_built_from_its_seed():
    first, origin = start_encoder("clip_vit_b32", seed=3, options=TINY)
    same, _ = start_encoder("clip_vit_b32", seed=3, options=TINY)
    assert origin == "untrained"
    assert all(torch.equal(one, two) for one, two in zip(first.parameters(), same.parameters(), strict=True))


def test_a_checkpoint_is_loaded_as_it_is(build_tiny, tmp_path):
    model = build_tiny("clip_vit_b32")
    save_model(model, tmp_path / "model.safetensors")
    for source in (tmp_path, tmp_path / "model.safetensors"):
        loaded, origin = start_encoder(str(source))
        assert origin == "trained"
        assert torch.equal(loaded.image.projection.weight, model.image.projection.weight)
    with pytest.raises(ModelError, match="cannot change it"):
        start_encoder(str(tmp_path), options=TINY)


@pytest.mark.parametrize(
    ("source", "message"), [("clip_vit_b33", "Did you mean 'clip_vit_b32'"), ("a/b.safetensors", "no such checkpoint")]
)
def test_what_does_not_exist_is_named(source, message):
    with pytest.raises(ModelError, match=message):
        start_encoder(source)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("VESALIUS_WEIGHTS", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", ["pubmedclip", "pubmedclip-vit32-hf", "biomedclip", "clip-vit-b16"])
def test_it_knows_the_names_that_naming_knows(folder, name):
    """And says which file is missing, and how to get it."""
    with pytest.raises(ModelError, match="is not on this machine.*vesalius weights fetch"):
        start_encoder(name)


def test_public_weights_are_where_training_starts(folder, build_tiny, monkeypatch):
    row = read_sources()["pubmedclip-vit32-hf"]
    monkeypatch.setitem(read_sources(), row.name, replace(row, size=None))
    row.path.parent.mkdir(parents=True)
    row.path.touch()
    public = build_tiny("clip_vit_b32")
    monkeypatch.setattr(start, "import_checkpoint", lambda path, layout: public)
    assert start_encoder("pubmedclip") == (public, "pretrained")
    with pytest.raises(ModelError, match="cannot change it"):
        start_encoder("pubmedclip", options=TINY)


def test_a_vocabulary_is_no_model(folder):
    with pytest.raises(ModelError, match="pubmedbert-vocabulary: is the word pieces .*, not a model"):
        start_encoder("pubmedbert-vocabulary")
