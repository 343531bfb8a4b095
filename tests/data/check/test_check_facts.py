import io
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from rich.progress import Progress

from vesalius.data.check import check_dataset
from vesalius.data.check import facts as reading
from vesalius.data.check.facts import ValueKind, check_folders, examine_files, examine_image, examine_mask, gather_uses
from vesalius.data.check.findings import read_splits
from vesalius.errors import DataError


def test_a_copy_in_another_lossless_format_has_the_same_digest(tmp_path, draw):
    levels = (draw(1) * 255).astype(np.uint8)
    for name in ("a.png", "b.tif"):
        Image.fromarray(levels).save(tmp_path / name)
    Image.fromarray(levels + np.uint8(1)).save(tmp_path / "c.png")
    one, same, other = (examine_image(tmp_path / name) for name in ("a.png", "b.tif", "c.png"))
    assert one.digest == same.digest != other.digest
    assert one.size == (60, 80)


def test_deep_grey_has_the_signature_of_its_eight_bits(tmp_path, draw):
    levels = (draw(1)[..., 0] * 255).astype(np.uint8)
    Image.fromarray(levels).save(tmp_path / "8.png")
    Image.fromarray(levels.astype(np.uint16) * 257).save(tmp_path / "16.png")
    eight, deep = examine_image(tmp_path / "8.png"), examine_image(tmp_path / "16.png")
    assert np.sum(eight.signature * deep.signature) > 0.999
    assert eight.digest != deep.digest


def test_blank_pictures_and_further_slices_are_told(tmp_path):
    Image.new("L", (9, 9), 7).save(tmp_path / "a.tif", save_all=True, append_images=[Image.new("L", (9, 9), 9)])
    facts = examine_image(tmp_path / "a.tif")
    assert facts.slices == 2
    assert facts.blank
    assert not facts.signature.any()


DISC = np.hypot(*(np.mgrid[:64, :80] - np.array([30, 40])[:, None, None])) < 20


def jpeg(levels: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, "JPEG", quality=75)
    return np.asarray(Image.open(buffer))


BLACK_AND_WHITE = DISC.astype(np.uint8) * 255
CASES = {
    "0 and 255": (BLACK_AND_WHITE, ValueKind.BINARY),
    "0 and 1": (DISC.astype(np.uint8), ValueKind.BINARY),
    "16 bit": (DISC.astype(np.uint16) * 65535, ValueKind.BINARY),
    "nothing": (np.zeros((8, 8), np.uint8), ValueKind.BINARY),
    "everything": (np.full((8, 8), 255, np.uint8), ValueKind.BINARY),
    "white in three channels": (np.stack([BLACK_AND_WHITE] * 3, axis=2), ValueKind.BINARY),
    "JPEG": (jpeg(BLACK_AND_WHITE), ValueKind.ARTEFACTS),
    "labels": (DISC.astype(np.uint8) + (np.arange(80) > 40).astype(np.uint8), ValueKind.LABELS),
    "0 and 255 in 16 bit": (DISC.astype(np.uint16) * 255, ValueKind.BINARY),
    "0 and 100": (DISC.astype(np.uint8) * 100, ValueKind.BINARY),
    "a photograph": (np.linspace(0, 255, 64 * 80).reshape(64, 80).astype(np.uint8), ValueKind.PICTURE),
    "a photograph in colour": (np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8), ValueKind.PICTURE),
    "red and green": (jpeg(np.dstack([BLACK_AND_WHITE, 255 - BLACK_AND_WHITE, 0 * BLACK_AND_WHITE])), ValueKind.COLOUR),
    "red and green, pure": (np.dstack([BLACK_AND_WHITE, 255 - BLACK_AND_WHITE, 0 * BLACK_AND_WHITE]), ValueKind.COLOUR),
}


@pytest.mark.parametrize("case", CASES)
def test_values_are_told_apart(tmp_path, case):
    levels, kind = CASES[case]
    Image.fromarray(levels).save(tmp_path / "mask.png")
    assert examine_mask(tmp_path / "mask.png").kind is kind


def test_share_values_and_size_are_those_of_the_file(tmp_path):
    Image.fromarray(CASES["labels"][0]).save(tmp_path / "mask.png")
    facts = examine_mask(tmp_path / "mask.png")
    assert facts.size == (64, 80)
    assert facts.values == (0, 1, 2)
    assert facts.share == 0  # read as training reads it: no value is in the upper half
    assert facts.between == 0  # 1 and 2 of 255 are near black


def found(root) -> list[tuple[str, str]]:
    rows, _ = read_splits(root)
    return [(each.kind, each.message) for each in check_folders(root, *gather_uses(rows))]


def test_a_missing_file_is_named_with_what_may_be_meant(root):
    (root / "masks/val_0.png").rename(root / "masks/VAL_0.tif")
    assert sorted(found(root)) == [
        ("extra_file", "masks/VAL_0.tif is named by no record."),
        ("missing_file", "masks/val_0.png is not there. Is it masks/VAL_0.tif?"),
    ]


def test_a_missing_file_is_found_once_with_all_its_records(root, change):
    change("train", lambda records: records.append(records[0]))
    (root / "images/train_0.png").unlink()
    rows, _ = read_splits(root)
    (finding,) = check_folders(root, *gather_uses(rows))
    assert [(place.split, place.record) for place in finding.places] == [("train", 0), ("train", 3)]


def test_files_in_folders_of_their_own_count(root, change):
    (root / "images/sub").mkdir()
    (root / "images/train_0.png").rename(root / "images/sub/a b.png")
    change("train", lambda records: records[0].update(img_name="./sub/a b.png"))
    assert found(root) == []


def test_where_a_split_cannot_be_read_nobody_knows_what_is_extra(root):
    (root / "anns/val.json").write_text("[{")
    assert [each.kind for each in check_dataset(root).findings] == ["unreadable_annotations"]


def read(root, jobs=1):
    return examine_files(root, *gather_uses(read_splits(root)[0]), jobs=jobs, bar=Progress(disable=True))


def test_each_file_is_read_once_and_missing_ones_are_left_out(root, change, monkeypatch):
    change("train", lambda records: records.append(records[0]))
    (root / "masks/val_0.png").unlink()
    seen: list[str] = []
    examine = reading._examine
    monkeypatch.setattr(reading, "_examine", lambda root, file: (seen.append(file), examine(root, file))[1])
    facts = read(root)
    assert len(seen) == len(set(seen)) == 13
    assert (len(facts.images), len(facts.masks), facts.findings) == (7, 6, [])


@pytest.mark.parametrize(("folder", "kind"), [("images", "unreadable_image"), ("masks", "unreadable_mask")])
def test_what_cannot_be_read_is_named_by_its_path_in_the_data_set(root, folder, kind):
    (root / folder / "test_1.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    (finding,) = read(root).findings
    assert finding.kind == kind
    assert finding.message.startswith(f"{folder}/test_1.png: cannot be read as a picture")
    assert str(finding.places[0]) == f"{folder}/test_1.png (test, record 1)"


def end_process(*_: object) -> None:
    os._exit(1)


@pytest.mark.slow
def test_a_process_that_is_ended_from_outside_is_told(root, monkeypatch):
    monkeypatch.setattr(reading, "WORTH", 1)
    monkeypatch.setattr(reading, "_examine", end_process)
    with pytest.raises(DataError, match="ended from outside.*--jobs 1"):
        read(root, jobs=2)


CHECKING = """
import sys
from pathlib import Path
from vesalius.data.check import CheckSettings, check_dataset, facts

if __name__ == "__main__":
    facts.WORTH = 1
    assert len(check_dataset(Path(sys.argv[1]), CheckSettings(jobs=2)).findings) == 0
"""


@pytest.mark.slow
def test_modules_of_the_current_folder_are_not_run(root, tmp_path):
    here = tmp_path / "here"
    here.mkdir()
    for name in ("socket", "pickle", "queue"):
        (here / f"{name}.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w')")
    (tmp_path / "checking.py").write_text(CHECKING)
    subprocess.run([sys.executable, tmp_path / "checking.py", root], cwd=here, check=True, capture_output=True)
    assert not (tmp_path / "run").exists()
