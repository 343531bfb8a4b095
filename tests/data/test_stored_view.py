from pathlib import Path

import pytest
import torch

from vesalius.data.augment import AugmentConfig
from vesalius.data.datasets import SegmentationDataset
from vesalius.data.features import FeatureStore, RowLayout, StoredView, fingerprint_files
from vesalius.data.views import PromptMix, TrainingView, View, collate
from vesalius.errors import DataError

SIZE = 16


@pytest.fixture
def view(tiny_dataset) -> TrainingView:
    source = SegmentationDataset(tiny_dataset, "train")
    return TrainingView(source, SIZE, AugmentConfig(), PromptMix(0.2, 0.3), seed=3, cached_augmentations=2)


def store(view: View, root: Path) -> list[FeatureStore]:
    """Stores whose features are the pictures' means."""
    stores = []
    for number in view.picture_numbers:
        kept = FeatureStore(
            root, str(number), view.picture_key(number), len(view), RowLayout({"tap": (3,)}, SIZE, "float32")
        )
        with kept.building() as missing:
            for row in missing:
                image, mask = view.draw_picture(row, number)
                kept.write([row], {"tap": image.mean((1, 2))[None]}, mask[None])
        stores.append(kept)
    return stores


@pytest.mark.parametrize("with_images", [True, False])
def test_examples_are_those_of_the_view_with_their_features(view, tmp_path, with_images):
    stored = StoredView(view, store(view, tmp_path), with_images=with_images)
    assert len(stored) == len(view)
    for epoch in (0, 1, 2, 5):
        view.epoch = epoch
        for index in range(len(view)):
            fresh, kept = view[index], stored[index]
            assert kept.prompt == fresh.prompt
            assert torch.equal(kept.mask, fresh.mask)
            assert torch.equal(kept.frozen["tap"], fresh.image.mean((1, 2)))
            assert torch.equal(kept.image, fresh.image) if with_images else kept.image.shape == (3, 0, 0)


def test_a_batch_joins_features_by_name(view, tmp_path):
    stored = StoredView(view, store(view, tmp_path), with_images=False)
    batch = collate([stored[0], stored[2]])
    assert batch.frozen.keys() == {"tap"}
    assert torch.equal(batch.frozen["tap"], torch.stack([stored[0].frozen["tap"], stored[2].frozen["tap"]]))


def test_the_fingerprint_is_of_what_the_files_hold(write_dataset):
    source = SegmentationDataset(write_dataset(), "train")
    before, seen = fingerprint_files(source), []
    assert fingerprint_files(source, seen.append) == before
    assert seen == [1] * len(source)
    assert fingerprint_files(SegmentationDataset(source.root, "val")) != before
    path = source.root / "masks" / source.records[1].mask_name
    path.write_bytes(path.read_bytes() + b"\0")
    assert fingerprint_files(source) != before


def test_a_missing_picture_is_named(write_dataset):
    source = SegmentationDataset(write_dataset(), "train")
    (source.root / "images" / source.records[2].img_name).unlink()
    with pytest.raises(DataError, match=r"train_2\.png: cannot be read .*data check"):
        fingerprint_files(source)
