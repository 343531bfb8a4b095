import dataclasses
import sys

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor

from vesalius.errors import ConfigError, MissingPackageError
from vesalius.models import Segmenter
from vesalius.models.checkpoints import load_model
from vesalius.training.callbacks import History
from vesalius.training.config import TrainConfig
from vesalius.training.fit import fit
from vesalius.training.lora import LoraConfig, add_lora, lora_merged, merge_lora
from vesalius.training.module import group_parameters, split_state
from vesalius.training.runtime_options import RuntimeOptions

pytestmark = pytest.mark.slow

TEXTS = {
    "clipseg": "text.layers",
    "biomedclipseg": "text.bert.layers",
    "cris": "text.layers",
    "pocket": "sentences.layers",
}
LORA = LoraConfig(rank=2, dropout=0.1)
CONFIG = TrainConfig(learning_rate=0.01, batch_size=2, max_epochs=1, ema_decay=0.5, lora=LORA)
PROMPTS = ["polyp", "lungs"]


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def adapted(model: Segmenter, config: LoraConfig = LORA, *, scatter: bool = False) -> Segmenter:
    """The model with changes, which differ from zero if they are to be scattered."""
    add_lora(model.freeze(*({"image", "text"} - set(config.parts))), config)
    for name, parameter in model.named_parameters():
        if scatter and "lora_B" in name:
            torch.nn.init.normal_(parameter)
    return model.eval()


def trained_names(model: Segmenter) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


@torch.no_grad()
def test_the_start_is_the_plain_model_bit_for_bit(build_tiny, images):
    plain = build_tiny("clipseg")(images, PROMPTS)
    assert torch.equal(adapted(build_tiny("clipseg"))(images, PROMPTS), plain)


@pytest.mark.parametrize(("name", "layers"), TEXTS.items())
def test_text_towers_of_all_kinds_change_only_in_the_matrices_that_are_named(build_tiny, name, layers):
    model = adapted(build_tiny(name), LoraConfig(rank=2, parts=("text",), matrices=("out", "down")))
    changed = {name for name in trained_names(model) if "lora_" in name}
    places = {part for part, _ in (name.split(".lora_") for name in changed)}
    assert changed
    assert all(place.startswith(layers) and place.endswith((".out", ".down")) for place in places)
    assert len(changed) == 2 * len(places)


def test_the_optimiser_gets_the_changes_and_the_decoder(build_tiny):
    model = adapted(build_tiny("biomedclipseg"))
    optimised = {id(p) for group in group_parameters(model, CONFIG) for p in group["params"]}
    named = {name for name, parameter in model.named_parameters() if id(parameter) in optimised}
    assert named == trained_names(model)
    assert {name.split(".")[0] for name in named} == {"vision", "text", "decoder"}
    assert all("lora_" in name for name in named if not name.startswith("decoder."))


def test_no_rank_changes_nothing(build_tiny):
    plain = build_tiny("clipseg").freeze("text")
    before = trained_names(plain)
    add_lora(plain, LoraConfig())
    assert trained_names(plain) == before


@pytest.mark.parametrize("name", ["clipseg", "biomedclipseg_a", "ensemble_c"])
@torch.no_grad()
def test_merged_changes_give_the_same_logits_under_the_ordinary_names(build_tiny, images, name):
    plain = build_tiny(name)
    model = adapted(build_tiny(name), scatter=True)
    expected = model(images, PROMPTS)
    assert not torch.allclose(plain(images, PROMPTS), expected, atol=1e-2)
    with lora_merged(model):
        assert list(model.state_dict()) == list(plain.state_dict())
        torch.testing.assert_close(model(images, PROMPTS), expected, rtol=0, atol=1e-5)
    assert torch.equal(model(images, PROMPTS), expected)
    merge_lora(model)
    assert list(model.state_dict()) == list(plain.state_dict())
    torch.testing.assert_close(model(images, PROMPTS), expected, rtol=0, atol=1e-5)
    adapted(model)  # it can be trained again


class TestRuns:
    @pytest.fixture
    def held(self, monkeypatch) -> list[dict[str, Tensor]]:
        """What does not train, as it is after each epoch of a run."""
        states = []

        def note(callback: History, trainer: Trainer, module: LightningModule) -> None:
            states.append({name: value.clone() for name, value in split_state(module.model)[0].items()})

        monkeypatch.setattr(History, "on_validation_end", note)
        return states

    def test_the_checkpoint_is_an_ordinary_one_with_the_trained_models_logits(self, build_tiny, tiny_dataset, tmp_path):
        model = build_tiny("clipseg")
        before = {name: value.clone() for name, value in model.state_dict().items()}
        fit(model, [tiny_dataset], tmp_path, dataclasses.replace(CONFIG, ema_decay=0.0))
        saved = load_model(tmp_path)
        image, prompts = torch.ones(1, 3, 64, 64), ["polyp"]
        torch.testing.assert_close(saved(image, prompts), model.eval()(image, prompts), rtol=0, atol=1e-5)
        moved = {name for name, value in saved.state_dict().items() if not torch.equal(value, before[name])}
        encoders = {name for name in moved if not name.startswith("decoder.")}
        assert {name.rsplit(".", 2)[1] for name in encoders} == {"qkv", "out"}
        assert all(name.endswith(".weight") for name in encoders)

    def test_encoders_own_weights_stay_bit_for_bit(self, build_tiny, tiny_dataset, tmp_path, held):
        before = build_tiny("clipseg").state_dict()
        fit(build_tiny("clipseg"), [tiny_dataset], tmp_path, CONFIG)
        (state,) = held
        assert len(state) == len([name for name in before if name.startswith(("vision.", "text."))])
        assert all(torch.equal(value, before[name.replace(".base_layer", "")]) for name, value in state.items())

    def test_the_state_to_resume_from_holds_changes_and_decoder(self, build_tiny, tiny_dataset, tmp_path):
        fit(build_tiny("clipseg"), [tiny_dataset], tmp_path, CONFIG)
        state = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
        kept = {name for name in state if name.startswith("model.")}
        assert kept
        assert all("lora_" in name or name.startswith("model.decoder.") for name in kept)

    def test_a_resumed_run_ends_as_an_uninterrupted_one(self, build_tiny, tiny_dataset, tmp_path):
        two = dataclasses.replace(CONFIG, max_epochs=2)
        fit(build_tiny("clipseg"), [tiny_dataset], tmp_path / "unbroken", two)
        fit(build_tiny("clipseg"), [tiny_dataset], tmp_path / "resumed", CONFIG)
        fit(build_tiny("clipseg"), [tiny_dataset], tmp_path / "resumed", two, RuntimeOptions(resume=True))
        states = [
            torch.load(tmp_path / run / "last.ckpt", weights_only=True)["state_dict"] for run in ("unbroken", "resumed")
        ]
        assert states[0].keys() == states[1].keys()
        assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())

    def test_a_run_is_not_resumed_on_other_weights(self, build_tiny, tiny_dataset, tmp_path):
        fit(build_tiny("clipseg"), [tiny_dataset], tmp_path, CONFIG)
        with pytest.raises(ConfigError, match="other weights"):
            fit(build_tiny("clipseg", seed=9), [tiny_dataset], tmp_path, CONFIG, RuntimeOptions(resume=True))

    def test_a_changed_image_encoder_is_not_stored_and_a_frozen_one_is(
        self, build_tiny, tiny_dataset, tmp_path, capsys
    ):
        stored = dataclasses.replace(CONFIG, cached_augmentations=1)
        fit(build_tiny("clipseg"), [tiny_dataset], tmp_path / "both", stored)
        assert "Features are not stored: the image encoder trains" in capsys.readouterr().err
        text = dataclasses.replace(stored, lora=LoraConfig(rank=2, parts=("text",)))
        fit(build_tiny("pocket"), [tiny_dataset], tmp_path / "text", text)
        assert (tmp_path / "text" / "features").is_dir()


@pytest.mark.parametrize("name", ["pocket", "cris", "unet_d"])
def test_an_encoder_without_transformer_layers_is_named(build_tiny, name):
    message = (
        rf"image encoder of {name} has no transformer layers, which LoRA changes. Leave it out of parts in \[lora\]"
    )
    with pytest.raises(ConfigError, match=message):
        add_lora(build_tiny(name), LORA)


def test_a_missing_package_is_named_with_its_extra(build_tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingPackageError, match=r"peft is not installed .* pip install 'vesalius\[lora\]'"):
        add_lora(build_tiny("clipseg"), LORA)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": -1}, "rank must be at least 0, got -1"),
        ({"rank": 2, "alpha": 0}, "alpha must be above 0, got 0"),
        ({"rank": 2, "dropout": 1}, "dropout must be at least 0 and below 1, got 1"),
        ({"rank": 2, "parts": []}, r"parts of \[lora\] must name one at least"),
        ({"rank": 2, "matrices": []}, r"matrices of \[lora\] must name one at least"),
        (
            {"rank": 2, "matrices": ["query"]},
            r"\[lora\]: matrices must be one of 'qkv', 'out', 'up', 'down', got 'query'",
        ),
        ({"rank": 2, "parts": 2}, r"\[lora\]: parts must be a list, got 2"),
    ],
)
def test_a_wrong_setting_is_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig.from_dict({"lora": settings})


def test_an_encoder_trains_whole_or_through_its_changes():
    with pytest.raises(
        ConfigError, match=r"\[lora\] changes the image encoder, which trains whole; name 'image' in freeze"
    ):
        TrainConfig.from_dict({"freeze": ["text"], "lora": {"rank": 4}})
    config = TrainConfig.from_dict({"freeze": ["text"], "lora": {"rank": 4, "parts": ["text"]}})
    assert config.lora.adapted == ("text",)
