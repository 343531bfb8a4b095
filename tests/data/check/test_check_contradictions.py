import shutil

import numpy as np
import pytest
from PIL import Image

from vesalius.data.check import CheckSettings, check_dataset
from vesalius.imaging import read_mask, write_mask

SIZE = (60, 80)


def corner(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[rows, columns] = True
    return mask


@pytest.fixture
def twins(root):
    """train_0 and train_1 with one picture and masks that do not overlap."""
    shutil.copy(root / "images/train_0.png", root / "images/train_1.png")
    write_mask(root / "masks/train_0.png", corner(slice(0, 20), slice(0, 30)))
    write_mask(root / "masks/train_1.png", corner(slice(30, 60), slice(50, 80)))
    return root


def found(root) -> dict[str, str]:
    return {each.kind: each.message for each in check_dataset(root).findings if each.kind.startswith("contra")}


def test_one_picture_with_two_masks_is_told_with_their_dice(twins):
    message = found(twins)["contradictory_masks"]
    assert "images/train_0.png and images/train_1.png: masks agree by a Dice of 0.00 only" in message


def test_masks_are_compared_as_the_pictures_lie(twins):
    mirrored = Image.open(twins / "images/train_0.png").transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    mirrored.save(twins / "images/train_1.png")
    write_mask(twins / "masks/train_1.png", np.ascontiguousarray(np.flipud(read_mask(twins / "masks/train_0.png"))))
    assert found(twins) == {}


def test_masks_of_another_resolution_are_compared_too(twins):
    for folder in ("images", "masks"):
        with Image.open(twins / folder / "train_0.png") as picture:
            picture.resize((160, 120)).save(twins / folder / "train_1.png")
    assert found(twins) == {}


def test_different_questions_may_have_different_masks(twins, change):
    change("train", lambda records: records[1].update(prompts={"p0": "", "p1": "fold", "p2": "round fold"}))
    assert found(twins) == {}


def test_one_image_listed_with_two_masks_is_told(root, change):
    write_mask(root / "masks/train_1.png", ~read_mask(root / "masks/train_0.png"))
    change("train", lambda records: records[1].update(img_name="train_0.png"))
    assert "images/train_0.png: masks agree" in found(root)["contradictory_masks"]


def test_one_picture_in_two_classes_is_told(twins, change):
    shutil.copy(twins / "masks/train_0.png", twins / "masks/train_1.png")
    change("train", lambda records: records[0]["prompts"].update(p1="benign tumour"))
    change("train", lambda records: records[1]["prompts"].update(p1="Malignant tumour"))
    assert found(twins) == {
        "contradictory_prompts": "images/train_0.png and images/train_1.png: prompted as benign and malignant."
    }


def test_frames_that_only_resemble_each_other_may_differ(twins):
    levels = np.asarray(Image.open(twins / "images/train_0.png")).astype(int)
    grain = np.kron(np.random.default_rng(0).normal(0, 40, (15, 20)), np.ones((4, 4)))[..., None]
    Image.fromarray((levels + grain).clip(0, 255).astype(np.uint8)).save(twins / "images/train_1.png")
    report = check_dataset(twins, CheckSettings(similarity=0.5))
    assert [each.kind for each in report.findings] == ["duplicate_in_split"]
