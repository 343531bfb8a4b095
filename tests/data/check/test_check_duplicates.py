import shutil

import numpy as np
from PIL import Image

from vesalius.data.check import CheckSettings, check_dataset


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
