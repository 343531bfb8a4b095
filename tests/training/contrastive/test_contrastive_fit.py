import json
from dataclasses import replace

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer

from vesalius.data.slices.table import read_slice_table, write_table
from vesalius.errors import ConfigError, DataError, ModelError
from vesalius.models.checkpoint_file import read_notes
from vesalius.models.checkpoints import load_model
from vesalius.prompts.anatomy_captions import PLAIN
from vesalius.training.callbacks import KeepBest
from vesalius.training.contrastive import ContrastiveConfig, ContrastiveModule, fit_contrastive
from vesalius.training.lora import LoraConfig
from vesalius.training.losses import ContrastiveLoss
from vesalius.training.runtime_options import RuntimeOptions

SHORT = ContrastiveConfig(learning_rate=1e-3, batch_size=4, max_epochs=3, min_epochs=1, schedule="cosine")


def fit(build_tiny, data, out, config=SHORT, name="clip_vit_b32", **running):
    model = build_tiny(name)
    return model, fit_contrastive(model, [data], out, config.for_model(model, ()), RuntimeOptions(**running))


@pytest.mark.parametrize("kind", ["paper", "unicl", "siglip"])
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


@pytest.mark.slow
def test_captions_are_learnt(build_tiny, tiny_slices, tmp_path):
    fit(build_tiny, tiny_slices, tmp_path, replace(SHORT, max_epochs=8, captions=PLAIN))
    losses = [float(line.split(",")[3]) for line in (tmp_path / "metrics.csv").read_text().splitlines()[1:]]
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("step", [pytest.param(0, marks=pytest.mark.slow), 1])
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


def test_validation_slices_of_which_nothing_is_known_are_refused(build_tiny, tiny_slices, tmp_path):
    rows = read_slice_table(tiny_slices)
    bare = [replace(row, label=replace(row.label, stations=frozenset(), organs=frozenset())) for row in rows]
    (tmp_path / "slices").symlink_to(tiny_slices / "slices")
    write_table(tmp_path, [bare[place] if row.split == "val" else row for place, row in enumerate(rows)])
    with pytest.raises(DataError, match="no validation slice shows a known organ or station"):
        fit(build_tiny, tmp_path, tmp_path / "out")
