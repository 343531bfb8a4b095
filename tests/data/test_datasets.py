import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from vesalius.data.annotations import write_target
from vesalius.data.datasets import SegmentationDataset, collate_samples
from vesalius.errors import DataError, ImageError


def test_samples_have_the_size_and_the_values_of_their_files(tiny_dataset):
    dataset = SegmentationDataset(tiny_dataset, "train")
    assert len(dataset) == 4
    sample = dataset[1]
    assert sample.record.img_name == "train_1.png"
    stored = np.asarray(Image.open(tiny_dataset / "images/train_1.png"))
    mask = np.asarray(Image.open(tiny_dataset / "masks/train_1.png"))
    np.testing.assert_allclose(sample.image.numpy(), stored.transpose(2, 0, 1) / 255, atol=1e-6)
    assert sample.mask.shape == (1, 40, 56)
    assert torch.equal(sample.mask[0], torch.from_numpy(mask > 127).float())
    assert 0 < sample.mask.mean() < 1


def test_a_data_loader_joins_samples_of_any_sizes(write_dataset):
    root = write_dataset()
    for folder, mode in (("images", "RGB"), ("masks", "L")):
        Image.new(mode, (30, 60), "white").save(root / folder / "val_1.png")
    dataset = SegmentationDataset(root, "val")
    (batch,) = DataLoader(dataset, batch_size=2, collate_fn=collate_samples)
    assert (batch.images.shape, batch.masks.shape) == ((2, 3, 60, 56), (2, 1, 60, 56))
    assert batch.sizes == [(40, 56), (60, 30)]
    for place, sample in enumerate(dataset):
        rows, columns = batch.sizes[place]
        assert torch.equal(batch.images[place, :, :rows, :columns], sample.image)
        assert torch.equal(batch.masks[place, :, :rows, :columns], sample.mask)
        assert batch.records[place] is sample.record
    assert not batch.images[0, :, 40:].any()
    assert not batch.masks[1, :, :, 30:].any()
    assert repr(batch) == "SampleBatch(2 samples, 60×56)"
    assert repr(dataset[0]) == "Sample('val_0.png', 40×56)"


def test_splits_are_kept_apart(tiny_dataset):
    names = [
        {record.img_name for record in SegmentationDataset(tiny_dataset, split).records}
        for split in ("train", "val", "test")
    ]
    assert [len(part) for part in names] == [4, 2, 2]
    assert len(set.union(*names)) == 8


def test_the_folders_name_says_what_the_masks_outline(tiny_dataset, write_dataset):
    assert SegmentationDataset(tiny_dataset, "val").target == "polyp"
    assert SegmentationDataset(write_dataset("my_own"), "val").target is None


def test_a_data_set_says_itself_what_its_masks_outline(write_dataset):
    root = write_dataset("kvasir_polyp")
    write_target(root, "breast tumour")
    rows = json.loads((root / "anns/val.json").read_text())
    rows[0] |= {"target": "Lungs"}
    rows[1] |= {"target": "bicycle"}
    (root / "anns/val.json").write_text(json.dumps(rows))
    assert SegmentationDataset(root, "train").target == "breast_tumour"
    val = SegmentationDataset(root, "val")
    assert [val.row_of(record) for record in val.records] == ["lungs", None]


@pytest.mark.parametrize("content", ["[]", '{"target": 3}', "{"])
def test_a_damaged_description_is_named(write_dataset, content):
    root = write_dataset()
    (root / "dataset.json").write_text(content)
    with pytest.raises(DataError, match=r"dataset\.json: "):
        SegmentationDataset(root, "val").target  # noqa: B018


def test_a_turn_by_exif_that_explains_a_size_is_named(write_dataset):
    root = write_dataset()
    exif = Image.Exif()
    exif[0x0112] = 8
    with Image.open(root / "images/val_0.png") as picture:
        picture.copy().save(root / "images/val_0.png", exif=exif)
    with pytest.raises(DataError, match=r"56 × 40, got 40 × 56 .*EXIF orientation of val_0\.png \(8\) turns it by 90°"):
        SegmentationDataset(root, "val")[0]


def test_a_mask_of_another_size_is_named_with_both_sizes(write_dataset):
    root = write_dataset()
    Image.new("L", (20, 10)).save(root / "masks/val_0.png")
    with pytest.raises(DataError, match=r"masks/val_0\.png: a mask of another size; .*40 × 56, got 10 × 20"):
        SegmentationDataset(root, "val")[0]


def test_a_grey_picture_is_shown_in_three_equal_channels(write_dataset):
    root = write_dataset()
    Image.fromarray(np.arange(40 * 56, dtype=np.uint8).reshape(40, 56)).save(root / "images/val_0.png")
    image = SegmentationDataset(root, "val")[0].image
    assert torch.equal(image[0], image[1])
    assert torch.equal(image[0], image[2])
    assert image.max() == 1


@pytest.mark.parametrize("folder", ["images", "masks"])
def test_a_missing_file_is_named_when_it_is_read(write_dataset, folder):
    root = write_dataset()
    (root / folder / "val_1.png").unlink()
    dataset = SegmentationDataset(root, "val")
    with pytest.raises(ImageError, match=rf"{folder}/val_1\.png: no such file"):
        dataset[1]


def test_a_missing_folder_says_what_belongs_in_it(tmp_path):
    with pytest.raises(DataError, match="nowhere: no such data folder; expected images/, masks/ and anns/ in it"):
        SegmentationDataset(tmp_path / "nowhere", "train")


def test_a_missing_split_names_its_file(tiny_dataset):
    with pytest.raises(DataError, match=r"anns/tests\.json: no such file"):
        SegmentationDataset(tiny_dataset, "tests")


def test_an_image_may_have_several_records(write_dataset):
    # BKAI lists one image twice; CheXlocalize has a record for each finding.
    root = write_dataset(val=1)
    path = root / "anns/val.json"
    (row,) = json.loads(path.read_text())
    path.write_text(json.dumps([row, row | {"prompts": {"p1": "lungs"}}]))
    first, second = SegmentationDataset(root, "val")
    assert torch.equal(first.image, second.image)
    assert second.record.prompts == {"p1": "lungs"}
