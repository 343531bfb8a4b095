"""What a contrastive model sees of labelled slices while it trains: one caption and one augmentation of each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from vesalius.data.anatomy.augment import UNCHANGED, SliceAugment, augment_slice
from vesalius.data.anatomy.dataset import AnatomySlices
from vesalius.prompts.anatomy import AnatomyLabel
from vesalius.prompts.anatomy_captions import PLAIN, Caption, CaptionMix, draw_caption


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

    def turn_to(self, epoch: int) -> None:
        """Draw as an epoch does from now on."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> SliceExample:
        place = hash((self.seed, self.epoch, index)) % 2**63
        sample, draws = self.source[index], torch.Generator().manual_seed(place)
        image = augment_slice(sample.image, self.augment, self.size, draws)
        return SliceExample(image, sample.label, draw_caption(sample.label, self.mix, np.random.default_rng(place)))


def collate_slices(examples: Sequence[SliceExample]) -> SliceBatch:
    """Join examples into a batch."""
    images = torch.stack([example.image for example in examples])
    return SliceBatch(images, [each.label for each in examples], [each.caption for each in examples])
