"""What a model sees of a data set while it trains: one prompt and one augmentation of each image."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.data import Dataset

from vesalius.data.annotations import ImageRecord, read_target
from vesalius.data.augment import STILL, AugmentConfig, change_intensity, draw_geometry, resample
from vesalius.data.datasets import SegmentationDataset
from vesalius.data.draws import seed_of
from vesalius.errors import ConfigError, check_at_least
from vesalius.prompts import find_target, foreign_phrases, list_targets, mirror_prompt, sort_families, variants

T = TypeVar("T")


@dataclass(frozen=True)
class PromptedSample:
    """One image, one prompt, and what that prompt outlines on it."""

    image: Tensor
    """RGB in [0, 1], [3, S, S]."""
    mask: Tensor
    """[1, S, S]; all 0 where the prompt names something the image does not show."""
    prompt: str
    frozen: Mapping[str, Tensor] = field(default_factory=dict)
    """What a frozen encoder made of the image, by name; empty where nothing is stored."""


@dataclass(frozen=True)
class Batch:
    """B examples."""

    images: Tensor
    """[B, 3, S, S]."""
    masks: Tensor
    """[B, 1, S, S]."""
    prompts: list[str]
    frozen: Mapping[str, Tensor] = field(default_factory=dict)
    """What is stored of the examples, each [B, ...]."""


@dataclass(frozen=True)
class PromptMix:
    """How often a training prompt is not one of the record's own."""

    paraphrases: float = 0.0
    """Probability of a wording of the prompt bank for the same target."""
    absent: float = 0.0
    """Probability of a phrase for something else, whose mask is empty."""
    target: str = ""
    """Target of the prompt bank for masks whose target the data do not name. Masks without a target get no wordings of
    the bank and no phrases for something else."""

    def __post_init__(self) -> None:
        check_at_least(self, 0, "paraphrases", "absent")
        if self.paraphrases + self.absent > 1:
            got = f"{self.paraphrases} and {self.absent}"
            raise ConfigError(f"paraphrases and absent are probabilities with a sum of 1 at most, got {got}.")
        if self.target:
            find_target(self.target)


class View(Dataset[PromptedSample], ABC):
    """A data set as examples: pictures, and what is asked of them.

    Args:
        source: The images.
        size: S, the side of the square images.
    """

    def __init__(self, source: SegmentationDataset, size: int) -> None:
        self.source = source
        self.size = size

    def set_epoch(self, epoch: int) -> None:  # noqa: B027  # most views are the same in every epoch
        """Draw as an epoch does from now on."""

    @property
    def picture_number(self) -> int:
        """Number of the picture that is next of each image, from 0."""
        return 0

    @property
    def picture_numbers(self) -> range:
        """Numbers of all pictures of an image; empty where they never repeat."""
        return range(1)

    @abstractmethod
    def draw_picture(self, index: int, number: int) -> tuple[Tensor, Tensor]:
        """Picture ``number`` of an image, [3, S, S], and its mask, [1, S, S]."""

    @abstractmethod
    def draw_prompt(self, index: int) -> tuple[str, bool]:
        """The prompt for picture ``self.picture_number`` of an image, and whether it names something there."""

    @abstractmethod
    def picture_key(self, number: int) -> Mapping[str, object]:
        """All that decides the pictures of this number, but for the files; JSON."""

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> PromptedSample:
        image, mask = self.draw_picture(index, self.picture_number)
        prompt, present = self.draw_prompt(index)
        return PromptedSample(image, mask if present else torch.zeros_like(mask), prompt)


class TrainingView(View):
    """A data set seen through random augmentation and random prompts, different in every epoch.

    Args:
        source: The images; a mix above 0 has no effect, with a warning, where nothing says what they outline.
        size: S, the side of the square images.
        augment: Ranges of the random changes.
        mix: How prompts are drawn.
        seed: With the epoch and the index, decides every draw.
        cached_augmentations: Number of augmentations of an image that take turns; 0 draws a new one in every epoch.
            Prompts are always drawn anew.
    """

    def __init__(
        self,
        source: SegmentationDataset,
        size: int,
        augment: AugmentConfig,
        mix: PromptMix,
        *,
        seed: int = 0,
        cached_augmentations: int = 0,
    ) -> None:
        super().__init__(source, size)
        self.augment = augment
        self.seed = seed
        self.cached_augmentations = cached_augmentations
        self.epoch = 0
        self.mix = mix
        self._rows = [source.row_of(each) or (None if each.target else mix.target or None) for each in source.records]
        self._shown = _rows_by_image(source.records, self._rows)
        if mix.paraphrases or mix.absent:
            self._warn()

    def set_epoch(self, epoch: int) -> None:
        """Draw as an epoch does from now on."""
        self.epoch = epoch

    @property
    def picture_number(self) -> int:
        """The epoch's, or its turn among ``cached_augmentations``."""
        return self.epoch % self.cached_augmentations if self.cached_augmentations else self.epoch

    @property
    def picture_numbers(self) -> range:
        """Those of ``cached_augmentations``."""
        return range(self.cached_augmentations)

    def draw_picture(self, index: int, number: int) -> tuple[Tensor, Tensor]:
        """Image and mask, augmented."""
        draws, sample = self._draws(number, index), self.source[index]
        image, mask = resample(sample.image, sample.mask, draw_geometry(self.augment, draws), self.size)
        return change_intensity(image, self.augment, draws), mask

    def draw_prompt(self, index: int) -> tuple[str, bool]:
        """A prompt by chance, its words swapped where the picture is flipped."""
        prompt, present = self._draw_prompt(index, self._draws(self.epoch, index, _WORDS))
        geometry = draw_geometry(self.augment, self._draws(self.picture_number, index))
        flips = {"horizontal": geometry.flipped_horizontally, "vertical": geometry.flipped_vertically}
        return mirror_prompt(prompt, **flips), present

    def picture_key(self, number: int) -> Mapping[str, object]:
        """Augmentation, number and the seed of its first draw, which changes where draws are made another way."""
        seed = seed_of(self.seed, number, 0)
        return {"size": self.size, "augment": asdict(self.augment), "seed": seed, "number": number}

    def _warn(self) -> None:
        """Say of how many records the mix has no effect, unless they are asked for absent things as they are."""
        lacking = [record for record, row in zip(self.source.records, self._rows, strict=True) if row is None]
        told = sorted({record.target for record in lacking if record.target} | {read_target(self.source.root)} - {""})
        if not lacking or (told and any(record.absent for record in self.source.records)):
            return
        count = f"{len(lacking)} of {len(self._rows)} records"
        why = f"the prompt bank has no words for {', '.join(told[:3])}" if told else "nothing says what they outline"
        name = 'say it once in dataset.json, {"target": "polyp"}, or as prompts.target'
        absent = "add absent things with `vesalius prompts generate --absent`"
        remedy = absent if told else f"{name} ({', '.join(list_targets())}), or {absent}"
        finding = f"paraphrases and absent have no effect on {count}, for {why}"
        warnings.warn(f"{self.source.root}: {finding}; {remedy}.", stacklevel=3)

    def _draws(self, *place: int) -> torch.Generator:
        """Random numbers of their own for a place."""
        return torch.Generator().manual_seed(seed_of(self.seed, *place))

    def _draw_prompt(self, index: int, generator: torch.Generator) -> tuple[str, bool]:
        record, row = self.source.records[index], self._rows[index]
        draw = torch.rand((), generator=generator).item()
        if row and draw < self.mix.absent:
            foreign = _foreign_phrases(row, self._shown[record.img_name] - {row})
            return _choose(_choose(foreign, generator), generator), False
        if row and draw < self.mix.absent + self.mix.paraphrases and not record.absent:
            return _choose(_choose(find_target(row).wordings, generator), generator), True
        return _choose(variants(record.prompts, _choose(list(record.prompts), generator)), generator), True


class ValidationView(View):
    """Every image once, unaugmented, with one family of prompts after the other down the list."""

    def draw_picture(self, index: int, number: int) -> tuple[Tensor, Tensor]:
        """Image and mask, resized."""
        sample = self.source[index]
        return resample(sample.image, sample.mask, draw_geometry(STILL, torch.Generator()), self.size)

    def draw_prompt(self, index: int) -> tuple[str, bool]:
        """The first wording of the family whose turn it is."""
        prompts = self.source.records[index].prompts
        families = sort_families(prompts)
        return variants(prompts, families[index % len(families)])[0], True

    def picture_key(self, number: int) -> Mapping[str, object]:
        """Nothing but the size."""
        return {"size": self.size}


def _rows_by_image(records: Sequence[ImageRecord], rows: Sequence[str | None]) -> Mapping[str, frozenset[str]]:
    """Image -> everything that is outlined on it, by whatever record."""
    shown: dict[str, set[str]] = {}
    for record, row in zip(records, rows, strict=True):
        named = shown.setdefault(record.img_name, set())
        if row and not record.absent:
            named.add(row)
    return {image: frozenset(names) for image, names in shown.items()}


@cache
def _foreign_phrases(row: str, shown: frozenset[str]) -> tuple[tuple[str, ...], ...]:
    """Groups of phrases for what an image does not show, without those for what else is outlined on it."""
    there = {phrase for name in shown for group in find_target(name).wordings for phrase in group}
    groups = (tuple(phrase for phrase in group if phrase not in there) for group in foreign_phrases(row))
    return tuple(group for group in groups if group)


_WORDS = 1
"""Sets the draws of prompts apart from those of pictures."""


def collate(examples: Sequence[PromptedSample]) -> Batch:
    """Join examples into a batch."""
    images = torch.stack([example.image for example in examples])
    masks = torch.stack([example.mask for example in examples])
    frozen = {name: torch.stack([example.frozen[name] for example in examples]) for name in examples[0].frozen}
    return Batch(images, masks, [example.prompt for example in examples], frozen)


def _choose(options: Sequence[T], generator: torch.Generator) -> T:
    return options[int(torch.randint(len(options), (), generator=generator))]
