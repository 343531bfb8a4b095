"""One image, encoded once: which prompts are substituted for which, what a model predicts, and how the masks differ."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from vesalius.data.annotations import ImageRecord
from vesalius.data.datasets import Sample
from vesalius.evaluation.metrics import dice
from vesalius.evaluation.segmentation import check_answers
from vesalius.files import to_utf8, writing
from vesalius.models import Segmenter
from vesalius.models.choices import Precision
from vesalius.models.encoder import ImageFeatures, MaskPrediction, height_width
from vesalius.models.inference import PROMPTS_AT_ONCE, TextCache, decode_prompts
from vesalius.prompts import find_target, foreign_phrases, mirror_prompt, sort_families, swap_words, variants

_BLUE = ("brown", "orange", "pink", "red", "white", "yellow")
_RED = ("black", "blue", "gray", "green", "purple")
_MANY = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "several", "multiple")
_ROUND = ("irregular", "rectangular", "square", "triangular")
_OTHERS: Mapping[str, Mapping[str, str]] = MappingProxyType({
    "shape": {"circle": "triangular", "oval": "triangular", "round": "triangular"} | dict.fromkeys(_ROUND, "round"),
    "colour": dict.fromkeys(_BLUE, "blue") | dict.fromkeys(_RED, "red"),
    "size": {"tiny": "large", "small": "large", "medium": "tiny", "large": "tiny"},
    "number": {"one": "three"} | dict.fromkeys(_MANY, "one"),
    "kind": {"benign": "malignant", "malignant": "benign"},
})  # fmt: skip


ATTRIBUTES: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {name: partial(swap_words, swaps=others) for name, others in _OTHERS.items()}
    | {
        "side": lambda prompt: mirror_prompt(prompt, horizontal=True),
        "height": lambda prompt: mirror_prompt(prompt, vertical=True),
    }
)
"""What can be flipped -> the prompt with its words for it swapped."""


def flip(prompt: str, attribute: str) -> str | None:
    """Contradict one attribute of a prompt and leave the rest as it is.

    Args:
        prompt: Any.
        attribute: One of ``ATTRIBUTES``.

    Returns:
        None if the prompt does not speak of it, or would say the same, as "left and right lung" would.

    >>> flip("one small pink polyp, located in top left of the image", "side")
    'one small pink polyp, located in top right of the image'
    >>> flip("left and right lung", "side")
    """
    flipped = ATTRIBUTES[attribute](prompt)
    same = sorted(flipped.lower().split()) == sorted(prompt.lower().split())
    return None if same else flipped


AT_ONCE = 8
"""Phrases of a longer list that one image is asked; the next image is asked the next ones."""
UNRELATED = (
    "a bicycle", "an umbrella", "a cup of coffee", "a banana", "an aeroplane", "a guitar", "a dolphin", "a window",
)  # fmt: skip
"""Things no medical image shows. None is in the prompt bank, so none of our models was trained on them."""


@dataclass(frozen=True)
class Substitution:
    """Two prompts about one image; how the masks differ shows whether the model reads what the prompts differ in."""

    test: str
    """"wording", "swap", "empty", "absent" or "flip"."""
    kind: str
    """What the other prompt is, such as "paraphrases" or "side"."""
    reference: str
    prompt: str


def plan(
    records: Sequence[ImageRecord], number: int, target: str | None, absent: Sequence[str] = ()
) -> list[Substitution]:
    """All substitutions for one record whose mask is not empty.

    Args:
        records: All of the split, of which others lend their prompts.
        number: Which of them.
        target: Row of the prompt bank that its mask outlines, if it is known.
        absent: Further phrases for what no image shows.
    """
    record = records[number]
    name = plain_name(record)
    return [
        *_reword(record, number, name, target),
        Substitution("empty", "no words", name, ""),
        *_swap(records, number, target),
        *_flip(record),
        *_absent(number, name, target, absent),
    ]


def plan_empty(record: ImageRecord, number: int, target: str | None, absent: Sequence[str] = ()) -> list[Substitution]:
    """All substitutions for a record whose mask is empty: its own prompts, too, should find nothing."""
    own = [wording for family in sort_families(record.prompts) for wording in variants(record.prompts, family)]
    return [
        *(Substitution("absent", "prompts of empty images", "", prompt) for prompt in dict.fromkeys(own) if prompt),
        *_absent(number, plain_name(record), target, absent),
    ]


def plain_name(record: ImageRecord) -> str:
    """The shortest true phrase: of the first family that has words, by custom p1; "" if none has."""
    wordings = (variants(record.prompts, family)[0] for family in sort_families(record.prompts))
    return next((wording for wording in wordings if wording), "")


def _reword(record: ImageRecord, number: int, name: str, target: str | None) -> Iterator[Substitution]:
    own = [variants(record.prompts, family) for family in sort_families(record.prompts)]
    wordings = [each[number % len(each)] for each in own]
    yield from (Substitution("wording", "its own prompts", name, each) for each in wordings if each not in ("", name))
    if target:
        phrases = _next_phrases(find_target(target).phrases, number)
        yield from (Substitution("wording", "paraphrases", name, each) for each in phrases if each != name)


def _swap(records: Sequence[ImageRecord], number: int, target: str | None) -> Iterator[Substitution]:
    """The most detailed prompt, and that of a record half the split away; not one that says nothing is there."""
    record = records[number]
    family = sort_families(record.prompts)[-1]
    own = variants(record.prompts, family)[0]
    denials = find_target(target).absences if target else ()
    start = number + len(records) // 2
    for place in range(start, start + len(records)):
        prompts = records[place % len(records)].prompts
        other = variants(prompts, family)[0] if family in prompts else own
        if other and other != own and other not in denials:
            yield Substitution("swap", f"another image's {family}", own, other)
            return


def _flip(record: ImageRecord) -> Iterator[Substitution]:
    """Each attribute in the first family that speaks of it, so that little else is said."""
    wordings = [variants(record.prompts, family)[0] for family in sort_families(record.prompts)]
    for attribute in ATTRIBUTES:
        flipped = ((each, flip(each, attribute)) for each in wordings)
        found = next(((each, other) for each, other in flipped if other), None)
        if found:
            yield Substitution("flip", attribute, *found)


def _absent(number: int, name: str, target: str | None, absent: Sequence[str]) -> Iterator[Substitution]:
    """Phrases for what the image does not show."""
    phrases: dict[str, Sequence[str]] = {"unrelated things": UNRELATED, "given phrases": absent}
    if target:
        denials, names, *others, _ = foreign_phrases(target)
        more = _next_phrases([phrase for each in others for phrase in each], number)
        phrases |= {"denials": denials, "other targets": (*names, *more)}
    for kind, several in phrases.items():
        yield from (Substitution("absent", kind, name, each) for each in dict.fromkeys(several))


def _next_phrases(phrases: Sequence[str], number: int) -> list[str]:
    start = number * AT_ONCE
    return [phrases[place % len(phrases)] for place in range(start, start + min(AT_ONCE, len(phrases)))]


@dataclass(frozen=True)
class SubstitutionResult:
    """A model's answer to ``prompt``, and how it differs from that to ``reference``."""

    image: str
    record: int
    """Place in the annotation file."""
    test: str
    kind: str
    reference: str
    prompt: str
    pixels: int
    """Pixels of the image."""
    true_pixels: int
    predicted_pixels: int
    """Pixels of the mask predicted for ``prompt``."""
    reference_dice: float
    dice: float
    change: float
    """1 - Dice of both answers' masks: 0 if they are the same, or both empty."""
    existence: float | None
    """Probability that the image shows what ``prompt`` names, for models that say."""

    @property
    def area(self) -> float:
        """Share of the image that the predicted mask covers."""
        return self.predicted_pixels / self.pixels


def write_results(results: Iterable[SubstitutionResult], path: Path) -> None:
    """Write results as Parquet, whole or not at all.

    Raises:
        OutputError: If the file cannot be written.
    """
    table = pa.Table.from_pylist([to_utf8(asdict(each)) for each in results])
    with writing(path) as unfinished:
        pq.write_table(table, unfinished)


@dataclass(frozen=True, eq=False)
class PromptAnswer:
    """What a model predicts for one prompt."""

    mask: torch.Tensor
    """Boolean, [1, H, W], at the size of the image's file."""
    existence: float | None
    """Probability that the image shows what the prompt names, for models that say."""


class PromptSession:
    """Answers prompts about one image; each prompt is predicted once.

    Args:
        model: In evaluation mode.
        sample: Image and truth.
        features: Of the image, where the model is.
        texts: Remembers the prompts' features from image to image.
        precision: Of computation.
    """

    def __init__(
        self, model: Segmenter, sample: Sample, features: ImageFeatures, texts: TextCache, precision: Precision = "32"
    ) -> None:
        self.model, self.texts, self.precision = model, texts, precision
        self.truth = sample.mask > 0.5
        self._features = features
        self._answers: dict[str, PromptAnswer] = {}

    def run(self, image: str, record: int, substitutions: Sequence[Substitution]) -> list[SubstitutionResult]:
        """Predict both prompts of each substitution and compare their masks.

        Args:
            image: The image's file name.
            record: Its place in the annotation file.
            substitutions: What to substitute.
        """
        self._predict_new(prompt for each in substitutions for prompt in (each.reference, each.prompt))
        return [self._compare(image, record, each) for each in substitutions]

    def answer(self, prompt: str) -> PromptAnswer:
        """The model's answer to a prompt."""
        self._predict_new([prompt])
        return self._answers[self._key(prompt)]

    def probability(self, prompt: str) -> NDArray[np.float32]:
        """Probability of each pixel to be part of what the prompt names, [H, W]."""
        (answer,) = self._predict([prompt])
        found: NDArray[np.float32] = answer.logits[0, 0].sigmoid().numpy()
        return found

    def _predict_new(self, prompts: Iterable[str]) -> None:
        """Predict what was not predicted before; a model that reads no text is asked once."""
        new = list(dict.fromkeys(self._key(prompt) for prompt in prompts) - self._answers.keys())
        # Few at a time: logits of one large image and many prompts would fill the memory, masks do not.
        for start in range(0, len(new), PROMPTS_AT_ONCE):
            some = sorted(new)[start : start + PROMPTS_AT_ONCE]
            for prompt, found in zip(some, self._predict(some), strict=True):
                existence = None if found.existence is None else found.existence.sigmoid().item()
                self._answers[prompt] = PromptAnswer(found.mask, existence)

    def _predict(self, prompts: Sequence[str]) -> list[MaskPrediction]:
        size = height_width(self.truth)
        answers = decode_prompts(self.model, self._features, prompts, self.texts, size, self.precision)
        check_answers(self.model, answers)
        return answers

    def _key(self, prompt: str) -> str:
        return prompt if self.model.reads_text else ""

    def _compare(self, image: str, record: int, substitution: Substitution) -> SubstitutionResult:
        before, after = self.answer(substitution.reference), self.answer(substitution.prompt)
        return SubstitutionResult(
            image=image,
            record=record,
            **asdict(substitution),
            pixels=self.truth.numel(),
            true_pixels=int(self.truth.sum()),
            predicted_pixels=int(after.mask.sum()),
            reference_dice=dice(before.mask, self.truth).item(),
            dice=dice(after.mask, self.truth).item(),
            change=1 - dice(before.mask, after.mask).item(),
            existence=after.existence,
        )
