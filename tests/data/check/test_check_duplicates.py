import shutil

import numpy as np
import pytest
from PIL import Image

from vesalius.data.check import CheckSettings, check_dataset
from vesalius.imaging import read_mask, write_mask


def findings(root, kind, **settings):
    return check_dataset(root, CheckSettings(**settings)).by_kind().get(kind, [])


def test_identical_files_in_two_splits_are_an_error_with_both_records(root):
    shutil.copy(root / "images/train_1.png", root / "images/test_0.png")
    (finding,) = findings(root, "duplicate_across_splits")
    assert [(place.split, place.record) for place in finding.places] == [("train", 1), ("test", 0)]
    assert finding.details["pairs"] == [
        {"first": "images/train_1.png", "second": "images/test_0.png", "similarity": 1.0, "how": "identical pixels"}
    ]


def test_a_mirrored_darker_copy_within_a_split_is_a_warning(root):
    picture = Image.open(root / "images/train_1.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    picture.point(lambda value: value // 2).save(root / "images/train_2.png")
    (finding,) = findings(root, "duplicate_in_split")
    (pair,) = finding.details["pairs"]
    assert pair["how"] == "mirrored left to right"
    assert 0.9 < pair["similarity"] <= 1


def test_how_alike_near_duplicates_are_can_be_chosen(root):
    rng = np.random.default_rng(0)
    levels = np.asarray(Image.open(root / "images/val_0.png")).astype(int)
    noise = np.kron(rng.normal(0, 40, (15, 20)), np.ones((4, 4)))[..., None]
    Image.fromarray((levels + noise).clip(0, 255).astype(np.uint8)).save(root / "images/val_1.png")
    assert len(findings(root, "duplicate_in_split", similarity=0.5)) == 1
    assert findings(root, "duplicate_in_split", similarity=0.99) == []


def test_blank_images_are_no_near_duplicates_of_each_other(root):
    Image.new("RGB", (80, 60), (9, 9, 9)).save(root / "images/val_0.png")
    Image.new("RGB", (80, 60), (8, 8, 8)).save(root / "images/val_1.png")
    assert findings(root, "duplicate_in_split") == []
    assert len(findings(root, "blank_image")) == 2


def test_leaks_count_the_images_that_are_scored(root):
    for name in ("test_0", "test_1", "train_2"):
        shutil.copy(root / "images/train_1.png", root / f"images/{name}.png")
    leaks = {(leak.seen, leak.scored): (leak.images, leak.of) for leak in check_dataset(root).leaks}
    assert leaks == {("train", "val"): (0, 2), ("train", "test"): (2, 2), ("val", "test"): (0, 2)}


def test_one_image_in_two_splits_is_an_error_of_its_own_and_a_leak(root, change):
    change("val", lambda records: records.append(records[0] | {"img_name": "train_0.png", "mask_name": "train_0.png"}))
    report = check_dataset(root)
    (finding,) = report.findings
    assert finding.kind == "image_across_splits"
    assert report.leaks[0].images == 1


def test_a_repeated_record_is_named_with_both_numbers(root, change):
    change("train", lambda records: records.append(records[1]))
    (finding,) = check_dataset(root).findings
    assert finding.kind == "repeated_record"
    assert finding.message.endswith("records 1, 3.")


def test_an_image_with_two_questions_is_no_repetition(root, change):
    change("train", lambda records: records.append(records[1] | {"prompts": {**records[1]["prompts"], "p1": "fold"}}))
    assert check_dataset(root).findings == []


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
