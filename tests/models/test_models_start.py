from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vesalius.errors import ModelError
from vesalius.models import VisionLanguageEncoder, list_models, start
from vesalius.models.checkpoints import save_model
from vesalius.models.public_weights import find_source, read_sources
from vesalius.models.start import DONORS, load_pretrained, needed_weights, start_encoder, start_model

Given = dict[str, VisionLanguageEncoder]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where public weights would lie; empty."""
    monkeypatch.setenv("VESALIUS_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


@pytest.fixture
def donors(build_tiny, monkeypatch: pytest.MonkeyPatch) -> Given:
    """Small models in place of the public ones, by the name of their source."""
    given = {
        "biomedclip": build_tiny("biomedclip", seed=10, image_size=224, layers=3, embedding=64),
        "clipseg-rd64-refined": build_tiny("clipseg", seed=11),
        "clip-rn50": build_tiny("clip_rn50", seed=12, image_size=224),
    }
    by_layout = {find_source(name).layout: donor for name, donor in given.items()}
    monkeypatch.setattr(start, "check_here", lambda names: None)
    monkeypatch.setattr(start, "locate", lambda name: Path(name))
    monkeypatch.setattr(start, "import_checkpoint", lambda path, layout: by_layout[layout])
    return given


@pytest.fixture
def build(build_tiny) -> Callable[..., VisionLanguageEncoder]:
    """A tiny model whose towers are as deep and as wide as the donors'."""

    def build(name: str, **options: object) -> VisionLanguageEncoder:
        if name.startswith("biomedclipseg"):
            options |= {"text_layers": 3, "embedding": 64}
        if name == "ensemble_c":
            options["a"] = {**build("biomedclipseg_a").recipe.options}
        return build_tiny(name, **options)

    return build


class TestDonors:
    @pytest.mark.parametrize("name", DONORS)
    def test_they_are_public_weights_that_name_the_model(self, name):
        assert name in list_models()
        for donor in DONORS[name]:
            source = read_sources()[donor.source]
            assert name in source.models
            assert source.layout is not None

    @pytest.mark.slow
    @pytest.mark.parametrize("name", DONORS)
    def test_every_tensor_they_are_to_replace_is_replaced_and_no_other(self, name, donors, build):
        model = build(name)
        before = {key: value.clone() for key, value in model.state_dict().items()}
        assert load_pretrained(model) is model
        after = model.state_dict()
        replaced = set()
        for donor in DONORS[name]:
            given = donors[donor.source].state_dict()
            for old, new in donor.places.items():
                for key in (key for key in after if key.startswith(new)):
                    assert torch.equal(after[key], given[f"{old}{key.removeprefix(new)}"]), key
                    replaced.add(key)
        assert replaced
        assert all(torch.equal(after[key], before[key]) for key in after.keys() - replaced)

    def test_d_takes_clipsegs_decoder_and_its_namesake_does_not(self, donors, build):
        decoder = donors["clipseg-rd64-refined"].state_dict()["decoder.to_logits.0.weight"]
        assert torch.equal(load_pretrained(build("biomedclipseg_d")).decoder.to_logits[0].weight, decoder)
        assert not torch.equal(load_pretrained(build("biomedclipseg")).decoder.to_logits[0].weight, decoder)

    @pytest.mark.slow
    def test_both_encoders_of_every_model_are_replaced(self, donors, build):
        for name in DONORS:
            model = build(name)
            before = {id(p): p.detach().clone() for p in model.parameters()}
            load_pretrained(model)
            for part in ("image", "text"):
                for module in model.encoder_modules(part):
                    moved = [not torch.equal(p, before[id(p)]) for p in module.parameters() if p.dim() > 1]
                    assert all(moved), (name, part)


class TestFitting:
    @torch.no_grad()
    def test_another_image_size_changes_nothing_but_the_grid(self, donors, build):
        model = load_pretrained(build("clipseg", image_size=96))
        assert torch.equal(model.vision.positions, donors["clipseg-rd64-refined"].vision.positions)
        assert model(torch.rand(1, 3, 50, 40), ["polyp"]).shape == (1, 1, 50, 40)
        fused = load_pretrained(build("clipseg_b", image_size=96))
        assert fused(torch.rand(1, 3, 50, 40), ["polyp"]).isfinite().all()

    def test_another_width_is_refused_with_both_shapes(self, donors, build):
        message = r"for vision\.class_token .*\[64\] where the model has \[128\]; only the image size may differ"
        with pytest.raises(ModelError, match=message):
            load_pretrained(build("biomedclipseg", width=128))

    def test_more_blocks_than_the_public_weights_have_are_refused(self, donors, build):
        with pytest.raises(ModelError, match=r"nothing for vision\.layers\.3\..*; only the image size may differ"):
            load_pretrained(build("biomedclipseg", taps=(1, 2, 4)))


class TestStarting:
    def test_a_named_model_starts_from_nothing_and_the_seed_decides(self):
        (first, origin), (again, _) = (start_model("unet_d", seed=5) for _ in range(2))
        other, _ = start_model("unet_d", seed=6)
        assert origin == "untrained"
        weights = [model.unet.to_logits.weight for model in (first, again, other)]
        assert torch.equal(weights[0], weights[1])
        assert not torch.equal(weights[0], weights[2])

    def test_options_build_it_otherwise(self):
        model, _ = start_model("unet_d", options={"image_size": 64})
        assert model.spec.image_size == 64
        assert model.recipe.options == {"image_size": 64}

    def test_a_checkpoint_goes_on_from_where_it_was(self, build_tiny, tmp_path):
        trained = build_tiny("clipseg", seed=3)
        save_model(trained, tmp_path / "model.safetensors")
        model, origin = start_model(str(tmp_path))
        assert origin == "trained"
        assert torch.equal(model.vision.class_token, trained.vision.class_token)

    @pytest.mark.slow
    def test_a_trained_model_takes_options_that_its_weights_do_not_depend_on(self, build_tiny, tmp_path):
        save_model(build_tiny("pocket", seed=3), tmp_path / "model.safetensors")
        model, origin = start_model(str(tmp_path), options={"image_size": 96})
        assert (origin, model.spec.image_size, model.training) == ("trained", 96, False)
        assert model.recipe.options["image_size"] == 96
        torch.testing.assert_close(model.state_dict(), build_tiny("pocket", seed=3).state_dict())

    def test_a_trained_model_takes_no_other_options(self, build_tiny, tmp_path):
        save_model(build_tiny("pocket"), tmp_path / "model.safetensors")
        with pytest.raises(ModelError, match="are not those of PocketSegmenter: .* of another shape"):
            start_model(str(tmp_path), options={"condition": 24})

    def test_a_trained_model_is_not_given_other_weights(self):
        with pytest.raises(ModelError, match="--pretrained cannot be used with pocket"):
            start_model("pocket", pretrained=True)

    def test_pretrained_means_the_public_weights(self, donors, monkeypatch, build):
        monkeypatch.setattr(start, "build_model", lambda name, **options: build(name))
        model, origin = start_model("clipseg", pretrained=True)
        assert origin == "pretrained"
        assert torch.equal(model.vision.class_token, donors["clipseg-rd64-refined"].vision.class_token)

    def test_a_model_without_public_weights_says_so(self):
        with pytest.raises(ModelError, match="unet_d: no public weights to start from; with some: biomedclipseg,"):
            start_model("unet_d", pretrained=True)

    def test_what_is_missing_is_named_before_anything_is_read(self, build, folder, monkeypatch):
        source = find_source("clipseg-rd64-refined")
        monkeypatch.setattr(start, "import_checkpoint", lambda *_: pytest.fail("read a file"))
        with pytest.raises(ModelError) as caught:
            load_pretrained(build("ensemble_c"))
        told = str(caught.value)
        assert told.startswith("biomedclip is not on this machine; clipseg-rd64-refined is not on this machine. Run: ")
        assert "vesalius weights fetch biomedclip clipseg-rd64-refined. " in told
        assert all(str(find_source(name).path) in told for name in ("biomedclip", "clipseg-rd64-refined"))
        with pytest.raises(ModelError, match="clipseg-rd64-refined is not on this machine") as caught:
            load_pretrained(build("clipseg"))
        assert str(folder / "clipseg-rd64-refined" / source.file) in str(caught.value)


class TestNeeds:
    def test_all_that_is_missing_is_told_before_anything_is_built(self, monkeypatch):
        monkeypatch.setattr(start, "build_model", lambda *_, **__: pytest.fail("built a model"))
        with pytest.raises(ModelError) as caught:
            start_model("ensemble_c", pretrained=True)
        assert "vesalius weights fetch biomedclip clipseg-rd64-refined pubmedbert-vocabulary." in str(caught.value)

    def test_a_vocabulary_is_missed_before_a_model_is_built_too(self, monkeypatch):
        monkeypatch.setattr(start, "build_model", lambda *_, **__: pytest.fail("built a model"))
        with pytest.raises(ModelError, match="pubmedbert-vocabulary is not on this machine"):
            start_model("biomedclipseg")

    def test_what_is_here_is_not_missed(self, monkeypatch):
        row = find_source("biomedclip")
        monkeypatch.setitem(read_sources(), "biomedclip", replace(row, size=None))
        row.path.parent.mkdir(parents=True)
        row.path.touch()
        with pytest.raises(ModelError, match="^clipseg-rd64-refined is not on this machine; pubmedbert-vocabulary is"):
            start_model("ensemble_c", pretrained=True)

    @pytest.mark.parametrize(
        ("name", "options", "rows"),
        [
            ("clipseg", {}, ["clipseg-rd64-refined"]),
            ("cris", {}, ["clip-rn50"]),
            ("ensemble_c", {}, ["biomedclip", "clipseg-rd64-refined", "pubmedbert-vocabulary"]),
            ("ensemble_c", {"a": {"vocabulary": "bert"}}, ["biomedclip", "clipseg-rd64-refined"]),
            ("biomedclip", {}, ["biomedclip", "pubmedbert-vocabulary"]),
            ("pubmedclip", {}, ["pubmedclip-vit32"]),
            ("clip_vit_b16", {}, ["clip-vit-b16"]),
        ],
    )
    def test_every_model_has_its_rows(self, name, options, rows):
        assert needed_weights(name, options) == rows

    def test_every_row_that_is_needed_exists(self):
        assert all(row in read_sources() for name in DONORS for row in needed_weights(name))


@pytest.mark.slow
def test_files_in_their_places_become_a_model_of_full_size(golden, folder, monkeypatch):
    clipseg, biomedclip = golden("clipseg_hf").weights(), golden("biomedclip_open_clip").weights()
    for name, write, weights in (
        ("clipseg-rd64-refined", save_file, clipseg),
        ("biomedclip", torch.save, biomedclip),
    ):
        source = find_source(name)
        source.path.parent.mkdir(parents=True)
        write(weights, source.path)
        # These are not the published bytes, so their number is not the published one.
        monkeypatch.setitem(read_sources(), name, replace(source, size=None, sha256=None))
    vocabulary = find_source("pubmedbert-vocabulary")
    vocabulary.path.parent.mkdir(parents=True)
    vocabulary.path.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\npolyp\n", encoding="utf-8")
    monkeypatch.setitem(read_sources(), vocabulary.name, replace(vocabulary, size=None, sha256=None))
    model, origin = start_model("biomedclipseg_d", pretrained=True)
    assert origin == "pretrained"
    assert torch.equal(model.vision.class_token, biomedclip["visual.trunk.cls_token"][0, 0])
    assert torch.equal(model.text.projection[2].weight, biomedclip["text.proj.2.weight"])
    assert torch.equal(model.decoder.film.scale.weight, clipseg["decoder.film_mul.weight"])


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
    with pytest.raises(ModelError, match=message) as caught:
        start_encoder(source)
    assert not any(other in str(caught.value) for other in ("clipseg", "unet_d", "vocabulary"))


def test_a_mistyped_model_is_not_taken_for_a_trained_one():
    with pytest.raises(ModelError, match="Did you mean 'clipseg'"):
        start_model("clipsegg", pretrained=True)


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("VESALIUS_WEIGHTS", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", ["pubmedclip", "pubmedclip-vit32-hf", "biomedclip", "clip-vit-b16"])
def test_it_knows_the_names_that_naming_knows(empty_folder, name):
    """And says which file is missing, and how to get it."""
    with pytest.raises(ModelError, match="is not on this machine.*vesalius weights fetch"):
        start_encoder(name)


def test_public_weights_are_where_training_starts(empty_folder, build_tiny, monkeypatch):
    row = read_sources()["pubmedclip-vit32-hf"]
    monkeypatch.setitem(read_sources(), row.name, replace(row, size=None))
    row.path.parent.mkdir(parents=True)
    row.path.touch()
    public = build_tiny("clip_vit_b32")
    monkeypatch.setattr(start, "import_checkpoint", lambda path, layout: public)
    assert start_encoder("pubmedclip") == (public, "pretrained")
    with pytest.raises(ModelError, match="cannot change it"):
        start_encoder("pubmedclip", options=TINY)


def test_a_vocabulary_is_no_model(empty_folder):
    with pytest.raises(ModelError, match="pubmedbert-vocabulary: is the word pieces .*, not a model"):
        start_encoder("pubmedbert-vocabulary")
