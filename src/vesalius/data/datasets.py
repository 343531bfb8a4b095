"""A segmentation data set on disk: ``images/``, ``masks/`` and ``anns/{train,val,test}.json``."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from vesalius.data.annotations import (
    ImageRecord,
    annotations_path,
    check_data_folder,
    find_row,
    read_annotations,
    read_pair,
    read_target,
)
from vesalius.errors import DataError


@dataclass(frozen=True, repr=False)
class Sample:
    """An image, what is outlined on it, and its record."""

    image: Tensor
    """RGB in [0, 1], [3, H, W], at the file's own size."""
    mask: Tensor
    """1 inside and 0 outside, float, [1, H, W]."""
    record: ImageRecord
    pixel_spacing_mm: tuple[float, float] | None = None
    """Distance between rows and columns; None where the file does not say."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.record.img_name!r}, {'×'.join(map(str, self.image.shape[1:]))})"


@dataclass(frozen=True, repr=False)
class SampleBatch:
    """B samples; pictures smaller than the largest are padded with black at their lower and right edges."""

    images: Tensor
    """RGB in [0, 1], [B, 3, H, W]."""
    masks: Tensor
    """1 inside and 0 outside, float, [B, 1, H, W]."""
    sizes: list[tuple[int, int]]
    """Height and width of each picture without its padding."""
    records: list[ImageRecord]
    pixel_spacing_mm: list[tuple[float, float] | None]
    """As in `Sample`."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.records)} samples, {'×'.join(map(str, self.images.shape[2:]))})"


def collate_samples(samples: Sequence[Sample]) -> SampleBatch:
    """Join samples of any sizes into a batch, for PyTorch's data loaders.

    Example:
        >>> from torch.utils.data import DataLoader
        >>> DataLoader(data, batch_size=8, collate_fn=collate_samples)  # doctest: +SKIP
    """
    sizes = [(int(each.image.shape[1]), int(each.image.shape[2])) for each in samples]
    height, width = (max(lengths) for lengths in zip(*sizes, strict=True))
    images = torch.zeros(len(samples), 3, height, width)
    masks = torch.zeros(len(samples), 1, height, width)
    for place, (each, (rows, columns)) in enumerate(zip(samples, sizes, strict=True)):
        images[place, :, :rows, :columns] = each.image
        masks[place, :, :rows, :columns] = each.mask
    spacing = [each.pixel_spacing_mm for each in samples]
    return SampleBatch(images, masks, sizes, [each.record for each in samples], spacing)


class SegmentationDataset(Dataset[Sample]):
    """The records of one split, read from disk one at a time.

    Pictures keep their own size, so a data loader needs `collate_samples` to join them.

    Args:
        root: Folder in the benchmark's layout.
        split: "train", "val" or "test".

    Raises:
        DataError: If the folder, the split or a field of it is missing.
    """

    def __init__(self, root: Path, split: str) -> None:
        check_data_folder(root)
        self.root = root
        self.split = split
        self.records = read_annotations(annotations_path(root, split))

    def check_files(self) -> None:
        """See that every image and mask is there.

        Raises:
            DataError: Naming the first that is not.
        """
        for record in self.records:
            for path in record.files(self.root):
                if not path.is_file():
                    named = f"no such file, and anns/{self.split}.json names it"
                    raise DataError(f"{path}: {named}; `vesalius data check` lists what is missing.")

    @cached_property
    def target(self) -> str | None:
        """Row of the prompt bank for what all its masks outline; None where it does not say, or the bank has none.

        Raises:
            DataError: If ``dataset.json`` is damaged.
        """
        return find_row(read_target(self.root))

    def row_of(self, record: ImageRecord) -> str | None:
        """Row of the prompt bank for one record's mask; the record's own target takes precedence over the folder's."""
        return find_row(record.target) if record.target else self.target

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        record = self.records[index]
        picture, mask = read_pair(self.root, record)
        return Sample(
            torch.from_numpy(np.ascontiguousarray(picture.rgb.transpose(2, 0, 1))),
            torch.from_numpy(mask.astype(np.float32))[None],
            record,
            picture.pixel_spacing_mm,
        )
