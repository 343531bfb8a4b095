import json
import multiprocessing
import os
import signal
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vesalius.data.augment import AugmentConfig
from vesalius.data.datasets import SegmentationDataset
from vesalius.data.features import DTYPES, FeatureStore, RowLayout, StoreConfig, StoredView, fingerprint_files
from vesalius.data.views import PromptMix, TrainingView, View, collate
from vesalius.errors import ConfigError, DataError, OutputError
from waiting import PATIENCE_S

SHAPES = {"image_tap0": (5, 3), "image_tap1": (2, 2, 2)}
SIDE, ROWS = 7, 4
KEY = {"weights": "abc", "seed": 0}


def open_store(root: Path, *, dtype: str = "float32", **changes: object) -> FeatureStore:
    return FeatureStore(root, "ellipses-train-0", {**KEY, **changes}, ROWS, RowLayout(SHAPES, SIDE, dtype))


def draw(rows: int = ROWS) -> tuple[dict[str, Tensor], Tensor]:
    generator = torch.Generator().manual_seed(0)
    tensors = {name: torch.randn(rows, *shape, generator=generator) for name, shape in SHAPES.items()}
    return tensors, (torch.rand(rows, 1, SIDE, SIDE, generator=generator) > 0.5).float()


def fill(store: FeatureStore) -> FeatureStore:
    tensors, masks = draw()
    with store.building() as missing:
        for row in missing:
            store.write([row], {name: tensor[[row]] for name, tensor in tensors.items()}, masks[[row]])
    return store


@pytest.fixture
def store(tmp_path) -> FeatureStore:
    return fill(open_store(tmp_path))


class TestRows:
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_what_was_written_is_read_in_the_type_that_was_asked_for(self, tmp_path, dtype):
        store, (tensors, masks) = fill(open_store(tmp_path, dtype=dtype)), draw()
        for row in range(ROWS):
            found, mask = store.read(row)
            assert torch.equal(mask, masks[row])
            assert found.keys() == SHAPES.keys()
            for name, tensor in tensors.items():
                assert torch.equal(found[name], tensor[row].to(DTYPES[dtype]))

    def test_a_reader_opens_a_finished_store_without_building(self, store, tmp_path):
        tensors, _ = draw()
        assert torch.equal(open_store(tmp_path).read(2)[0]["image_tap1"], tensors["image_tap1"][2])

    def test_several_rows_are_written_at_once_in_any_order(self, tmp_path):
        store, (tensors, masks) = open_store(tmp_path), draw()
        with store.building():
            store.write([3, 1], {name: tensor[[3, 1]] for name, tensor in tensors.items()}, masks[[3, 1]])
        with store.building() as missing:
            assert missing == [0, 2]
        assert torch.equal(store.read(1)[1], masks[1])
        assert torch.equal(store.read(3)[0]["image_tap0"], tensors["image_tap0"][3])

    def test_its_size_is_known_beforehand(self, store, tmp_path):
        assert store.layout.row_bytes == 4 * (15 + 8) + 7 + 5  # numbers, 49 bits, and up to the next multiple of 8
        assert store.total_bytes == (store.folder / "rows.bin").stat().st_size == ROWS * store.layout.row_bytes
        assert open_store(tmp_path, dtype="float16").layout.feature_bytes == 2 * (15 + 8)

    def test_numbers_beyond_the_type_are_refused(self, tmp_path):
        store, (tensors, masks) = open_store(tmp_path, dtype="float16"), draw()
        tensors["image_tap0"][0, 0, 0] = 1e6
        with store.building(), pytest.raises(DataError, match="float16 cannot hold; take float32 or bfloat16"):
            store.write(range(ROWS), tensors, masks)

    def test_a_damaged_row_is_named_and_the_others_are_read(self, store, tmp_path):
        with (store.folder / "rows.bin").open("r+b") as file:
            file.seek(2 * store.layout.row_bytes)
            file.write(b"\xff\xff")
        again = open_store(tmp_path)
        again.read(1)
        with pytest.raises(DataError, match=r"rows\.bin: row 2 is damaged; delete the folder"):
            again.read(2)

    def test_a_row_that_was_never_written_is_not_read(self, tmp_path):
        store = open_store(tmp_path)
        with store.building():
            pass
        with pytest.raises(DataError, match="row 0 was never written"):
            store.read(0)


class TestKey:
    @pytest.mark.parametrize("changes", [{"weights": "abd"}, {"seed": 1}, {"more": True}, {"dtype": "float16"}])
    def test_whatever_decides_the_numbers_has_a_folder_of_its_own(self, store, tmp_path, changes):
        other = open_store(tmp_path, **changes)
        assert other.folder != store.folder
        with other.building() as missing:
            assert missing == list(range(ROWS))

    def test_the_folder_says_what_it_holds(self, store):
        said = json.loads((store.folder / "store.json").read_text())
        assert said.items() >= KEY.items()
        assert said["shapes"] == [[name, list(shape)] for name, shape in SHAPES.items()]

    @pytest.mark.parametrize("content", ["{}", "not JSON", b"\xff"])
    def test_a_folder_that_says_something_else_is_refused(self, store, content):
        path = store.folder / "store.json"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(DataError, match=r"store\.json: does not describe what lies beside it; delete"), fill(store):
            pass


def die_after_two_rows(root: Path) -> None:
    store, (tensors, masks) = open_store(root), draw()
    with store.building() as missing:
        for row in missing[:2]:
            store.write([row], {name: tensor[[row]] for name, tensor in tensors.items()}, masks[[row]])
        os.kill(os.getpid(), signal.SIGKILL)


def fill_slowly(root: Path, begun: object, release: object) -> None:
    store = open_store(root)
    with store.building():
        begun.set()
        release.wait(PATIENCE_S)
        tensors, masks = draw()
        store.write(range(ROWS), tensors, masks)


# Nothing runs in the parent's other threads, of which newer versions of Python warn.
@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")
class TestProcesses:
    def test_a_killed_build_goes_on_where_it_stopped(self, tmp_path):
        process = multiprocessing.get_context("fork").Process(target=die_after_two_rows, args=(tmp_path,))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        store = open_store(tmp_path)
        with store.building() as missing:
            assert missing == [2, 3]
        _, masks = draw()
        assert torch.equal(fill(store).read(0)[1], masks[0])
        assert torch.equal(store.read(3)[1], masks[3])

    def test_a_second_process_waits_and_finds_everything_done(self, tmp_path):
        context = multiprocessing.get_context("fork")
        begun, release, waits = context.Event(), context.Event(), []
        process = context.Process(target=fill_slowly, args=(tmp_path, begun, release))
        process.start()
        assert begun.wait(PATIENCE_S)

        def on_wait() -> None:
            waits.append(True)
            release.set()

        store = open_store(tmp_path)
        with store.building(on_wait) as missing:
            assert missing == []
        process.join()
        assert waits == [True]
        assert torch.equal(store.read(2)[1], draw()[1][2])


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        fill(open_store(tmp_path / "file"))


def test_a_limit_of_nothing_is_refused():
    with pytest.raises(ConfigError, match=r"limit_gb must be above 0, got 0"):
        StoreConfig(limit_gb=0)


SIZE = 16


@pytest.fixture
def view(tiny_dataset) -> TrainingView:
    source = SegmentationDataset(tiny_dataset, "train")
    return TrainingView(source, SIZE, AugmentConfig(), PromptMix(0.2, 0.3), seed=3, cached_augmentations=2)


def store_pictures(view: View, root: Path) -> list[FeatureStore]:
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
    stored = StoredView(view, store_pictures(view, tmp_path), with_images=with_images)
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
    stored = StoredView(view, store_pictures(view, tmp_path), with_images=False)
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
