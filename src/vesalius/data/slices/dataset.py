"""A folder of labelled slices as training and evaluation see it."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from vesalius.data.augment import UNCHANGED, SliceAugment, augment_slice
from vesalius.data.draws import seed_of
from vesalius.data.slices.table import SliceRow, read_slice_table
from vesalius.errors import DataError, join_first
from vesalius.imaging import read_image
from vesalius.prompts.anatomy import AnatomyLabel
from vesalius.prompts.anatomy_captions import PLAIN, Caption, CaptionMix, draw_caption


@dataclass(frozen=True)
class AnatomySample:
    """A slice, what it shows, and whose it is."""

    image: Tensor
    """RGB in [0, 1], [3, S, S]."""
    label: AnatomyLabel
    patient: str


class AnatomySlices(Dataset[AnatomySample]):
    """The slices of one split, read from disk one at a time.

    Args:
        root: Folder with ``slices.jsonl`` and ``slices/``.
        split: "train", "val" or "test"; None takes all.

    Raises:
        DataError: If the table is missing or damaged, or the split has no slice.
    """

    def __init__(self, root: Path, split: str | None = None) -> None:
        rows = read_slice_table(root)
        self.root = root
        self.rows: list[SliceRow] = [row for row in rows if split in (None, row.split)]
        if not self.rows:
            there = ", ".join(sorted({row.split for row in rows})) or "nothing"
            raise DataError(f"{root}: has no slice of split '{split}'; there is {there}.")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> AnatomySample:
        row = self.rows[index]
        rgb = read_image(self.root / row.file).slices()[0].rgb
        image = torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))
        return AnatomySample(image, row.label, row.patient)


def open_slices(roots: Iterable[Path], split: str) -> list[AnatomySlices]:
    """The slices of one split in each folder that has any.

    Args:
        roots: Folders with ``slices.jsonl``.
        split: "train", "val" or "test".

    Raises:
        DataError: If a table is missing or damaged, or none of the folders has the split.
    """
    folders = list(roots)
    having = [root for root in folders if any(row.split == split for row in read_slice_table(root))]
    if not having:
        where = "has" if len(folders) == 1 else "and the other folders have"
        raise DataError(f"{folders[0]}: {where} no slice of split '{split}'; cut slices of other patients for it.")
    return [AnatomySlices(root, split) for root in having]


def check_patients(train: Iterable[AnatomySlices], val: Iterable[AnatomySlices]) -> None:
    """See that no validation patient is trained on; one name in two folders may be two people, and is warned of.

    Raises:
        DataError: If a patient of one folder is in both splits.
    """
    trained, judged = ({each.root: {row.patient for row in each.rows} for each in split} for split in (train, val))
    for root, patients in judged.items():
        if both := sorted(patients & trained.get(root, set())):
            raise DataError(
                f"{root}: {len(both)} patients are in train and val, the first is '{both[0]}'; split by patient."
            )
    shared = sorted(set[str]().union(*trained.values()) & set[str]().union(*judged.values()))
    if shared:
        warnings.warn(
            f"{len(shared)} validation patients have the names of training patients of another folder "
            f"({join_first(shared)}); if they are the same people, put each into one split.",
            stacklevel=2,
        )


@dataclass(frozen=True)
class SliceExample:
    """A slice, what it shows, and one of the captions that are true of it."""

    image: Tensor
    """RGB in [0, 1], [3, S, S]."""
    label: AnatomyLabel
    caption: Caption


@dataclass(frozen=True)
class SliceBatch:
    """B examples."""

    images: Tensor
    """[B, 3, S, S]."""
    labels: list[AnatomyLabel]
    captions: list[Caption]


class SliceView(Dataset[SliceExample]):
    """Slices as examples, different in every epoch.

    Args:
        source: The slices.
        size: S, the side of the square images.
        augment: How images vary.
        mix: How captions vary.
        seed: With the epoch and the index, decides every draw.
    """

    def __init__(
        self,
        source: AnatomySlices,
        size: int,
        augment: SliceAugment = UNCHANGED,
        mix: CaptionMix = PLAIN,
        *,
        seed: int = 0,
    ) -> None:
        self.source = source
        self.size = size
        self.augment = augment
        self.mix = mix
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Draw as an epoch does from now on."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> SliceExample:
        place = seed_of(self.seed, self.epoch, index)
        sample, draws = self.source[index], torch.Generator().manual_seed(place)
        image = augment_slice(sample.image, self.augment, self.size, draws)
        return SliceExample(image, sample.label, draw_caption(sample.label, self.mix, np.random.default_rng(place)))


def collate_slices(examples: Sequence[SliceExample]) -> SliceBatch:
    """Join examples into a batch."""
    images = torch.stack([example.image for example in examples])
    return SliceBatch(images, [each.label for each in examples], [each.caption for each in examples])
