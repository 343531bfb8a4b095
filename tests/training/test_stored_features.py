import csv
import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch

from vesalius.data.augment import AugmentConfig
from vesalius.data.datasets import SegmentationDataset
from vesalius.data.features import StoreConfig, StoredView
from vesalius.data.views import PromptMix, TrainingView, ValidationView, View
from vesalius.errors import ConfigError
from vesalius.models import Segmenter
from vesalius.training.config import TrainConfig
from vesalius.training.fit import fit
from vesalius.training.runtime_options import RuntimeOptions
from vesalius.training.stored_features import store_pictures

pytestmark = pytest.mark.slow

CONFIG = TrainConfig(
    learning_rate=1e-3,
    batch_size=2,
    max_epochs=3,
    cached_augmentations=2,
    store=StoreConfig(dtype="float32"),
    prompts=PromptMix(0.3, 0.2),
)
WITHOUT = dataclasses.replace(CONFIG, store=StoreConfig(on=False))


def look_at(data: Path, config: TrainConfig = CONFIG) -> list[View]:
    source = SegmentationDataset(data, "train")
    train = TrainingView(
        source, 64, config.augment, config.prompts, seed=config.seed, cached_augmentations=config.cached_augmentations
    )
    return [train, ValidationView(SegmentationDataset(data, "val"), 64)]


def folders(model: Segmenter, data: Path, root: Path, config: TrainConfig = CONFIG) -> set[str]:
    """Names of the stores a run has."""
    stored = store_pictures(model, look_at(data, config), config, root)
    return {store.folder.name for view in stored for store in view.stores}


def read_losses(out: Path) -> list[tuple[float, float, float]]:
    rows = csv.DictReader((out / "metrics.csv").read_text(encoding="utf-8").splitlines())
    return [(float(row["train_loss"]), float(row["val_loss"]), float(row["val_dice"])) for row in rows]


@pytest.fixture
def clipseg(build_tiny) -> Segmenter:
    return build_tiny("clipseg").freeze("image", "text")


class TestRuns:
    @pytest.mark.parametrize(
        ("name", "dtype", "tolerance"),
        # Batch norms of two images blow up what differs in the last bit.
        [("clipseg", "float32", 1e-3), ("clipseg", "float16", 1e-3), ("pocket", "float32", 1e-2)],
    )
    def test_losses_with_and_without_a_store_are_the_same(
        self, build_tiny, tiny_dataset, tmp_path, name, dtype, tolerance
    ):
        stored = dataclasses.replace(CONFIG, store=StoreConfig(dtype=dtype))
        fit(build_tiny(name), [tiny_dataset], tmp_path / "with", stored)
        fit(build_tiny(name), [tiny_dataset], tmp_path / "without", WITHOUT)
        for one, other in zip(read_losses(tmp_path / "with"), read_losses(tmp_path / "without"), strict=True):
            assert one == pytest.approx(other, abs=tolerance)

    def test_a_u_net_beside_the_stored_encoder_sees_the_images(self, build_tiny, tiny_dataset, tmp_path):
        short = {"max_epochs": 1, "cached_augmentations": 1, "max_steps": 1}
        fit(build_tiny("clipseg_b"), [tiny_dataset], tmp_path / "with", dataclasses.replace(CONFIG, **short))
        fit(build_tiny("clipseg_b"), [tiny_dataset], tmp_path / "without", dataclasses.replace(WITHOUT, **short))
        assert read_losses(tmp_path / "with")[0] == pytest.approx(read_losses(tmp_path / "without")[0], abs=1e-3)

    def test_the_encoder_sees_each_picture_once(self, clipseg, tiny_dataset, tmp_path, monkeypatch):
        encode, seen = clipseg.encode_pixels, []
        monkeypatch.setattr(clipseg, "encode_pixels", lambda pixels: seen.append(len(pixels)) or encode(pixels))
        fit(clipseg, [tiny_dataset], tmp_path, CONFIG)
        assert sum(seen) == 1 + 2 * 4 + 2  # one to learn the shapes, then two views of four, and two to validate

    def test_a_second_run_encodes_nothing(self, build_tiny, tiny_dataset, tmp_path, monkeypatch):
        kept = tmp_path / "features"
        fit(build_tiny("clipseg"), [tiny_dataset], tmp_path / "first", CONFIG, RuntimeOptions(features=kept))
        model, seen = build_tiny("clipseg"), []
        encode = model.encode_pixels
        monkeypatch.setattr(model, "encode_pixels", lambda pixels: seen.append(len(pixels)) or encode(pixels))
        other = dataclasses.replace(CONFIG, learning_rate=1e-4)
        fit(model, [tiny_dataset], tmp_path / "second", other, RuntimeOptions(features=kept))
        assert seen == [1]
        assert not (tmp_path / "second" / "features").exists()

    def test_an_interrupted_run_is_resumed_from_the_store(self, build_tiny, tiny_dataset, tmp_path):
        fit(build_tiny("clipseg"), [tiny_dataset], tmp_path / "unbroken", CONFIG)
        fit(build_tiny("clipseg"), [tiny_dataset], tmp_path / "broken", dataclasses.replace(CONFIG, max_epochs=2))
        fit(build_tiny("clipseg"), [tiny_dataset], tmp_path / "broken", CONFIG, RuntimeOptions(resume=True))
        assert read_losses(tmp_path / "broken") == read_losses(tmp_path / "unbroken")


class TestWhenThereIsAStore:
    def test_without_views_nothing_is_stored_or_said(self, clipseg, tiny_dataset, tmp_path, capsys):
        views = look_at(tiny_dataset, dataclasses.replace(CONFIG, cached_augmentations=0))
        assert store_pictures(clipseg, views, dataclasses.replace(CONFIG, cached_augmentations=0), tmp_path) is views
        assert list(tmp_path.iterdir()) == []
        assert capsys.readouterr().err == ""

    @pytest.mark.parametrize(
        ("name", "frozen", "reason"),
        [
            ("clipseg", ("text",), "the image encoder trains"),
            ("unet_d", ("image", "text"), "the model has no encoder to freeze"),
        ],
    )
    def test_an_encoder_that_trains_is_not_stored_and_a_line_says_so(
        self, build_tiny, tiny_dataset, tmp_path, capsys, name, frozen, reason
    ):
        views = look_at(tiny_dataset)
        assert store_pictures(build_tiny(name).freeze(*frozen), views, CONFIG, tmp_path) is views
        assert list(tmp_path.iterdir()) == []
        assert capsys.readouterr().err == f"Features are not stored: {reason}.\n"

    def test_size_and_place_are_said(self, clipseg, tiny_dataset, tmp_path, capsys):
        (train, val) = store_pictures(clipseg, look_at(tiny_dataset), CONFIG, tmp_path / "kept")
        assert isinstance(train, StoredView)
        size = val.stores[0].layout.row_bytes
        assert size == 3 * 17 * 64 * 4 + 64 * 64 // 8
        assert f"Features of 10 pictures, {size:,} bytes each" in capsys.readouterr().err
        assert {path.name.rpartition("-")[0] for path in (tmp_path / "kept").iterdir()} == {
            "kvasir_polyp-train-0", "kvasir_polyp-train-1", "kvasir_polyp-val-0",
        }  # fmt: skip

    def test_too_much_is_refused_before_anything_is_written(self, clipseg, tiny_dataset, tmp_path):
        config = dataclasses.replace(CONFIG, store=StoreConfig(limit_gb=1e-5))
        with pytest.raises(
            ConfigError, match=r"features of 10 pictures.*above the limit of 1e-05 GB. Take fewer cached_augmentations"
        ):
            store_pictures(clipseg, look_at(tiny_dataset), config, tmp_path / "kept")
        assert list(tmp_path.iterdir()) == []

    def test_a_full_disk_is_noticed_beforehand(self, clipseg, tiny_dataset, tmp_path, monkeypatch):
        monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1))
        with pytest.raises(ConfigError, match=r"features need 0\.00 GB more, and 0\.00 GB are free there"):
            store_pictures(clipseg, look_at(tiny_dataset), CONFIG, tmp_path / "kept")


class TestStaleness:
    def test_the_same_run_has_the_same_stores(self, build_tiny, tiny_dataset, tmp_path):
        first, again = (build_tiny("clipseg").freeze("image") for _ in range(2))
        assert folders(first, tiny_dataset, tmp_path) == folders(again, tiny_dataset, tmp_path)

    def test_what_does_not_touch_the_encoder_changes_nothing(self, build_tiny, clipseg, tiny_dataset, tmp_path):
        before = folders(clipseg, tiny_dataset, tmp_path)
        torch.nn.init.zeros_(clipseg.decoder.to_logits[0].weight)
        assert folders(clipseg, tiny_dataset, tmp_path, dataclasses.replace(CONFIG, learning_rate=1.0)) == before

    def test_other_encoder_weights_have_other_stores(self, clipseg, tiny_dataset, tmp_path):
        before = folders(clipseg, tiny_dataset, tmp_path)
        with torch.no_grad():
            next(clipseg.vision.parameters()).flatten()[0] += 1e-3
        assert not before & folders(clipseg, tiny_dataset, tmp_path)

    def test_another_seed_or_augmentation_has_other_training_pictures_and_the_same_to_validate(
        self, clipseg, tiny_dataset, tmp_path
    ):
        before = folders(clipseg, tiny_dataset, tmp_path)
        for changes in ({"seed": 1}, {"augment": AugmentConfig(rotation=3)}):
            after = folders(clipseg, tiny_dataset, tmp_path, dataclasses.replace(CONFIG, **changes))
            assert {name.partition("-val-")[0] for name in before & after} == {"kvasir_polyp"}
            assert len(before & after) == 1

    def test_more_views_keep_those_there_are(self, clipseg, tiny_dataset, tmp_path):
        before = folders(clipseg, tiny_dataset, tmp_path)
        assert before < folders(clipseg, tiny_dataset, tmp_path, dataclasses.replace(CONFIG, cached_augmentations=3))

    def test_changed_pictures_or_another_order_have_other_stores(self, clipseg, write_dataset, tmp_path):
        data = write_dataset("kvasir_polyp")
        before = folders(clipseg, data, tmp_path)
        rows = json.loads((data / "anns" / "train.json").read_text())
        (data / "anns" / "train.json").write_text(json.dumps(rows[::-1]))
        turned = folders(clipseg, data, tmp_path)
        assert len(before & turned) == 1
        shutil.copy(data / "images" / "val_0.png", data / "images" / "val_1.png")
        assert len(turned & folders(clipseg, data, tmp_path)) == 2
