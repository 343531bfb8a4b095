"""A small body of boxes: 200 × 150 × 300 mm in voxels of 5 mm, feet first."""

from pathlib import Path

import numpy as np

STEP_MM = 5.0
SHAPE = (40, 30, 60)
"""To the right, to the front, to the head."""
BOXES = {
    "hip_left": ((6, 14), (8, 20), (6, 18)),
    "hip_right": ((26, 34), (8, 20), (6, 18)),
    "femur_left": ((8, 12), (10, 14), (0, 8)),
    "femur_right": ((28, 32), (10, 14), (0, 8)),
    "sacrum": ((16, 24), (2, 8), (8, 16)),
    "vertebrae_L5": ((18, 22), (4, 9), (16, 20)),
    "vertebrae_L2": ((18, 22), (4, 9), (20, 30)),
    "vertebrae_T11": ((18, 22), (4, 9), (30, 36)),
    "vertebrae_T8": ((18, 22), (4, 9), (37, 60)),
    "colon": ((10, 30), (12, 24), (18, 26)),
    "liver": ((20, 36), (8, 26), (26, 38)),
    "kidney_left": ((8, 14), (6, 12), (24, 32)),
    "lung_left": ((4, 16), (6, 26), (38, 60)),
    "lung_right": ((24, 36), (6, 26), (38, 60)),
    "brain": ((0, 0), (0, 0), (0, 0)),
    "heart": ((0, 0), (0, 0), (0, 0)),
}
"""Structure -> from and to, along each axis."""


def inside(name: str) -> tuple[slice, ...]:
    return tuple(slice(first, last) for first, last in BOXES[name])


def affine() -> np.ndarray:
    placed = np.diag([STEP_MM, STEP_MM, STEP_MM, 1.0])
    placed[:3, 3] = (-97.5, -72.5, -100.0)
    return placed


def body_values() -> np.ndarray:
    """HU: air, a body of fat, organs brighter the later they stand in `BOXES`."""
    values = np.full(SHAPE, -1000, np.int16)
    values[3:37, 1:28] = -80
    for number, name in enumerate(BOXES):
        values[inside(name)] = 10 + 10 * number
    return values


def write_meta(source: Path, *rows: str, head: str = "image_id;age;split") -> None:
    (source / "meta.csv").write_text("\ufeff" + "\n".join([head, *rows]) + "\n", encoding="utf-8")
