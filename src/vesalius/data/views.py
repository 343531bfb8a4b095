"""What a model sees of a data set while it trains: one prompt and one augmentation of each image."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.data import Dataset

from vesalius.data.annotations import ImageRecord
from vesalius.data.augment import AugmentConfig, change_intensity, draw_geometry, resample
from vesalius.data.datasets import SegmentationDataset
from vesalius.errors import ConfigError
from vesalius.prompts import find_target, foreign_phrases, mirror_prompt, sort_families, variants

T = TypeVar("T")


@dataclass(frozen=True)
class Example:
    """One image, one prompt, and what that prompt outlines on it."""

    image: Tensor
    """RGB in [0, 1], [3, S, S]."""
    mask: Tensor
    """[1, S, S]; all 0 where the prompt names something the image does not show."""
    prompt: str


@dataclass(frozen=True)
class Batch:
    """B examples."""

    images: Tensor
    """[B, 3, S, S]."""
    masks: Tensor
    """[B, 1, S, S]."""
    prompts: list[str]


@dataclass(frozen=True)
class PromptMix:
    """How often a training prompt is not one of the record's own."""

    paraphrases: float = 0.0
    """Probability of a phrase of the prompt bank for the same target."""
    absent: float = 0.0
    """Probability of a phrase for something else, whose mask is empty."""

    def __post_init__(self) -> None:
        if min(self.paraphrases, self.absent) < 0 or self.paraphrases + self.absent > 1:
            got = f"{self.paraphrases} and {self.absent}"
            raise ConfigError(f"paraphrases and absent are probabilities with a sum of 1 at most, got {got}.")


class TrainingView(Dataset[Example]):
    """A data set seen through random augmentation and random prompts, different in every epoch.

    Args:
        source: The images; a mix above 0 has no effect, with a warning, where their ``target`` is not known.
        size: S, the side of the square images.
        augment: Ranges of the random changes.
        mix: How prompts are drawn.
        seed: With the epoch and the index, decides every draw.
    """

    def __init__(
        self, source: SegmentationDataset, size: int, augment: AugmentConfig, mix: PromptMix, seed: int = 0
    ) -> None:
        self.source = source
        self.size = size
        self.augment = augment
        self.seed = seed
        self.epoch = 0
        self.mix = mix if source.target else PromptMix()
        if self.mix != mix:
            place = f"{source.root}: paraphrases and absent"
            warnings.warn(f"{place} have no effect, for the catalog does not know what it outlines.", stacklevel=2)
        self._paraphrases = find_target(source.target).phrases if source.target else ()
        self._foreign = foreign_phrases(source.target) if source.target else ()

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Example:
        generator = torch.Generator().manual_seed(hash((self.seed, self.epoch, index)) % 2**63)
        sample = self.source[index]
        geometry = draw_geometry(self.augment, generator)
        image, mask = resample(sample.image, sample.mask, geometry, self.size)
        image = change_intensity(image, self.augment, generator)
        prompt, present = self._draw_prompt(sample.record, generator)
        prompt = mirror_prompt(prompt, horizontal=geometry.flipped_horizontally, vertical=geometry.flipped_vertically)
        return Example(image, mask if present else torch.zeros_like(mask), prompt)

    def _draw_prompt(self, record: ImageRecord, generator: torch.Generator) -> tuple[str, bool]:
        draw = torch.rand((), generator=generator).item()
        if draw < self.mix.absent:
            return _choose(_choose(self._foreign, generator), generator), False
        if draw < self.mix.absent + self.mix.paraphrases:
            return _choose(self._paraphrases, generator), True
        return _choose(variants(record.prompts, _choose(list(record.prompts), generator)), generator), True


class ValidationView(Dataset[Example]):
    """Every image once, unaugmented, with one family of prompts after the other down the list."""

    def __init__(self, source: SegmentationDataset, size: int) -> None:
        self.source = source
        self.size = size

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Example:
        sample = self.source[index]
        families = sort_families(sample.record.prompts)
        prompt = variants(sample.record.prompts, families[index % len(families)])[0]
        still = draw_geometry(_STILL, torch.Generator())
        return Example(*resample(sample.image, sample.mask, still, self.size), prompt)


_STILL = AugmentConfig(horizontal_flip=0, rotation=0, scale=0, translation=0)


def collate(examples: Sequence[Example]) -> Batch:
    """Join examples into a batch."""
    images = torch.stack([example.image for example in examples])
    masks = torch.stack([example.mask for example in examples])
    return Batch(images, masks, [example.prompt for example in examples])


def _choose(options: Sequence[T], generator: torch.Generator) -> T:
    return options[int(torch.randint(len(options), (), generator=generator))]
