"""A small data set of pictures that do not resemble each other, to be spoilt in one way a test."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vesalius.imaging import write_mask, write_rgb

PROMPTS = {"p0": "", "p1": "polyp", "p2": ["round polyp", "oval polyp"]}
COUNTS = {"train": 3, "val": 2, "test": 2}
SIZE = (60, 80)

Change = Callable[[str, Callable[[list], None]], None]


@pytest.fixture(scope="session")
def draw() -> Callable[[int], np.ndarray]:
    """A cloudy picture [60, 80, 3] in [0, 1], another for every seed."""

    def draw(seed: int) -> np.ndarray:
        rough = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
        return np.asarray(Image.fromarray(rough).resize(SIZE[::-1], Image.Resampling.BICUBIC)) / 255

    return draw


@pytest.fixture(scope="session")
def flawless(tmp_path_factory, draw) -> Path:
    """A data set in which nothing is wrong: train_0.png … test_1.png; not to be changed."""
    folder = tmp_path_factory.mktemp("check") / "set"
    (folder / "anns").mkdir(parents=True)
    seed = 0
    for split, count in COUNTS.items():
        records = []
        for index in range(count):
            seed += 1
            name = f"{split}_{index}.png"
            write_rgb(folder / "images" / name, draw(seed))
            write_mask(folder / "masks" / name, square(seed))
            records.append({"img_name": name, "mask_name": name, "prompts": PROMPTS})
        (folder / "anns" / f"{split}.json").write_text(json.dumps(records), encoding="utf-8")
    return folder


@pytest.fixture
def root(tmp_path, flawless) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(flawless, tmp_path / "set"))


@pytest.fixture
def change(root) -> Change:
    """Change the records of a split in place."""

    def change(split: str, edit: Callable[[list], None]) -> None:
        path = root / "anns" / f"{split}.json"
        records = json.loads(path.read_text(encoding="utf-8"))
        edit(records)
        path.write_text(json.dumps(records), encoding="utf-8")

    return change


def square(seed: int) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[10 + seed : 30 + seed, 20 : 50 + seed] = True
    return mask
