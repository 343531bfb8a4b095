import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from vesalius.errors import DataError
from vesalius.imaging import read_image, read_mask

LABELS = {"5": "liver", "2": "kidney_right", "3": "kidney_left", "27": "vertebrae_L5", "80": "gluteus_maximus_left"}
ORGANS = {"liver": (5,), "kidney": (2, 3), "spine": (27,)}


@pytest.fixture(scope="module")
def recipe(import_script):
    return import_script("recipes/pocket", "prepare_abdomen")


@pytest.fixture(scope="module")
def trunk(tmp_path_factory) -> Path:
    """A CT of 48³ voxels in display order: the liver above, two kidneys, a spine of which nothing is free."""
    folder, labels = tmp_path_factory.mktemp("trunk"), np.zeros((48, 48, 48), np.int16)
    labels[4:44, 4:44, :] = 80
    labels[6:20, 10:30, 26:46] = 5
    labels[8:14, 32:40, 14:24], labels[32:38, 32:40, 14:24] = 2, 3
    labels[20:28, 34:44, :] = 27
    affine = np.diag([-3.0, -3.0, 3.0, 1.0])  # as DICOM counts: to the left, to the back, up
    for name in ("ct", "mr"):
        (folder / name).mkdir()
        nib.save(nib.Nifti1Image((labels * 10).astype(np.int16), affine), folder / name / f"{name}.nii.gz")
        nib.save(nib.Nifti1Image(labels, affine), folder / name / "segmentation.nii.gz")
        (folder / name / "labels.json").write_text(json.dumps(LABELS))
    return folder


@pytest.fixture(scope="module")
def prepared(recipe, trunk) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        for name, arguments in {"ct": [], "mr": ["--test"]}.items():
            patch.setattr(sys, "argv", ["prepare", str(trunk / name), str(trunk / "out" / name), *arguments])
            recipe.main()
    return trunk / "out"


def read_rows(folder: Path, split: str) -> list[dict]:
    return json.loads((folder / "anns" / f"{split}.json").read_text())


def test_there_is_a_folder_for_every_organ_the_volume_has(prepared):
    for name in ("ct", "mr"):
        assert {path.name for path in (prepared / name).iterdir()} == {f"abdomen_{organ}" for organ in ORGANS}


@pytest.mark.parametrize("organ", ORGANS)
def test_masks_are_those_of_the_labels(prepared, trunk, organ):
    labels = read_image(trunk / "ct" / "segmentation.nii.gz")
    folder = prepared / "ct" / f"abdomen_{organ}"
    for row in read_rows(folder, "train"):
        _, plane, index = row["img_name"].removesuffix(".png").split("_")
        truth = np.isin(labels.slices(plane).pixels[int(index)], ORGANS[organ])
        assert np.array_equal(read_mask(folder / "masks" / row["mask_name"]), truth)


@pytest.mark.parametrize("organ", ORGANS)
def test_a_slice_trains_or_validates(prepared, organ):
    train, val = (
        [row["img_name"] for row in read_rows(prepared / "ct" / f"abdomen_{organ}", s)] for s in ("train", "val")
    )
    assert not set(train) & set(val)
    assert len(train) > 6 * len(val) > 0


def test_some_slices_surely_lack_the_organ(prepared, recipe):
    folder = prepared / "ct" / "abdomen_kidney"
    rows = [row["mask_name"] for split in ("train", "val") for row in read_rows(folder, split)]
    empty = [name for name in rows if not read_mask(folder / "masks" / name).any()]
    assert len(rows) / 8 < len(empty) < len(rows) / 3
    for name in empty:
        if "_axial_" in name:
            index = int(name.removesuffix(".png").split("_")[2])
            assert index < 14 - recipe.MARGIN or index > 23 + recipe.MARGIN


def test_a_volume_for_testing_trains_nothing(prepared):
    for folder in (prepared / "mr").iterdir():
        assert [path.name for path in (folder / "anns").iterdir()] == ["test.json"]
        assert all("_axial_" in row["img_name"] for row in read_rows(folder, "test"))


def test_prompts_name_the_organ_and_never_ask_without_words(prepared):
    for name, modality in {"ct/abdomen_kidney": "CT", "mr/abdomen_kidney": "MR"}.items():
        row = read_rows(prepared / name, "train" if modality == "CT" else "test")[0]
        assert row["prompts"] == {
            "p1": "kidneys",
            "p2": [f"kidneys in {modality}", f"kidneys on {modality} of the trunk"],
        }


def test_a_folder_without_a_volume_is_named(recipe, tmp_path):
    with pytest.raises(DataError, match=r"expected ct\.nii\.gz or mr\.nii\.gz"):
        recipe.read_labelled(tmp_path)
