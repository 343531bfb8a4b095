import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer

from vesalius.data.slices.table import read_slice_table, write_slice_table
from vesalius.errors import ConfigError, DataError, ModelError
from vesalius.models.checkpoint_file import read_notes
from vesalius.models.checkpoints import load_model
from vesalius.prompts.anatomy import ORGANS, STATIONS, AnatomyLabel, Statement
from vesalius.prompts.anatomy_captions import PLAIN
from vesalius.training.callbacks import KeepBest
from vesalius.training.config import read_recipe
from vesalius.training.contrastive import ContrastiveConfig, ContrastiveModule, fit_contrastive, match, top1_hits
from vesalius.training.lora import LoraConfig
from vesalius.training.losses import ContrastiveLoss
from vesalius.training.runtime_options import RuntimeOptions

pytestmark = pytest.mark.slow

RECIPES = sorted((Path(__file__).parents[2] / "recipes" / "anatomy").glob("pmc*.toml"))


def test_models_that_segment_keep_their_encoders_unless_it_is_said(build_tiny):
    config, pocket, clip = ContrastiveConfig(), build_tiny("pocket"), build_tiny("clip_vit_b32")
    assert config.for_model(pocket, ()).freeze == ("image", "text")
    assert config.for_model(pocket, ("freeze",)).freeze == ()
    assert config.for_model(clip, ()) is config
    assert config.for_model(pocket, ()).freeze_batch_norm
    assert not config.for_model(pocket, ("freeze_batch_norm",)).freeze_batch_norm


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_papers_recipes_are_settings(path):
    config = ContrastiveConfig.from_dict(read_recipe(path))
    assert config.loss.kind == "paper"
    assert json.loads(json.dumps(config.to_dict()))["captions"]["stations"] == list(config.captions.stations)


def test_the_papers_recipes_are_three_steps():
    m, ms, msa = (ContrastiveConfig.from_dict(read_recipe(path)) for path in RECIPES)
    assert (m.captions.stations, len(ms.captions.stations)) == ((), 5)
    assert (ms.captions.shuffle, msa.captions.shuffle) == (0, 1)
    assert (ms.augment.clahe, msa.augment.clahe) == (0, 0.2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 1}, "batch_size must be 2 or more"),
        ({"loss": {"kind": "clip"}}, "must be one of 'paper', 'unicl', 'siglip'"),
        ({"augment": {"flip": 0.5}}, r"\[augment\]: No setting named 'flip'"),
        ({"text_lr_scale": 0}, "text_lr_scale must be above 0"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        ContrastiveConfig.from_dict(settings)


LABEL = AnatomyLabel("CT", None, "axial", frozenset({"chest"}), frozenset({"lungs"}), frozenset({"heart"}))


def groups_of(module: ContrastiveModule) -> list[dict]:
    return module.configure_optimizers()["optimizer"].param_groups


def test_a_first_name_is_right_if_it_shows_and_uncertain_names_are_passed_over():
    scores = torch.zeros(3, len(ORGANS))
    scores[0, ORGANS.index("lungs")] = 1
    scores[1, ORGANS.index("heart")], scores[1, ORGANS.index("lungs")] = 2, 1
    scores[2, ORGANS.index("knee")] = 1
    assert top1_hits(scores, [LABEL] * 3, "organs").tolist() == [1, 1, 0]


def test_slices_that_show_nothing_known_do_not_count():
    assert top1_hits(torch.rand(2, len(STATIONS)), [LABEL, AnatomyLabel("CT")], "stations").shape == (1,)


def test_what_is_true_and_known_follows_from_labels():
    true, known = match([LABEL], [Statement("CT"), Statement("MR"), Statement(organs=frozenset({"heart"}))])
    assert true.tolist() == [[True, False, False]]
    assert known.tolist() == [[True, True, False]]


def test_the_temperature_is_held_at_a_hundred(build_tiny):
    module = ContrastiveModule(build_tiny("clip_vit_b32"), ContrastiveConfig(), steps=1)
    with torch.no_grad():
        module.model.log_scale.fill_(9.0)
    module.on_train_batch_end(None, None, 0)
    torch.testing.assert_close(module.log_scale.exp(), torch.tensor(100.0))


def test_only_matrices_decay_and_the_text_tower_moves_more_slowly(build_tiny):
    module = ContrastiveModule(build_tiny("clip_vit_b32"), ContrastiveConfig(learning_rate=1e-3), steps=10)
    groups = module.configure_optimizers()["optimizer"].param_groups
    rate_and_decay = {
        id(each): (group["initial_lr"], group["weight_decay"]) for group in groups for each in group["params"]
    }
    assert rate_and_decay[id(module.model.log_scale)] == (1e-3, 0.0)
    assert rate_and_decay[id(module.model.image.projection.weight)] == (1e-3, 0.1)
    assert {rate_and_decay[id(each)][0] for each in module.model.text.parameters()} == {5e-4}
    assert all(rate_and_decay[id(each)][1] == 0.1 * (each.dim() > 1) for each in module.model.parameters())


def test_siglip_trains_its_bias_from_where_the_first_batch_puts_it(build_tiny):
    config = ContrastiveConfig.from_dict({"loss": {"kind": "siglip"}})
    module = ContrastiveModule(build_tiny("clip_vit_b32"), config, steps=10)
    trained = {
        id(each) for group in module.configure_optimizers()["optimizer"].param_groups for each in group["params"]
    }
    assert id(module.bias) in trained
    assert id(module.organ_bias) not in trained
    module._start(torch.full((4, 4), 5.0), torch.eye(4, dtype=torch.bool), torch.ones(4, 4, dtype=torch.bool))
    first = module.bias.item()
    assert torch.sigmoid(torch.tensor(5 + first)).item() == pytest.approx(0.25, abs=1e-3)
    module._start(torch.zeros(4, 4), torch.eye(4, dtype=torch.bool), torch.ones(4, 4, dtype=torch.bool))
    assert module.bias.item() == first


SHORT = ContrastiveConfig(learning_rate=1e-3, batch_size=4, max_epochs=3, min_epochs=1, schedule="cosine")


def fit(build_tiny, data, out, config=SHORT, name="clip_vit_b32", **running):
    model = build_tiny(name)
    return model, fit_contrastive(model, [data], out, config.for_model(model, ()), RuntimeOptions(**running))


SLOW = pytest.mark.slow


@pytest.mark.parametrize("kind", ["siglip", pytest.param("paper", marks=SLOW), pytest.param("unicl", marks=SLOW)])
def test_training_leaves_weights_a_history_and_what_was_done(build_tiny, tiny_slices, tmp_path, kind):
    config = replace(SHORT, loss=ContrastiveLoss(kind, organs=0.5), max_epochs=1)
    before = build_tiny("clip_vit_b32").state_dict()
    _, result = fit(build_tiny, tiny_slices, tmp_path, config)
    notes = read_notes(result.checkpoint)
    assert notes["config"]["loss"]["kind"] == kind
    assert len(notes["data"][str(tiny_slices.resolve())]["annotations_sha256"]) == 64
    assert notes[ContrastiveModule.monitor] == pytest.approx(result.score)
    assert json.loads((tmp_path / "manifest.json").read_text())["config"] == notes["config"]
    assert (tmp_path / "metrics.csv").read_text().count("\n") == 2
    after = load_model(tmp_path).state_dict()
    assert not torch.equal(after["image.projection.weight"], before["image.projection.weight"])


def test_captions_are_learnt(build_tiny, tiny_slices, tmp_path):
    fit(build_tiny, tiny_slices, tmp_path, replace(SHORT, max_epochs=8, captions=PLAIN))
    with (tmp_path / "metrics.csv").open(encoding="utf-8") as file:
        losses = [float(row["val_loss"]) for row in csv.DictReader(file)]
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.slow  # a cut run of an outlining model goes on in the same way in test_resuming.py
@pytest.mark.parametrize("step", [0, 1])
def test_a_run_cut_inside_an_epoch_ends_as_if_it_had_not_been(build_tiny, tiny_slices, tmp_path, monkeypatch, step):
    def cut(callback: KeepBest, trainer: Trainer, module: LightningModule, batch: object, index: int) -> None:
        if (trainer.current_epoch, index) == (1, step):
            raise RuntimeError("power cut")

    config, habits = replace(SHORT, loss=ContrastiveLoss("siglip", organs=0.5)), {"save_minutes": 1e-6}
    fit(build_tiny, tiny_slices, tmp_path / "unbroken", config)
    with monkeypatch.context() as patch:
        patch.setattr(KeepBest, "on_train_batch_start", cut, raising=False)
        with pytest.raises(RuntimeError, match="power cut"):
            fit(build_tiny, tiny_slices, tmp_path / "resumed", config, **habits)
    fit(build_tiny, tiny_slices, tmp_path / "resumed", config, resume=True, **habits)
    one, other = (
        torch.load(tmp_path / name / "last.ckpt", weights_only=True)["state_dict"] for name in ("unbroken", "resumed")
    )
    assert all(value.equal(other[name]) for name, value in one.items())
    unbroken, resumed = ((tmp_path / name / "metrics.csv").read_text() for name in ("unbroken", "resumed"))
    assert unbroken == resumed


def test_lora_leaves_an_ordinary_checkpoint_that_differs_in_its_attention_alone(build_tiny, tiny_slices, tmp_path):
    pytest.importorskip("peft")
    config = replace(SHORT, freeze=("image", "text"), lora=LoraConfig(rank=2, matrices=("qkv",)))
    before = build_tiny("clip_vit_b32").state_dict()
    fit(build_tiny, tiny_slices, tmp_path, config)
    after = load_model(tmp_path).state_dict()
    assert after.keys() == before.keys()
    changed = {name for name in after if not after[name].equal(before[name])}
    towers = {name for name in changed if ".layers." in name}
    assert towers
    assert all("qkv" in name for name in towers)


def test_of_pocket_only_the_projection_trains(build_tiny, tiny_slices, tmp_path):
    before = {name: value.clone() for name, value in build_tiny("pocket").state_dict().items()}
    model, _ = fit(build_tiny, tiny_slices, tmp_path, replace(SHORT, max_epochs=1), "pocket")
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if name.startswith("projection.")}


def test_what_shares_no_space_is_refused(build_tiny, tiny_slices, tmp_path):
    with pytest.raises(ModelError, match="share no space; expected a model such as clip_vit_b32"):
        fit(build_tiny, tiny_slices, tmp_path, SHORT, "unet_d")


def test_several_devices_are_refused(build_tiny, tiny_slices, tmp_path):
    with pytest.raises(ConfigError, match="take one device"):
        fit(build_tiny, tiny_slices, tmp_path, devices=2)


def test_a_run_that_left_nothing_cannot_be_resumed(build_tiny, tiny_slices, tmp_path):
    with pytest.raises(ConfigError, match="nothing to resume"):
        fit(build_tiny, tiny_slices, tmp_path, resume=True)


def test_a_patient_who_is_trained_on_and_validated_on_is_refused_before_anything_is_written(
    build_tiny, tiny_slices, tmp_path
):
    (tmp_path / "slices").symlink_to(tiny_slices / "slices")
    write_slice_table(tmp_path, [replace(row, patient="one") for row in read_slice_table(tiny_slices)])
    with pytest.raises(DataError, match="1 patients are in train and val, the first is 'one'; split by patient"):
        fit(build_tiny, tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_validation_slices_of_which_nothing_is_known_are_refused(build_tiny, tiny_slices, tmp_path):
    rows = read_slice_table(tiny_slices)
    bare = [replace(row, label=replace(row.label, stations=frozenset(), organs=frozenset())) for row in rows]
    (tmp_path / "slices").symlink_to(tiny_slices / "slices")
    write_slice_table(tmp_path, [bare[place] if row.split == "val" else row for place, row in enumerate(rows)])
    with pytest.raises(DataError, match="no validation slice shows a known organ or station"):
        fit(build_tiny, tmp_path, tmp_path / "out")
