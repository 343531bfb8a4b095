"""How well a model outlines what prompts name, image by image and prompt by prompt, in one pass.

An image is encoded once for all its prompts, a prompt once for all images, and each answer is scored once. Masks are
compared at the resolution of the files given, at probability 0.5; an empty mask for an empty truth scores 1. Records
that ask for what their image does not show are counted apart: they say nothing of how well outlines are drawn.
"""

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from torch import Tensor

from vesalius.data.annotations import ImageRecord
from vesalius.data.datasets import SegmentationDataset
from vesalius.errors import ConfigError, DataError, PromptError
from vesalius.evaluation.metrics import EMPTY_AREA, dice, iou, precision, recall, surface_distances
from vesalius.evaluation.rows import DISTANCES, METRICS, Row, tabulate
from vesalius.evaluation.statistics import Centre, Summary, summarise
from vesalius.models import Segmenter
from vesalius.models.choices import Precision
from vesalius.models.encoder import ImageFeatures, MaskPrediction, height_width
from vesalius.models.inference import TextCache, decode_prompts, encode_each
from vesalius.prompts import sort_families, variants
from vesalius.runtime.contract import check_finite

RULE = "threshold 0.5, resolution of the files given, both masks empty = 1"
"""The rule of every score; printed beside it."""
TOLERANCE = 2.0
"""Default tolerance of NSD, in mm, or in pixels where the spacing is unknown."""


@dataclass(frozen=True, eq=False)
class Truth:
    """The true mask of one image, and how predictions are scored against it."""

    image: str
    """The image's file name."""
    mask: Tensor
    """True inside, [1, H, W]."""
    spacing_mm: tuple[float, float] | None = None
    """Distance between rows and between columns; None if unknown, then distances are in pixels."""
    tolerance: float = TOLERANCE
    """Tolerance of the normalised surface distance, in mm, or in pixels where the spacing is unknown."""

    def score(self, answer: MaskPrediction, prompt: str) -> Row:
        """Score an answer.

        Args:
            answer: To one prompt, logits [1, 1, H, W] at the mask's size.
            prompt: What was asked.

        Returns:
            A row of no family yet.
        """
        found = answer.mask.to(self.mask.device)
        distances = surface_distances(found[0].numpy(), self.mask[0].numpy(), self.spacing_mm or (1.0, 1.0))
        hd95 = distances.hd95()
        return Row(
            image=self.image,
            family="",
            variant=0,
            prompt=prompt,
            dice=dice(found, self.mask).item(),
            iou=iou(found, self.mask).item(),
            precision=precision(found, self.mask).item(),
            recall=recall(found, self.mask).item(),
            hd95=hd95 if math.isfinite(hd95) else None,
            nsd=distances.nsd(self.tolerance),
            distance_unit="mm" if self.spacing_mm else "px",
            true_pixels=int(self.mask.sum()),
            predicted_pixels=int(found.sum()),
            existence=None if answer.existence is None else answer.existence.sigmoid().item(),
        )


@dataclass(frozen=True)
class AbsentAnswers:
    """Answers to records that ask for what their image does not show (``ImageRecord.absent``)."""

    count: int = 0
    """Answers, one an image and wording."""
    true_negatives: int = 0
    """Those that mark less than ``EMPTY_AREA`` of the image."""

    def add(self, answers: Sequence[Row], pixels: int) -> "AbsentAnswers":
        """Count further answers, about an image of so many pixels."""
        unmarked = sum(each.predicted_pixels < EMPTY_AREA * pixels for each in answers)
        return AbsentAnswers(self.count + len(answers), self.true_negatives + unmarked)

    def to_dict(self) -> dict[str, object]:
        """For JSON; the share is None where nothing was asked."""
        return {"answers": self.count, "true_negatives": self.true_negatives / self.count if self.count else None}


@dataclass(frozen=True)
class Evaluation:
    """All rows of one model on one split.

    A family with several wordings counts, for each image, as the mean over all of them; so do several records of one
    image.
    """

    rows: tuple[Row, ...]
    tolerance: float = TOLERANCE
    """Tolerance of the normalised surface distance, in ``distance_unit``."""
    absent: AbsentAnswers = AbsentAnswers()
    """Answers about absent things, which have no rows."""

    @cached_property
    def rule(self) -> str:
        """The rule of all scores, in words."""
        return f"{RULE}, NSD within {self.tolerance:g} {self.distance_unit}"

    @cached_property
    def distance_unit(self) -> str:
        """Either px or mm, or both where only some images say how large their pixels are."""
        return " or ".join(sorted({row.distance_unit for row in self.rows}))

    @cached_property
    def metrics(self) -> Sequence[str]:
        """The metrics of ``METRICS`` that have a mean: no distances where some are in mm and some in pixels."""
        mixed = len({row.distance_unit for row in self.rows}) > 1
        return [name for name in METRICS if not (mixed and name in DISTANCES)]

    def families(self) -> list[str]:
        """Families in the benchmark's order."""
        return sort_families(list({row.family for row in self.rows}))

    def images(self) -> int:
        """Number of images."""
        return len({row.image for row in self.rows})

    def empty_images(self) -> int:
        """Number of images with nothing to find on them."""
        return self.images() - len({row.image for row in self.rows if row.true_pixels})

    def undefined(self) -> int:
        """Number of answers without HD95, as just one of the two masks is empty."""
        return sum(row.hd95 is None for row in self.rows)

    def without(self, images: Collection[str]) -> "Evaluation":
        """The evaluation without some images."""
        left_out = set(images)
        return Evaluation(tuple(row for row in self.rows if row.image not in left_out), self.tolerance)

    def mean(self, metric: str, family: str | None = None, *, present_only: bool = False) -> float | None:
        """Mean over images of the mean over wordings; without a family, of each image's mean over its families.

        Args:
            metric: One of ``metrics``. For "hd95" it is over the answers that have one, see ``undefined``.
            family: One family, or None for all.
            present_only: Leave out images whose true mask is empty.

        Returns:
            None if nothing is left.

        Raises:
            DataError: If pixels and millimetres would be mixed.
        """
        table = tabulate(self.rows, metric, present_only=present_only)
        if family is not None and family not in table.families:
            return None
        scores = table.overall() if family is None else table.scores[:, table.families.index(family)]
        known = scores[~np.isnan(scores)]
        return float(known.mean()) if known.size else None

    def summarise(self, metric: str, *, present_only: bool = False, group_regex: str | None = None) -> Summary:
        """Means and medians with intervals, see ``statistics.summarise``; each is computed once."""
        asked = (metric, present_only and self._shows_empty, group_regex)
        if asked not in self._summaries:
            metric, present_only, group_regex = asked
            self._summaries[asked] = summarise(self.rows, metric, present_only=present_only, group_regex=group_regex)
        return self._summaries[asked]

    @cached_property
    def _summaries(self) -> dict[tuple[str, bool, str | None], Summary]:
        return {}

    @cached_property
    def _shows_empty(self) -> bool:
        """Whether some true masks are empty; where none is, leaving them out changes nothing."""
        return not all(row.true_pixels for row in self.rows)

    def to_dict(
        self, *, group_regex: str | None = None, on_metric: Callable[[], None] = lambda: None
    ) -> dict[str, object]:
        """Rule, counts, and means and medians with intervals over all families and of each, ready for JSON.

        Args:
            group_regex: Names the patient in an image's file name; intervals then draw patients instead of images.
            on_metric: Called after each of ``metrics``, for progress.

        Raises:
            ConfigError: If the expression does not fit the names.
        """
        found = {}
        for name in self.metrics:
            found[name] = [
                self.summarise(name, present_only=present, group_regex=group_regex) for present in (False, True)
            ]
            on_metric()
        return {
            "rule": self.rule,
            "images": self.images(),
            "images_with_empty_truth": self.empty_images(),
            "answers_without_hd95": self.undefined(),
            "absent": self.absent.to_dict(),
            "summary": {name: _describe(*(each.overall for each in both)) for name, both in found.items()},
            "prompts": {
                family: {name: _describe(*(each.families.get(family) for each in both)) for name, both in found.items()}
                for family in self.families()
            },
        }


def _describe(everywhere: Centre | None, present: Centre | None) -> dict[str, object]:
    """One metric over all images, and over those whose true mask is not empty."""
    values: dict[str, object] = {}
    for suffix, centre in (("", everywhere), ("_present", present)):
        for name in ("mean", "median"):
            interval = getattr(centre, name, None)
            values[f"{name}{suffix}"] = interval and interval.value
            values[f"{name}{suffix}_interval"] = interval and [interval.low, interval.high]
        values[f"images{suffix}"] = centre.mean.n if centre else 0
    return values


@dataclass(frozen=True)
class Question:
    """One wording of one family."""

    family: str
    variant: int
    prompt: str


def evaluate(
    model: Segmenter,
    dataset: SegmentationDataset,
    families: Sequence[str] | None = None,
    *,
    tolerance: float = TOLERANCE,
    precision: Precision = "32",
    on_image: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Score a model on every image and prompt of a data set.

    Records about absent things get no rows: whatever the families, all their wordings are asked and counted apart.
    A model that reads no text is asked once an image. Images are encoded one by one on a CPU, together on a GPU.

    Args:
        model: Any segmenter, on any device; it is put in evaluation mode.
        dataset: One split.
        families: Prompt families, or None for all that each record has.
        tolerance: Of the normalised surface distance, in mm, or in pixels where an image does not say how large its
            pixels are.
        precision: Of computation.
        on_image: Called after each image, for progress.

    Raises:
        ConfigError: If the tolerance is negative.
        DataError: If a file is missing or does not fit, or all records are about absent things.
        ImageError: If a file cannot be read.
        ModelError: If the model answers what is not a number.
        PromptError: If a record lacks a family.
    """
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise ConfigError(f"The tolerance of NSD must be 0 or more, in pixels or mm; got {tolerance:g}.")
    if all(record.absent for record in dataset.records):
        place = f"{dataset.root}/anns/{dataset.split}.json"
        raise DataError(
            f"{place}: every record asks for what its image does not show, so there are no masks to compare."
        )
    questions = [_questions(record, None if record.absent else families, dataset) for record in dataset.records]
    model.eval()
    texts = TextCache(model)
    rows: list[Row] = []
    absent = AbsentAnswers()
    samples = (dataset[index] for index in range(len(questions)))
    encoded = encode_each(model, samples, lambda sample: sample.image, precision)
    for asked, (sample, features) in zip(questions, encoded, strict=True):
        truth = Truth(sample.record.img_name, sample.mask > 0.5, sample.pixel_spacing_mm, tolerance)
        answers = _score_image(model, features, truth, asked, texts, precision)
        if sample.record.absent:
            absent = absent.add(answers, truth.mask.numel())
        else:
            rows += answers
        on_image()
    return Evaluation(tuple(rows), tolerance, absent)


def _questions(record: ImageRecord, families: Sequence[str] | None, dataset: SegmentationDataset) -> list[Question]:
    """Everything asked about one record."""
    try:
        asked = sort_families(record.prompts) if families is None else families
        return [
            Question(family, number, prompt)
            for family in asked
            for number, prompt in enumerate(variants(record.prompts, family))
        ]
    except PromptError as error:
        place = f"{dataset.root}/anns/{dataset.split}.json, record of '{record.img_name}'"
        raise PromptError(f"{place}: {error} Choose with --prompts.") from error


def _score_image(
    model: Segmenter,
    features: ImageFeatures,
    truth: Truth,
    asked: Sequence[Question],
    texts: TextCache,
    precision: Precision,
) -> list[Row]:
    # A model that reads no text gives one mask, whatever it is asked.
    prompts = {each.prompt: each.prompt if model.reads_text else "" for each in asked}
    distinct = sorted(set(prompts.values()))
    answers = decode_prompts(model, features, distinct, texts, height_width(truth.mask), precision)
    check_answers(model, answers)
    scored = {prompt: truth.score(answer, prompt) for prompt, answer in zip(distinct, answers, strict=True)}
    return [
        replace(scored[prompts[each.prompt]], family=each.family, variant=each.variant, prompt=each.prompt)
        for each in asked
    ]


def check_answers(model: Segmenter, answers: Iterable[MaskPrediction]) -> None:
    """Refuse to score what is not a number, which would count as masks of nothing.

    Raises:
        ModelError: As ``check_finite``.
    """
    for each in answers:
        numbers = [each.logits] if each.existence is None else [each.logits, each.existence]
        check_finite(type(model).__name__, *(value.numpy() for value in numbers))
