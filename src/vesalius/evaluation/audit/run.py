"""One pass of substitutions over a split, and how far the model's own confidence can be trusted."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vesalius.data.annotations import find_row
from vesalius.data.datasets import SegmentationDataset
from vesalius.errors import ConfigError, PromptError
from vesalius.evaluation.audit.session import (
    PromptSession,
    SubstitutionResult,
    plain_name,
    plan,
    plan_empty,
)
from vesalius.evaluation.calibration import Calibration, Reliability, RiskCoverage, risk_coverage, soft_dice_confidence
from vesalius.evaluation.metrics import dice
from vesalius.evaluation.rows import number_clusters
from vesalius.evaluation.statistics import Bootstrap
from vesalius.models import Segmenter
from vesalius.models.choices import Precision
from vesalius.models.inference import TextCache, encode_each


@dataclass(frozen=True, eq=False)
class Audit:
    """All results of one pass; ``card.fill_card`` sums it up."""

    results: tuple[SubstitutionResult, ...]
    images: tuple[str, ...]
    """File names, one a record that was asked about, [I]."""
    available: int
    """Records of the split."""
    dice: tuple[float, ...]
    """Dice of the answer to each record's plain name, [I]."""
    confidence: tuple[float, ...]
    """Soft Dice confidence of that answer, [I]."""
    reliability: Reliability
    """Reliability of its pixels, a row a record."""
    notes: tuple[str, ...]
    """Sentences on substitutions that could not be made."""


def audit(
    model: Segmenter,
    dataset: SegmentationDataset,
    *,
    limit: int | None = None,
    absent: Sequence[str] = (),
    precision: Precision = "32",
    on_image: Callable[[], None] = lambda: None,
) -> Audit:
    """Substitute the prompts of a data set's images and compare the answers.

    Each image is encoded once, each prompt once; masks are compared at the resolution of the files, threshold 0.5.

    Args:
        model: Any segmenter, on any device; it is put in evaluation mode.
        dataset: One split.
        limit: Records to ask about, evenly spaced in the annotation file; all by default.
        absent: Phrases for what no image of the data set shows, beside those the audit has of its own.
        precision: Of computation.
        on_image: Called after each record, for progress.

    Raises:
        ConfigError: If the limit is below 1.
        DataError, ImageError: If a file is missing or does not fit.
        PromptError: If a record has no prompt with words, or an absent phrase has none.
    """
    _check(dataset, absent)
    model.eval()
    texts = TextCache(model)
    results: list[SubstitutionResult] = []
    rows: list[tuple[str, float, float, Reliability]] = []
    chosen = choose(len(dataset), limit)
    encoded = encode_each(model, (dataset[number] for number in chosen), lambda sample: sample.image, precision)
    for number, (sample, features) in zip(chosen, encoded, strict=True):
        session, record = PromptSession(model, sample, features, texts, precision), sample.record
        target = dataset.row_of(record) or find_row(plain_name(record))
        if session.truth.any():
            planned = plan(dataset.records, number, target, absent)
        else:
            planned = plan_empty(record, number, target, absent)
        results += session.run(record.img_name, number, planned)
        rows.append((record.img_name, *_judge_plain(session, plain_name(record))))
        on_image()
    images, dices, confidences, counts = zip(*rows, strict=True)
    return Audit(
        results=tuple(results),
        images=images,
        available=len(dataset),
        dice=dices,
        confidence=confidences,
        reliability=Reliability.join(counts),
        notes=tuple(_note(results)),
    )


def _judge_plain(session: PromptSession, name: str) -> tuple[float, float, Reliability]:
    """Dice of the answer to the plain name, how sure the model is of it, and whether its probabilities hold."""
    probability = session.probability(name)
    found = dice(session.answer(name).mask, session.truth).item()
    return found, soft_dice_confidence(probability), Reliability.count(probability, session.truth[0].numpy())


def choose(available: int, limit: int | None) -> list[int]:
    """Evenly spaced places, so that a file sorted by class or patient is covered from end to end.

    >>> choose(10, 3)
    [0, 4, 9]

    Raises:
        ConfigError: If the limit is below 1.
    """
    if limit is None:
        return list(range(available))
    if limit < 1:
        raise ConfigError(f"--limit: expected 1 image or more, got {limit}.")
    return [int(place) for place in np.linspace(0, available - 1, min(limit, available))]


def _check(dataset: SegmentationDataset, absent: Sequence[str]) -> None:
    if any(not phrase.strip() for phrase in absent):
        raise PromptError("--absent: expected phrases for what the images do not show, got an empty one.")
    for number, record in enumerate(dataset.records):
        if not plain_name(record):
            place = f"{dataset.root}/anns/{dataset.split}.json, record {number} ('{record.img_name}')"
            remedy = "write some with `vesalius prompts generate`"
            raise PromptError(f"{place}: no prompt has words; an audit substitutes words; {remedy}.")


_LACKING = {
    ("wording", "paraphrases"): "Paraphrases were not asked: the prompt bank has no target of this name.",
    ("absent", "other targets"): "Denials and other targets were not asked: the prompt bank has no target of this "
    "name. Name what is not there with --absent.",
    ("swap", None): "The swap was left out: all images have the same most detailed prompt.",
    ("flip", None): "Nothing was flipped: no prompt speaks of a shape, colour, size, number, kind or side.",
}


def _note(results: Sequence[SubstitutionResult]) -> list[str]:
    asked = {(each.test, kind) for each in results for kind in (each.kind, None)}
    return [sentence for place, sentence in _LACKING.items() if place not in asked]


@dataclass(frozen=True)
class Trust:
    """How far the numbers that a model gives beside its masks can be trusted."""

    pixels: Calibration
    """Calibration of the pixels of the answer to the plain name."""
    existence: Calibration | None
    """Calibration of the existence score, over all wordings for what is there and all phrases for what is not; None for
    models without the score."""
    by_confidence: RiskCoverage
    """1 - Dice of the plain name's answer, images sorted by its soft Dice confidence."""
    by_agreement: RiskCoverage | None
    """The same, sorted by how much the answers to other wordings agree with it; None if there were none, or the model
    ignores words."""


def weigh_trust(audit: Audit, group_regex: str | None, settings: Bootstrap) -> Trust:
    """Measure calibration and risk.

    Args:
        audit: What was asked and answered.
        group_regex: Names the patient in an image's file name; intervals then draw patients instead of images.
        settings: Draws, confidence and seed.

    Raises:
        ConfigError: If the expression does not fit the names.
    """
    risk, clusters = [1 - each for each in audit.dice], number_clusters(audit.images, group_regex)
    return Trust(
        pixels=audit.reliability.summarise(clusters, settings),
        existence=_existence(audit.results, group_regex, settings),
        by_confidence=risk_coverage(audit.confidence, risk, clusters, settings),
        by_agreement=_by_agreement(audit.results, group_regex, settings),
    )


def _existence(
    results: Sequence[SubstitutionResult], group_regex: str | None, settings: Bootstrap
) -> Calibration | None:
    by_image: dict[str, list[SubstitutionResult]] = defaultdict(list)
    for each in results:
        if each.existence is not None and each.test in ("absent", "wording"):
            by_image[each.image].append(each)
    if not by_image:
        return None
    counts = Reliability.join([_count(several) for several in by_image.values()])
    return counts.summarise(number_clusters(list(by_image), group_regex), settings)


def _count(results: Sequence[SubstitutionResult]) -> Reliability:
    stated = np.array([each.existence for each in results], np.float64)
    return Reliability.count(stated, np.array([each.test == "wording" for each in results]))


def _by_agreement(
    results: Sequence[SubstitutionResult], group_regex: str | None, settings: Bootstrap
) -> RiskCoverage | None:
    by_record: dict[int, list[SubstitutionResult]] = defaultdict(list)
    for each in results:
        if each.test == "wording":
            by_record[each.record].append(each)
    if not any(each.change for several in by_record.values() for each in several):
        return None
    agreement = [-float(np.mean([each.change for each in several])) for several in by_record.values()]
    firsts = [several[0] for several in by_record.values()]
    clusters = number_clusters([each.image for each in firsts], group_regex)
    return risk_coverage(agreement, [1 - each.reference_dice for each in firsts], clusters, settings)
