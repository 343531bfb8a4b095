"""How well a model outlines what prompts name, image by image and prompt by prompt, in one pass over the data.

An image is encoded once for all its prompts, a prompt once for all images, and each answer is scored once. Masks are
compared at the resolution of the files given, at probability 0.5; an empty mask for an empty truth scores 1.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from vesalius.data.annotations import ImageRecord
from vesalius.data.datasets import SegmentationDataset
from vesalius.errors import ConfigError, PromptError
from vesalius.evaluation.result import Evaluation
from vesalius.evaluation.rows import Row
from vesalius.evaluation.truth import TOLERANCE, Truth
from vesalius.models import Segmenter
from vesalius.models.asking import ask, encode_each
from vesalius.models.devices import Precision
from vesalius.models.features import ImageFeatures
from vesalius.models.text_cache import TextCache
from vesalius.prompts import sort_families, variants


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
        DataError, ImageError: If a file is missing or does not fit.
        PromptError: If a record lacks a family.
    """
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise ConfigError(f"The tolerance of NSD must be 0 or more, in pixels or mm; got {tolerance:g}.")
    questions = [_questions(record, families, dataset) for record in dataset.records]
    model.eval()
    texts = TextCache(model)
    rows: list[Row] = []
    samples = (dataset[index] for index in range(len(questions)))
    encoded = encode_each(model, samples, lambda sample: sample.image, precision)
    for asked, (sample, features) in zip(questions, encoded, strict=True):
        truth = Truth(sample.record.img_name, sample.mask > 0.5, sample.pixel_spacing_mm, tolerance)
        rows += _score_image(model, features, truth, asked, texts, precision)
        on_image()
    return Evaluation(tuple(rows), tolerance)


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
    answers = ask(model, features, distinct, texts, _size(truth), precision)
    scored = {prompt: truth.score(answer, prompt) for prompt, answer in zip(distinct, answers, strict=True)}
    return [
        replace(scored[prompts[each.prompt]], family=each.family, variant=each.variant, prompt=each.prompt)
        for each in asked
    ]


def _size(truth: Truth) -> tuple[int, int]:
    return truth.mask.shape[-2], truth.mask.shape[-1]
