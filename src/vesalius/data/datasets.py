"""A segmentation data set on disk: ``images/``, ``masks/`` and ``anns/{train,val,test}.json``."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from vesalius.data.annotations import ImageRecord, read_annotations
from vesalius.data.catalog import read_catalog
from vesalius.errors import DataError
from vesalius.imaging import read_image, read_mask


@dataclass(frozen=True)
class Sample:
    """An image, what is outlined on it, and its record."""

    image: Tensor
    """RGB in [0, 1], [3, H, W], at the file's own size."""
    mask: Tensor
    """1 inside and 0 outside, float, [1, H, W]."""
    record: ImageRecord
    pixel_spacing_mm: tuple[float, float] | None = None
    """Distance between rows and columns; None where the file does not say."""


class SegmentationDataset(Dataset[Sample]):
    """The records of one split, read from disk one at a time.

    Args:
        root: Folder in the benchmark's layout.
        split: "train", "val" or "test".

    Raises:
        DataError: If the folder, the split or a field of it is missing.
    """

    def __init__(self, root: Path, split: str) -> None:
        if not root.is_dir():
            raise DataError(f"{root}: no such data folder; expected images/, masks/ and anns/ in it.")
        self.root = root
        self.split = split
        self.records = read_annotations(root / "anns" / f"{split}.json")

    @cached_property
    def target(self) -> str | None:
        """What its masks outline, where the catalog knows a folder of this name."""
        card = read_catalog().get(self.root.resolve().name)
        return card.target if card else None

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        record = self.records[index]
        picture = read_image(self.root / "images" / record.img_name).slices()[0]
        image = picture.rgb
        mask = read_mask(self.root / "masks" / record.mask_name)
        if image.shape[:2] != mask.shape:
            sizes = f"expected the image's {_size(image.shape)}, got {_size(mask.shape)}"
            raise DataError(f"{self.root}/masks/{record.mask_name}: a mask of another size; {sizes} (height × width).")
        return Sample(
            torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
            torch.from_numpy(mask.astype(np.float32))[None],
            record,
            picture.pixel_spacing_mm,
        )


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} × {shape[1]}"
