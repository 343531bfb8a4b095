"""How well a model outlines what prompts name, image by image and prompt by prompt.

Masks are compared at the resolution of the files given, at probability 0.5; an empty mask for an empty truth scores 1.
A family with several wordings counts, for each image, as the mean over all of them.
"""

import csv
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from statistics import fmean

import torch

from vesalius.data.annotations import ImageRecord
from vesalius.data.datasets import Sample, SegmentationDataset
from vesalius.errors import PromptError
from vesalius.evaluation.metrics import dice, iou
from vesalius.files import writing
from vesalius.models import Segmenter
from vesalius.models.asking import ask
from vesalius.models.text_cache import TextCache
from vesalius.prompts import sort_families, variants

RULE = "threshold 0.5, resolution of the files given, both masks empty = 1"


@dataclass(frozen=True)
class Row:
    """One image and one wording of one family."""

    image: str
    family: str
    prompt: str
    dice: float
    iou: float
    true_pixels: int
    predicted_pixels: int
    existence: float | None
    """Probability that the image shows it, for models that say."""


@dataclass(frozen=True)
class Evaluation:
    """All rows of one model on one split."""

    rows: tuple[Row, ...]

    def families(self) -> list[str]:
        """Families in the benchmark's order."""
        return sort_families(list({row.family for row in self.rows}))

    def images(self) -> int:
        """Number of images."""
        return len({row.image for row in self.rows})

    def mean(self, metric: str, family: str | None = None, *, present_only: bool = False) -> float | None:
        """Mean over images of the mean over wordings; without a family, the mean over families.

        Args:
            metric: "dice" or "iou".
            family: One family, or None for all.
            present_only: Leave out images whose true mask is empty.

        Returns:
            None if no image is left.
        """
        if family is None:
            means = [self.mean(metric, each, present_only=present_only) for each in self.families()]
            known = [mean for mean in means if mean is not None]
            return fmean(known) if known else None
        scores: dict[str, list[float]] = {}
        for row in self.rows:
            if row.family == family and (row.true_pixels or not present_only):
                scores.setdefault(row.image, []).append(getattr(row, metric))
        return fmean(fmean(values) for values in scores.values()) if scores else None

    def to_dict(self) -> dict[str, object]:
        """Summary and per-family means, ready for JSON."""
        names = ("dice", "iou")
        return {
            "rule": RULE,
            "images": self.images(),
            "images_with_empty_truth": len({row.image for row in self.rows if not row.true_pixels}),
            "summary": {name: _both_means(self, name, None) for name in names},
            "prompts": {
                family: {name: _both_means(self, name, family) for name in names} for family in self.families()
            },
        }


def evaluate(
    model: Segmenter,
    dataset: SegmentationDataset,
    families: Sequence[str] | None = None,
    *,
    on_image: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Score a model on every image and prompt of a data set.

    An image is encoded once for all its prompts, and a prompt once for all images.

    Args:
        model: Any segmenter; it is put in evaluation mode.
        dataset: One split.
        families: Prompt families, or None for all that each record has.
        on_image: Called after each image, for progress.

    Raises:
        DataError, ImageError: If a file is missing or does not fit.
        PromptError: If a record lacks a family.
    """
    questions = [_questions(record, families, dataset) for record in dataset.records]
    model.eval()
    with torch.inference_mode():
        texts = TextCache(model)
        rows: list[Row] = []
        for index, asked in enumerate(questions):
            rows += _score_image(model, dataset[index], asked, texts)
            on_image()
    return Evaluation(tuple(rows))


def write_rows(evaluation: Evaluation, path: Path) -> None:
    """Write all rows as CSV, whole or not at all."""
    with writing(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in evaluation.rows)


def _questions(
    record: ImageRecord, families: Sequence[str] | None, dataset: SegmentationDataset
) -> list[tuple[str, str]]:
    """Family and wording of everything asked about one record."""
    try:
        asked = sort_families(record.prompts) if families is None else families
        return [(family, prompt) for family in asked for prompt in variants(record.prompts, family)]
    except PromptError as error:
        place = f"{dataset.root}/anns/{dataset.split}.json, record of '{record.img_name}'"
        raise PromptError(f"{place}: {error} Choose with --prompts.") from error


def _score_image(model: Segmenter, sample: Sample, asked: Sequence[tuple[str, str]], texts: TextCache) -> list[Row]:
    # A model that reads no text gives one mask, whatever it is asked.
    questions = {prompt: prompt if model.reads_text else "" for _, prompt in asked}
    answers = _score_prompts(model, sample, sorted(set(questions.values())), texts)
    return [replace(answers[questions[prompt]], family=family, prompt=prompt) for family, prompt in asked]


def _score_prompts(model: Segmenter, sample: Sample, prompts: Sequence[str], texts: TextCache) -> dict[str, Row]:
    """One row a prompt, its family still blank."""
    features = model.encode_image(sample.image[None])
    truth = sample.mask > 0.5
    size = (truth.shape[-2], truth.shape[-1])
    rows = {}
    for prompt, found in zip(prompts, ask(model, features, prompts, texts, size), strict=True):
        mask = found.logits[:, 0] > 0
        existence = None if found.existence is None else found.existence.sigmoid().item()
        scores = dice(mask, truth).item(), iou(mask, truth).item()
        rows[prompt] = Row(sample.record.img_name, "", prompt, *scores, int(truth.sum()), int(mask.sum()), existence)
    return rows


def _both_means(evaluation: Evaluation, metric: str, family: str | None) -> dict[str, float | None]:
    return {
        "mean": evaluation.mean(metric, family),
        "mean_present": evaluation.mean(metric, family, present_only=True),
    }
