"""Packed pictures and words on a device, and what is asked of each batch."""

import io
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from batch_augment import FREEDOM, TURNED, Freedom
from numpy.typing import NDArray
from pack_images import ABSENT, UNOUTLINED
from PIL import Image
from safetensors import safe_open
from torch import Tensor

FOREIGN, FOREIGN_ALIKE = 1, 2
"""A target that a folder's pictures surely lack, of another or of the same modality."""


Places = dict[int, tuple[list[tuple[int, int]], list[tuple[int, int]]]]
"""Target -> numbers of picture and record, of what shows it and of what does not."""


@dataclass(frozen=True)
class Record:
    """What one record says of a picture."""

    target: int
    mask: int
    """Its number, or ``ABSENT`` or ``UNOUTLINED``."""
    prompts: tuple[int, ...]
    """Vectors of the record's own wordings; the empty one is asked apart (`Pool.wordless`)."""

    @property
    def shown(self) -> bool:
        """Whether the target is there."""
        return self.mask != ABSENT


@dataclass(frozen=True)
class Question:
    """One phrase about one picture of a batch."""

    place: int
    """Of the picture in the batch."""
    target: int
    """-1 where the phrase names none."""
    vector: int
    mask: int
    """Number of its mask, or ``ABSENT`` or ``UNOUTLINED``."""
    weight: float
    """Of its outline in the loss; 0 where only its existence counts."""
    plain: int
    """The vector to ask with where the picture's places and sides have changed."""


class Pool:
    """All that is packed.

    Args:
        images: File of ``pack_images.py``.
        words: File of ``pack_words.py``.
        device: Where pictures, masks and vectors are kept.
        own_prompts: Whether ``words`` has the wordings of these pictures' records; without, targets go by their names.
    """

    def __init__(self, images: Path, words: Path, device: torch.device, *, own_prompts: bool = True) -> None:
        with safe_open(words, "pt") as opened:
            facts: dict[str, Any] = json.loads(opened.metadata()["words"])
            self.vectors = (opened.get_tensor("vectors").float() * opened.get_tensor("scales")).to(device)
            self.trunk = {name: opened.get_tensor(name).float() for name in opened.keys() if name.startswith("trunk.")}  # noqa: SIM118
        self.targets: list[str] = facts["targets"]
        self.phrases: list[list[int]] = facts["phrases"]
        self.absences: list[list[int]] = facts["absences"]
        self.distractors: list[int] = facts["distractors"]
        self.wordless: int = facts["texts"].index("")
        """The vector of no words at all."""
        folders: dict[str, dict[str, Any]] = facts["folders"]
        with safe_open(images, "pt") as opened:
            packed: list[dict[str, Any]] = json.loads(opened.metadata()["pictures"])
            self.images = _decode(opened, "images", "RGB").permute(0, 3, 1, 2).contiguous().to(device)
            self.masks = _decode(opened, "masks", "L")[:, None].to(device)
        prompts: list[list[list[int]]] = (
            facts["prompts"] if own_prompts else [[[] for _ in each["masks"]] for each in packed]
        )
        self.folders = [each["folder"] for each in packed]
        self.splits = [each["split"] for each in packed]
        self.foreign = {name: np.array(each["foreign"], np.int8) for name, each in folders.items()}
        self.lacks = {
            name: {int(shown): tuple(lacking) for shown, lacking in each["lacks"].items()}
            for name, each in folders.items()
        }
        self.freedom: list[Freedom] = [_freedom(each["folder"], folders) for each in packed]
        self.records = [
            [
                Record(self.targets.index(target), mask, tuple(each for each in own if each != self.wordless))
                for target, mask, own in zip(_named(each, folders), each["masks"], wordings, strict=True)
                if target is not None
            ]
            + [Record(target, UNOUTLINED, ()) for target in folders[each["folder"]]["surely"]]
            for each, wordings in zip(packed, prompts, strict=True)
        ]

    def places(self, split: str, folder: str | None = None) -> Places:
        """Target -> its records in a split, or in a folder's part of it, that show it, and those that do not."""
        found: Places = {}
        for picture, records in enumerate(self.records):
            if self.splits[picture] == split and folder in (None, self.folders[picture]):
                for number, record in enumerate(records):
                    shown, lacking = found.setdefault(record.target, ([], []))
                    (shown if record.shown else lacking).append((picture, number))
        return found


def _freedom(folder: str, folders: dict[str, dict[str, Any]]) -> Freedom:
    usual = FREEDOM[folders[folder]["freedom"]]
    return replace(usual, **{TURNED[folder]: True}) if folder in TURNED else usual


def _named(picture: dict[str, Any], folders: dict[str, dict[str, Any]]) -> list[str | None]:
    """What each record is about, in the words of the bank; None where it is not learnt."""
    known: dict[str, str] = folders[picture["folder"]]["targets"]
    return [known.get(target if target is not None else "") for target in picture["targets"]]


def _decode(opened: safe_open, name: str, mode: str) -> Tensor:
    """All pictures or masks, [N, S, S(, 3)] bytes."""
    stored: NDArray[np.uint8] = opened.get_tensor(name).numpy()
    ends: list[int] = opened.get_tensor(f"{name[:-1]}_ends").tolist()

    def one(place: int) -> NDArray[np.uint8]:
        start = ends[place - 1] if place else 0
        with Image.open(io.BytesIO(stored[start : ends[place]].tobytes())) as picture:
            return np.asarray(picture.convert(mode))

    with ThreadPoolExecutor() as threads:
        return torch.from_numpy(np.stack(list(threads.map(one, range(len(ends))))))


def weigh(places: Places, balance: float) -> NDArray[np.float64]:
    """How often each target is drawn; together 1."""
    sizes = np.array([max(1, len(shown)) for shown, _ in places.values()], np.float64) ** balance
    return np.asarray(sizes / sizes.sum())


class Asker:
    """Draws pictures by target, and questions about each.

    Args:
        pool: Packed data.
        balance: A target with n pictures is drawn in proportion to n to this power.
        questions: Of each picture.
        lacking: Share of a target's pictures that lack it, where some do.
        wordless: Share of questions about a picture's first target that come without words. First is what the most
            training pictures show: of lungs and heart in one X-ray the lungs, or no words would mean either.
        seed: Decides all.
        shares: Of all pictures, by folder, that are drawn from it alone, where a folder is new and others are only kept
            in mind; the rest is drawn from everything.

    Raises:
        ValueError: If no training picture is of a folder in ``shares``, or these are more than everything.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        balance: float,
        questions: int,
        lacking: float,
        wordless: float,
        seed: int,
        shares: Mapping[str, float] | None = None,
    ) -> None:
        self.pool, self.questions, self.lacking, self.wordless = pool, questions, lacking, wordless
        self.places = self.learnt(pool.places("train"))
        folders = shares or {}
        rest = round(1 - sum(folders.values()), 6)
        if rest < 0:
            raise ValueError(f"shares of folders must add up to 1 at most, got {1 - rest:.2f}")
        self.source_shares = [rest, *folders.values()]
        self.sources = [self.places, *(self.learnt(pool.places("train", each)) for each in folders)]
        for folder, places in zip(folders, self.sources[1:], strict=True):
            if not places:
                raise ValueError(f"no training picture is of the folder {folder!r}; remove it from the shares")
        self.weights = [weigh(each, balance) for each in self.sources]
        self.random = np.random.default_rng(seed)
        self.unlabelled = [place for place, own in enumerate(pool.records) if not own and pool.splits[place] == "train"]
        self.alike = {name: np.flatnonzero(each == FOREIGN_ALIKE) for name, each in pool.foreign.items()}
        self.other = {name: np.flatnonzero(each == FOREIGN) for name, each in pool.foreign.items()}

    def learnt(self, places: Places) -> Places:
        """Of records of a split or folder, those that are learnt from: here all."""
        return places

    def draw(self, count: int) -> tuple[list[int], list[Question]]:
        """Numbers of so many pictures, and all questions about them."""
        pictures: list[int] = []
        asked: list[Question] = []
        for place, source in enumerate(self.random.choice(len(self.sources), count, p=self.source_shares)):
            if self.unlabelled and self.random.random() < 0.02:
                picture, first = self.unlabelled[self.random.integers(len(self.unlabelled))], None
            else:
                picture, first = self._choose(self.sources[source], self.weights[source])
            pictures.append(picture)
            asked += self._ask(place, picture, first)
        return pictures, asked

    def _choose(self, places: Places, weights: NDArray[np.float64]) -> tuple[int, int]:
        shown, lacking = places[int(self.random.choice(list(places), p=weights))]
        own = lacking if lacking and (not shown or self.random.random() < self.lacking) else shown
        picked: tuple[int, int] = own[self.random.integers(len(own))]
        return picked

    def _ask(self, place: int, picture: int, first: int | None) -> list[Question]:
        records = self.pool.records[picture]
        others = [number for number in range(len(records)) if number != first]
        self.random.shuffle(others)
        chosen = ([] if first is None else [first]) + others[: self.questions - 2]
        asked = [self._about(place, records, number) for number in chosen]
        folder = self.pool.folders[picture]
        while len(asked) < self.questions:
            asked.append(self._elsewhere(place, folder, records))
        return asked

    def _about(self, place: int, records: Sequence[Record], number: int) -> Question:
        record = records[number]
        foremost = max(records, key=lambda each: (each.mask >= 0, len(self.places[each.target][0])))
        plain = self._pick(self.pool.phrases[record.target])
        own = bool(record.prompts) and self.random.random() < 0.5
        vector = self._pick(record.prompts) if own else plain
        if record is foremost and record.mask >= 0 and self.random.random() < self.wordless:
            vector = plain = self.pool.wordless
        weight = 1.0 if record.mask >= 0 else 0.0 if record.shown else 0.5
        return Question(place, record.target, vector, record.mask, weight, plain)

    def _elsewhere(self, place: int, folder: str, records: Sequence[Record]) -> Question:
        """A phrase for something that is surely not there."""
        chance = self.random.random()
        shown = [each for each in records if each.shown]
        if chance < 0.06 and shown:
            absences = self.pool.absences[shown[self.random.integers(len(shown))].target]
            if absences:
                vector = self._pick(absences)
                return Question(place, -1, vector, ABSENT, 0.0, vector)
        if chance < 0.14:
            vector = self._pick(self.pool.distractors)
            return Question(place, -1, vector, ABSENT, 0.05, vector)
        lacking = [each for record in shown for each in self.pool.lacks[folder].get(record.target, ())]
        if lacking and chance > 0.7:
            target = self._pick(lacking)
            vector = self._pick(self.pool.phrases[target])
            return Question(place, target, vector, ABSENT, 0.3, vector)
        near, far = self.alike[folder], self.other[folder]
        options = near if len(near) and (chance < 0.8 or not len(far)) else far
        target = int(options[self.random.integers(len(options))])
        vector = self._pick(self.pool.phrases[target])
        return Question(place, target, vector, ABSENT, 0.1, vector)

    def _pick(self, options: Sequence[int]) -> int:
        return options[int(self.random.integers(len(options)))]
