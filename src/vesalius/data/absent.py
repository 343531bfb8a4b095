"""Records that ask for what an image does not show: their mask is empty."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from vesalius.data.annotations import ABSENT, ImageRecord
from vesalius.imaging import write_mask


def ask_for_absent(root: Path, images: Iterable[tuple[ImageRecord, tuple[int, int], tuple[str, ...]]]) -> list[object]:
    """One record for each image, and in masks/absent/ an empty mask for each size.

    Args:
        root: Folder of the data set.
        images: A record of each image, its height and width, and names of what it does not show.

    Raises:
        OutputError: If a mask cannot be written.
    """
    rows: dict[str, object] = {}
    for record, (height, width), never in images:
        if not never or record.img_name in rows:
            continue
        mask_name = f"{ABSENT}/{height}x{width}.png"
        if not (root / "masks" / mask_name).exists():
            write_mask(root / "masks" / mask_name, np.zeros((height, width), dtype=bool))
        prompts = {"p1": list(never)}
        rows[record.img_name] = {
            "img_name": record.img_name, "mask_name": mask_name, "prompts": prompts, ABSENT: True,
        }  # fmt: skip
    return list(rows.values())
