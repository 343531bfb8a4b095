"""Tiny pictures, masks and volumes, and how to look at what became of them."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image

SIZE = (20, 24)


def blob(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A rectangle [H, W] whose place depends on a number; empty below 0."""
    mask = np.zeros(size, bool)
    if number >= 0:
        mask[2 + number % 5 : 10 + number % 7, 3 + number % 4 : 12 + number % 9] = True
    return mask


def save_picture(path: Path, number: int = 0, size: tuple[int, int] = SIZE) -> Path:
    """A noisy colour picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)).save(path)
    return path


def save_mask(path: Path, mask: np.ndarray, **options: object) -> Path:
    """A mask of 0 and 255, or levels as they are; JPEG if the name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = mask.astype(np.uint8) * 255 if mask.dtype == bool else mask.astype(np.uint8)
    Image.fromarray(levels).save(path, **options)
    return path


def save_volume(path: Path, values: np.ndarray, spacing: tuple[float, float, float] = (2, 2, 2)) -> Path:
    """A NIfTI volume [X, Y, Z] in RAS+."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, np.diag([*spacing, 1.0])), path)
    return path


def read_rows(dest: Path, split: str) -> list[dict]:
    return json.loads((dest / "anns" / f"{split}.json").read_text(encoding="utf-8"))


def all_rows(dest: Path) -> list[dict]:
    return [row for split in ("train", "val", "test") for row in read_rows(dest, split)]


def tree(folder: Path) -> dict[str, bytes]:
    """Every file and its content; of the journal, the order of whose lines is that of the work, nothing."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".prepare.jsonl")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
