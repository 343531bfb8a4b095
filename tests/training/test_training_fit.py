import csv
import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from torch.utils.data import DataLoader

import vesalius
from vesalius.data.datasets import SegmentationDataset
from vesalius.data.fingerprints import Fingerprints, read_fingerprints
from vesalius.data.views import PromptMix, ValidationView, collate
from vesalius.errors import ConfigError, DataError, OutputError
from vesalius.evaluation.metrics import dice
from vesalius.imaging import read_mask, write_mask
from vesalius.journal import alone
from vesalius.models import Segmenter
from vesalius.models.checkpoint_file import read_notes
from vesalius.models.checkpoints import load_model
from vesalius.provenance import hash_annotations, identify_data
from vesalius.training.callbacks import NextEpoch
from vesalius.training.config import TrainConfig
from vesalius.training.fit import LOCK, RunResult, describe_run, fit
from vesalius.training.runtime_options import RuntimeOptions

pytestmark = pytest.mark.slow

ONE_EPOCH = TrainConfig(
    learning_rate=1e-3, batch_size=2, max_epochs=1, freeze=(), prompts=PromptMix(paraphrases=0.3, absent=0.2)
)


@pytest.fixture(scope="module")
def finished(build_tiny, tiny_dataset, tmp_path_factory) -> RunResult:
    """A run of one epoch; not to be changed."""
    out = tmp_path_factory.mktemp("run")
    return fit(build_tiny("unet_d"), [tiny_dataset], out, ONE_EPOCH)


def read_history(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "metrics.csv").read_text(encoding="utf-8").splitlines()))


def last_weights(out: Path) -> dict[str, torch.Tensor]:
    return torch.load(out / "last.ckpt", weights_only=True)["state_dict"]


def encoder_weights(model: Segmenter) -> list[torch.Tensor]:
    modules = [*model.encoder_modules("image"), *model.encoder_modules("text")]
    return [value.clone() for module in modules for value in module.state_dict().values()]


class TestResults:
    def test_a_run_leaves_what_it_says(self, finished):
        names = {path.name for path in finished.checkpoint.parent.iterdir()}
        assert names == {
            ".train.lock",
            "made.json",
            "model.seen.safetensors",
            "model.safetensors",
            "manifest.json",
            "metrics.csv",
            "last.ckpt",
        }
        assert finished.epochs == 1

    @torch.no_grad()
    def test_the_validation_dice_is_what_the_checkpoint_gives(self, finished, tiny_dataset):
        model = load_model(finished.checkpoint)
        views = ValidationView(SegmentationDataset(tiny_dataset, "val"), 32)
        (batch,) = DataLoader(views, batch_size=2, collate_fn=collate)
        expected = dice(model(batch.images, batch.prompts)[:, 0] > 0, batch.masks[:, 0] > 0.5).mean().item()
        manifest = json.loads((finished.checkpoint.parent / "manifest.json").read_text())
        assert finished.score == pytest.approx(expected, abs=1e-6)
        assert manifest["val_dice"] == finished.score
        assert read_notes(finished.checkpoint)["val_dice"] == finished.score

    def test_manifest_and_weights_say_how_they_came_about(self, finished):
        manifest = json.loads((finished.checkpoint.parent / "manifest.json").read_text())
        notes = read_notes(finished.checkpoint)
        for record in (manifest, notes):
            assert record["model"] == {"name": "unet_d", "options": {"image_size": 32}}
            assert TrainConfig.from_dict(record["config"]) == ONE_EPOCH
            assert [Path(root).name for root in record["data"]] == ["kvasir_polyp"]
        assert 0 <= manifest["seconds"] < 600  # to a tenth, and a tiny run takes less
        assert notes["epoch"] == 0

    def test_the_history_has_a_row_an_epoch(self, finished):
        (row,) = read_history(finished.checkpoint.parent)
        assert (row["epoch"], row["step"]) == ("0", "2")
        assert float(row["val_dice"]) == pytest.approx(finished.score)
        assert 0 < float(row["train_loss"]) < 3


class TestResuming:
    def test_an_interrupted_run_goes_on_as_if_it_had_not_been(self, build_tiny, tiny_dataset, tmp_path, monkeypatch):
        def cut_in_the_second_epoch(callback: NextEpoch, trainer: Trainer, module: LightningModule) -> None:
            if trainer.current_epoch == 1:
                raise RuntimeError("power cut")

        two = dataclasses.replace(ONE_EPOCH, max_epochs=2)
        fit(build_tiny("unet_d"), [tiny_dataset], tmp_path / "unbroken", two)
        with monkeypatch.context() as patch:
            patch.setattr(NextEpoch, "on_train_epoch_start", cut_in_the_second_epoch)
            with pytest.raises(RuntimeError, match="power cut"):
                fit(build_tiny("unet_d"), [tiny_dataset], tmp_path / "resumed", two)
        other = build_tiny("unet_d", seed=9)
        result = fit(other, [tiny_dataset], tmp_path / "resumed", two, RuntimeOptions(resume=True))
        assert result.epochs == 2
        assert read_history(tmp_path / "resumed") == read_history(tmp_path / "unbroken")
        unbroken, resumed = last_weights(tmp_path / "unbroken"), last_weights(tmp_path / "resumed")
        assert unbroken.keys() == resumed.keys()
        assert all(torch.equal(value, resumed[key]) for key, value in unbroken.items())

    def test_nothing_to_resume_is_said(self, build_tiny, tiny_dataset, tmp_path):
        with pytest.raises(ConfigError, match=r"last\.ckpt: nothing to resume; start the run without --resume"):
            fit(build_tiny("unet_d"), [tiny_dataset], tmp_path, ONE_EPOCH, RuntimeOptions(resume=True))

    @pytest.mark.parametrize("content", [b"hello", None])
    def test_a_damaged_state_is_named(self, build_tiny, tiny_dataset, tmp_path, content):
        fit(build_tiny("unet_d"), [tiny_dataset], tmp_path, ONE_EPOCH)
        (tmp_path / "manifest.json").unlink()
        state = tmp_path / "last.ckpt"
        state.write_bytes(state.read_bytes()[:3000] if content is None else content)
        with pytest.raises(ConfigError, match=r"last\.ckpt: is damaged or no state of a run .*--overwrite"):
            fit(build_tiny("unet_d"), [tiny_dataset], tmp_path, ONE_EPOCH)


class TestSettings:
    def test_every_group_of_batches_is_averaged_over_its_own_number(
        self, build_tiny, tiny_dataset, tmp_path, monkeypatch
    ):
        """Four batches: a group of three, and one of one."""
        taken: dict[int, list[torch.Tensor]] = {1: [], 3: []}

        def look(callback: NextEpoch, trainer: Trainer, module: LightningModule, _: object) -> None:
            gradients = [each.grad.flatten() for each in module.parameters() if each.grad is not None]
            taken[trainer.accumulate_grad_batches].append(torch.cat(gradients))

        monkeypatch.setattr(NextEpoch, "on_before_optimizer_step", look, raising=False)
        settings = {"batch_size": 1, "learning_rate": 1e-12, "gradient_clip_norm": math.inf}
        for count in taken:
            config = dataclasses.replace(ONE_EPOCH, accumulate=count, **settings)
            fit(build_tiny("unet_d"), [tiny_dataset], tmp_path / str(count), config)
        single = torch.stack(taken[1])
        expected = torch.stack([single[:3].mean(0), single[3]])
        torch.testing.assert_close(torch.stack(taken[3]), expected, rtol=1e-3, atol=1e-5)

    def test_a_loaded_model_trains_in_training_mode(self, build_tiny, tiny_dataset, tmp_path):
        model = build_tiny("unet_d")
        assert not model.training
        fit(model, [tiny_dataset], tmp_path, ONE_EPOCH)
        assert load_model(tmp_path).unet.decoder[0].norm.num_batches_tracked == 2

    def test_norms_can_be_held(self, build_tiny, tiny_dataset, tmp_path):
        model = build_tiny("unet_d")
        before = model.unet.decoder[0].norm.weight.clone()
        fit(model, [tiny_dataset], tmp_path, dataclasses.replace(ONE_EPOCH, freeze_batch_norm=True, learning_rate=0.1))
        norm = load_model(tmp_path).unet.decoder[0].norm
        assert norm.num_batches_tracked == 0
        assert not torch.equal(norm.weight, before)

    def test_a_frozen_encoder_is_the_same_bit_for_bit_and_the_rest_is_not(self, build_tiny, tiny_dataset, tmp_path):
        model = build_tiny("pocket")
        before, rest = encoder_weights(model), model.outline.to_coarse_logits.weight.clone()
        config = dataclasses.replace(ONE_EPOCH, freeze=("image", "text"), learning_rate=0.1)
        result = fit(model, [tiny_dataset], tmp_path, config)
        for trained in (model, load_model(result.checkpoint)):
            assert all(torch.equal(a, b) for a, b in zip(before, encoder_weights(trained), strict=True))
            assert not torch.equal(rest, trained.outline.to_coarse_logits.weight)

    def test_an_encoder_that_is_set_free_moves(self, build_tiny, tiny_dataset, tmp_path):
        model = build_tiny("pocket")
        before = encoder_weights(model)
        fit(model, [tiny_dataset], tmp_path, dataclasses.replace(ONE_EPOCH, freeze=(), learning_rate=0.1))
        assert not all(torch.equal(a, b) for a, b in zip(before, encoder_weights(model), strict=True))

    @pytest.mark.parametrize("schedule", ["plateau", "one_cycle"])
    def test_a_trial_of_one_step_leaves_weights(self, build_tiny, tiny_dataset, tmp_path, schedule):
        config = dataclasses.replace(ONE_EPOCH, max_epochs=5, max_steps=1, schedule=schedule)
        result = fit(build_tiny("unet_d"), [tiny_dataset], tmp_path, config)
        assert load_model(tmp_path).recipe.name == "unet_d"
        assert 0 <= result.score <= 1
        assert [row["step"] for row in read_history(tmp_path)] == ["1"]

    def test_a_trial_that_ends_inside_a_later_epoch_is_validated_as_it_ends(self, build_tiny, tiny_dataset, tmp_path):
        settings = {"max_epochs": 5, "min_epochs": 5, "learning_rate": 0.1, "keep": "last"}
        model = build_tiny("unet_d")
        fit(model, [tiny_dataset], tmp_path, dataclasses.replace(ONE_EPOCH, max_steps=3, **settings))
        rows = read_history(tmp_path)
        assert [row["step"] for row in rows] == ["2", "3"]
        assert rows[0]["val_loss"] != rows[1]["val_loss"]
        kept = load_model(tmp_path).state_dict()
        assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())

    def test_fewer_images_than_a_batch_are_one_batch(self, build_tiny, tiny_dataset, tmp_path):
        result = fit(build_tiny("unet_d"), [tiny_dataset], tmp_path, dataclasses.replace(ONE_EPOCH, batch_size=10))
        assert result.checkpoint.is_file()
        assert [row["step"] for row in read_history(tmp_path)] == ["1"]

    def test_a_folder_named_twice_counts_twice_in_training(self, build_tiny, tiny_dataset, tmp_path):
        fit(build_tiny("unet_d"), [tiny_dataset, tiny_dataset], tmp_path, ONE_EPOCH)
        assert [row["step"] for row in read_history(tmp_path)] == ["4"]

    def test_a_missing_file_is_named_before_anything_is_written(self, build_tiny, write_dataset, tmp_path):
        data = write_dataset("kvasir_polyp")
        mask = SegmentationDataset(data, "val").records[1].mask_name
        (data / "masks" / mask).unlink()
        with pytest.raises(DataError, match=rf"{mask}: no such file, and anns/val\.json names it; .*data check"):
            fit(build_tiny("unet_d"), [data], tmp_path / "run", ONE_EPOCH)
        with pytest.raises(DataError, match="no folder of data"):
            fit(build_tiny("unet_d"), [], tmp_path / "run", ONE_EPOCH)
        assert not (tmp_path / "run").exists()

    def test_a_wrong_folder_is_named_before_anything_is_written(self, build_tiny, tmp_path):
        with pytest.raises(DataError, match="nowhere: no such data folder"):
            fit(build_tiny("unet_d"), [tmp_path / "nowhere"], tmp_path / "run", ONE_EPOCH)
        assert list(tmp_path.iterdir()) == []


def test_a_short_fine_tuning_with_the_defaults_shows_an_effect(build_tiny, write_dataset, tmp_path):
    """One epoch of 32 pictures; at the paper's step size nothing can be seen of it."""
    data, before = write_dataset("kvasir_polyp", train=32), build_tiny("pocket")
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        old = torch.sigmoid(before(image, ["polyp"]))
    moved = {}
    for name, given in (("default", {}), ("paper", {"learning_rate": 1e-5})):
        model = build_tiny("pocket")
        config = TrainConfig.from_dict({"max_epochs": 1, **given}).for_trained(model, given)
        fit(model, [data], tmp_path / name, config)
        with torch.no_grad():
            moved[name] = (torch.sigmoid(load_model(tmp_path / name)(image, ["polyp"])) - old).abs().max().item()
    assert moved["default"] > 10 * moved["paper"]
    assert moved["default"] > 0.001


class TestUsedFolders:
    def test_the_same_run_again_is_finished_and_says_so(self, build_tiny, tiny_dataset, tmp_path):
        first = fit(build_tiny("unet_d"), [tiny_dataset], tmp_path, ONE_EPOCH)
        times = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
        again = fit(build_tiny("unet_d"), [tiny_dataset], tmp_path, ONE_EPOCH)
        assert (first.earlier, again.earlier) == (False, True)
        assert (again.score, again.epochs) == (pytest.approx(first.score), first.epochs)
        assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == times

    def test_another_seed_configuration_or_start_is_refused(self, build_tiny, tiny_dataset, tmp_path):
        fit(build_tiny("unet_d"), [tiny_dataset], tmp_path, ONE_EPOCH)
        weights = (tmp_path / "model.safetensors").read_bytes()
        seed = dataclasses.replace(ONE_EPOCH, seed=5)
        for model, config, change in ((0, seed, "config.seed was 0, is 5"), (9, ONE_EPOCH, "weights was")):
            with pytest.raises(OutputError, match=f"made from something else .*{change}.*--overwrite"):
                fit(build_tiny("unet_d", seed=model), [tiny_dataset], tmp_path, config)
        assert (tmp_path / "model.safetensors").read_bytes() == weights

    def test_masks_changed_since_are_other_data(self, build_tiny, write_dataset, tmp_path):
        data = write_dataset("kvasir_polyp")
        fit(build_tiny("unet_d"), [data], tmp_path / "run", ONE_EPOCH)
        for path in (data / "masks").rglob("*.png"):
            write_mask(path, np.ones(read_mask(path).shape, bool))
        with pytest.raises(OutputError, match=r"made from something else \(data was"):
            fit(build_tiny("unet_d"), [data], tmp_path / "run", ONE_EPOCH)
        with pytest.raises(ConfigError, match=r"begun with other settings \(data was"):
            fit(build_tiny("unet_d"), [data], tmp_path / "run", ONE_EPOCH, RuntimeOptions(resume=True))

    def test_two_runs_do_not_write_one_folder_at_once(self, build_tiny, tiny_dataset, tmp_path):
        with alone(tmp_path, "train", LOCK), pytest.raises(OutputError, match="another vesalius train writes there"):
            fit(build_tiny("unet_d"), [tiny_dataset], tmp_path, ONE_EPOCH)

    def test_overwrite_replaces_the_run_and_nothing_else(self, build_tiny, tiny_dataset, tmp_path):
        fit(build_tiny("unet_d"), [tiny_dataset], tmp_path, ONE_EPOCH)
        (tmp_path / "letter.txt").touch()
        result = fit(build_tiny("unet_d", seed=9), [tiny_dataset], tmp_path, ONE_EPOCH, RuntimeOptions(overwrite=True))
        assert not result.earlier
        assert (tmp_path / "letter.txt").is_file()
        assert fit(build_tiny("unet_d", seed=9), [tiny_dataset], tmp_path, ONE_EPOCH).earlier

    def test_an_interrupted_run_goes_on_by_itself(self, build_tiny, tiny_dataset, tmp_path, monkeypatch):
        def cut(callback: NextEpoch, trainer: Trainer, module: LightningModule) -> None:
            if trainer.current_epoch == 1:
                raise RuntimeError("power cut")

        two = dataclasses.replace(ONE_EPOCH, max_epochs=2)
        with monkeypatch.context() as patch:
            patch.setattr(NextEpoch, "on_train_epoch_start", cut)
            with pytest.raises(RuntimeError, match="power cut"):
                fit(build_tiny("unet_d"), [tiny_dataset], tmp_path, two)
        fit(build_tiny("unet_d"), [tiny_dataset], tmp_path, two)
        assert [row["epoch"] for row in read_history(tmp_path)] == ["0", "1"]

    def test_a_run_carries_fingerprints_of_its_images_and_of_those_before(self, build_tiny, write_dataset, tmp_path):
        first, second = write_dataset("kvasir_polyp"), write_dataset("busi", train=6)
        fit(build_tiny("unet_d"), [first], tmp_path / "one", ONE_EPOCH, before=Fingerprints(complete=True))
        known = read_fingerprints(tmp_path / "one/model.seen.safetensors")
        assert (len(known.images), known.complete) == (4, True)
        fit(build_tiny("unet_d"), [second, second], tmp_path / "two", ONE_EPOCH, before=known)
        assert len(read_fingerprints(tmp_path / "two/model.seen.safetensors").images) == 6  # four are the same
        fit(build_tiny("unet_d"), [first], tmp_path / "three", ONE_EPOCH)
        assert not read_fingerprints(tmp_path / "three/model.seen.safetensors").complete


@pytest.fixture
def described(build_tiny, tiny_dataset, monkeypatch) -> dict[str, object]:
    monkeypatch.setattr("sys.argv", ["/usr/bin/vesalius", "train", "--model", "unet_d", "--out", "my run"])
    return describe_run(build_tiny("unet_d"), [tiny_dataset], TrainConfig(seed=7))


def test_a_run_is_described_so_that_it_can_be_done_again(described, tiny_dataset):
    assert described["command"] == "vesalius train --model unet_d --out 'my run'"
    assert described["model"] == {"name": "unet_d", "options": {"image_size": 32}}
    assert described["config"] == dataclasses.asdict(TrainConfig(seed=7))
    assert described["data"] == {str(tiny_dataset): identify_data(tiny_dataset)}
    assert described["versions"]["vesalius"] == vesalius.__version__
    assert described["versions"]["torch"] == torch.__version__


def test_the_folder_one_stands_in_has_a_name_too(build_tiny, tiny_dataset, monkeypatch):
    monkeypatch.chdir(tiny_dataset)
    assert describe_run(build_tiny("unet_d"), [Path()], TrainConfig())["data"].keys() == {str(tiny_dataset)}


def test_data_sets_of_one_name_are_two_entries(build_tiny, write_dataset):
    first, other = write_dataset("kvasir"), write_dataset("kvasir")
    (other / "images" / "test_0.png").write_bytes(b"another picture")
    data = describe_run(build_tiny("unet_d"), [first, other], TrainConfig())["data"]
    assert list(data) == [str(first), str(other)]
    one, two = data.values()
    assert one["annotations_sha256"] == two["annotations_sha256"] == hash_annotations(first)
    assert one["files"] == two["files"] == 16
    assert one["files_sha256"] != two["files_sha256"]


def test_a_data_set_that_moved_is_the_same(write_dataset):
    assert identify_data(write_dataset("a")) == identify_data(write_dataset("b"))


def test_a_description_is_json(described):
    assert json.loads(json.dumps(described))["config"]["seed"] == 7


def test_a_fingerprint_is_that_of_the_annotations(write_dataset):
    first, again, other = write_dataset("a"), write_dataset("b"), write_dataset("c", train=5)
    assert hash_annotations(first) == hash_annotations(again)
    assert hash_annotations(first) != hash_annotations(other)
    prompts = first / "anns/test.json"
    prompts.write_text(prompts.read_text().replace("pink", "red"))
    assert hash_annotations(first) != hash_annotations(again)


def test_a_fingerprint_tells_splits_apart(write_dataset):
    first, other = write_dataset("a"), write_dataset("b")
    for source, target in (("val", "test"), ("test", "val")):
        Path(other / f"anns/{target}.json").write_bytes((first / f"anns/{source}.json").read_bytes())
    assert hash_annotations(first) != hash_annotations(other)


def test_a_cycle_is_not_resumed_for_longer(build_tiny, tiny_dataset, tmp_path):
    config = dataclasses.replace(ONE_EPOCH, schedule="one_cycle")
    fit(build_tiny("unet_d"), [tiny_dataset], tmp_path, config)
    with pytest.raises(ConfigError, match=r"'one_cycle' is planned to its end .*config.max_epochs"):
        fit(
            build_tiny("unet_d"),
            [tiny_dataset],
            tmp_path,
            dataclasses.replace(config, max_epochs=2),
            RuntimeOptions(resume=True),
        )


def test_a_training_that_diverges_ends_with_what_to_do(build_tiny, tiny_dataset, tmp_path):
    config = dataclasses.replace(ONE_EPOCH, learning_rate=1e30, gradient_clip_norm=math.inf)
    with pytest.raises(ConfigError, match=r"the validation loss of epoch 1 is nan.*lower learning_rate"):
        fit(build_tiny("unet_d"), [tiny_dataset], tmp_path, config)
    assert not (tmp_path / "model.safetensors").exists()
