"""The four shared sets, put back as their authors distribute them, give the benchmark's JSON again."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_originals import save_mask

from vesalius.imaging import read_mask

PART = 4
"""Rows of each split that are tried."""


def kvasir(root, stem, picture, mask):
    picture.save(make(root / f"Kvasir-SEG/images/{stem}.jpg"))
    save_mask(root / f"Kvasir-SEG/masks/{stem}.jpg", mask, quality=90)


def clinicdb(root, stem, picture, mask):
    picture.save(make(root / f"CVC-ClinicDB/Original/{stem}.tif"))
    save_mask(root / f"CVC-ClinicDB/Ground Truth/{stem}.tif", mask)


def bkai(root, stem, picture, mask):
    picture.save(make(root / f"train/train/{stem}.jpeg"))
    left = np.arange(mask.shape[1]) < mask.shape[1] // 2
    colours = np.stack([mask & left, mask & ~left, mask & False], axis=-1) * 255
    save_mask(root / f"train_gt/train_gt/{stem}.jpeg", colours, quality=95, subsampling=0)


def busi(root, stem, picture, mask):
    number, kind = stem.split("_")
    folder = root / f"Dataset_BUSI_with_GT/{kind}"
    picture.save(make(folder / f"{kind} ({number}).png"))
    upper = (np.arange(mask.shape[0]) < mask.shape[0] // 2)[:, None]
    save_mask(folder / f"{kind} ({number})_mask.png", mask & upper)
    save_mask(folder / f"{kind} ({number})_mask_1.png", mask & ~upper)


def make(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


SETS = {"kvasir_polyp": kvasir, "clinicdb_polyp": clinicdb, "bkai_polyp": bkai, "busi": busi}


@pytest.mark.parametrize("name", SETS)
def test_splits_names_prompts_and_masks_come_back(name, shared, prepare_original, tmp_path):
    home = shared / "data/segmentation" / name
    for split in ("train", "val", "test"):
        rows = json.loads((home / f"anns/{split}.json").read_text())
        doubled = [row for row in rows if [each["img_name"] for each in rows].count(row["img_name"]) > 1]
        rows = rows[:PART] + doubled
        make(tmp_path / f"anns/{split}.json").write_text(json.dumps(rows))
        for row in rows:
            picture, mask = Image.open(home / "images" / row["img_name"]), read_mask(home / "masks" / row["mask_name"])
            SETS[name](tmp_path / "original", Path(row["img_name"]).stem, picture, mask)
    report = prepare_original(name, tmp_path / "original", given=tmp_path)
    assert report.problems == ()
    assert report.records["train"] == PART + 2 * (name == "bkai_polyp")
    for split in report.records:
        rows = json.loads((tmp_path / f"anns/{split}.json").read_text())
        assert json.loads((report.dest / f"anns/{split}.json").read_text()) == rows
        for row in rows:
            made = read_mask(report.dest / "masks" / row["mask_name"])
            np.testing.assert_array_equal(made, read_mask(home / "masks" / row["mask_name"]))
