from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from vesalius.data.augment import SliceAugment
from vesalius.data.slices.dataset import AnatomySlices, SliceView, check_patients, collate_slices, open_slices
from vesalius.data.slices.table import PICTURES, SliceRow, write_slice_table
from vesalius.errors import DataError
from vesalius.prompts.anatomy import AnatomyLabel
from vesalius.prompts.anatomy_captions import CaptionMix, entails

LABEL = AnatomyLabel("CT", None, "axial", frozenset({"abdomen"}), frozenset({"liver", "kidneys"}))


@pytest.fixture
def slices(tmp_path) -> AnatomySlices:
    (tmp_path / PICTURES).mkdir()
    rows = []
    for index in range(3):
        file = f"{PICTURES}/{index}.png"
        Image.fromarray(np.random.default_rng(index).integers(0, 255, (32, 32), np.uint8)).save(tmp_path / file)
        rows.append(SliceRow(file, "v", "p", "train", None, index, None, 0.0, LABEL))
    write_slice_table(tmp_path, rows)
    return AnatomySlices(tmp_path, "train")


def test_every_epoch_draws_anew_and_repeats_itself(slices):
    view = SliceView(slices, 24, SliceAugment(), CaptionMix())
    first = [view[index] for index in range(3)]
    view.set_epoch(1)
    later = [view[index] for index in range(3)]
    view.set_epoch(0)
    again = [view[index] for index in range(3)]
    assert all(one.image.equal(two.image) and one.caption == two.caption for one, two in zip(first, again, strict=True))
    assert not any(one.image.equal(two.image) for one, two in zip(first, later, strict=True))
    assert [each.caption.text for each in first] != [each.caption.text for each in later]
    assert all(entails(LABEL, each.caption.asserts) for each in (*first, *later))


def test_by_default_nothing_varies(slices):
    view = SliceView(slices, 32)
    plain = view[0]
    torch.testing.assert_close(plain.image, slices[0].image, rtol=0, atol=1e-5)
    assert plain.caption.text == "An axial oriented CT image of liver, kidneys organs belong to abdomen region"
    view.set_epoch(7)
    assert view[0].caption == plain.caption


def test_examples_are_joined(slices):
    view = SliceView(slices, 16)
    batch = collate_slices([view[0], view[1]])
    assert batch.images.shape == (2, 3, 16, 16)
    assert batch.labels == [LABEL, LABEL]
    assert len(batch.captions) == 2


def test_folders_without_a_split_are_passed_over(slices, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    write_slice_table(other, [replace(slices.rows[0], split="val")])
    assert [len(each) for each in open_slices([tmp_path, other], "train")] == [3]
    assert [each.root for each in open_slices([tmp_path, other], "val")] == [other]
    with pytest.raises(DataError, match="and the other folders have no slice of split 'test'"):
        open_slices([tmp_path, other], "test")


def test_a_patient_is_not_validated_on_where_trained_on(slices, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    write_slice_table(other, [replace(slices.rows[0], split="val")])
    with pytest.warns(UserWarning, match=r"1 validation patients have the names of training patients .* \(p\)"):
        check_patients([slices], [AnatomySlices(other)])
    with pytest.raises(DataError, match="1 patients are in train and val, the first is 'p'; split by patient"):
        check_patients([slices], [AnatomySlices(tmp_path)])
    write_slice_table(other, [replace(slices.rows[0], split="val", patient="q")])
    check_patients([slices], [AnatomySlices(other)])
