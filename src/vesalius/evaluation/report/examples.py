"""Which images a report shows: the worst, the median, the best, and the worst false alarms; never hand-picked."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from vesalius.errors import ConfigError
from vesalius.evaluation.rows import Row
from vesalius.evaluation.score_table import tabulate

KINDS = ("worst", "median", "best", "false alarm")
MOST = 6
"""Examples of a kind at most; a page should stay small."""


@dataclass(frozen=True)
class Example:
    """One answer about one image, and why it is shown."""

    kind: str
    """One of ``KINDS``."""
    row: Row
    """The answer: of all about the image, the one nearest to their mean; of a false alarm, the largest."""
    mean: float
    """Dice of the image, over families and wordings."""
    lowest: float
    """Dice of its worst answer."""
    highest: float
    """Dice of its best answer."""
    answers: int
    """Wordings that it was asked."""


def choose_examples(rows: Iterable[Row], each: int) -> list[Example]:
    """Choose images by their mean Dice, and one answer about each.

    Images that show the target are ranked, ties by name; those without are false alarms where something is marked.

    Args:
        rows: Rows of one evaluation.
        each: Examples of a kind at most, 0 to ``MOST``; fewer where there are not three times as many images.

    Raises:
        ConfigError: If ``each`` is out of its range.
    """
    if not 0 <= each <= MOST:
        raise ConfigError(f"Pictures of a kind: expected 0 to {MOST}, got {each}.")
    found = list(rows)
    present = _by_image(row for row in found if row.true_pixels)
    absent = _by_image(row for row in found if not row.true_pixels)
    return [*_choose_ranked(present, each), *_choose_false_alarms(absent, each)]


def _by_image(rows: Iterable[Row]) -> dict[str, list[Row]]:
    ordered = sorted(rows, key=lambda row: (row.image, row.family, row.variant))
    return {image: list(group) for image, group in groupby(ordered, key=lambda row: row.image)}


def _choose_ranked(answers: dict[str, list[Row]], each: int) -> list[Example]:
    if not answers or not each:
        return []
    means = _means(answers)
    ranked = sorted(means, key=lambda image: (means[image], image))
    each = max(1, min(each, len(ranked) // 3))
    middle = (len(ranked) - each) // 2
    chosen: dict[str, str] = {}
    # An image of a tiny data set may be all three; it is then shown once.
    for kind, images in (
        ("worst", ranked[:each]),
        ("best", ranked[: -each - 1 : -1]),
        ("median", ranked[middle:][:each]),
    ):
        for image in images:
            chosen.setdefault(image, kind)
    examples = [_describe(kind, answers[image], means[image]) for image, kind in chosen.items()]
    return sorted(examples, key=lambda example: KINDS.index(example.kind))


def _means(answers: dict[str, list[Row]]) -> dict[str, float]:
    table = tabulate([row for rows in answers.values() for row in rows])
    return dict(zip(table.images, table.overall().tolist(), strict=True))


def _describe(kind: str, answers: Sequence[Row], mean: float) -> Example:
    return _to_example(kind, min(answers, key=lambda row: abs(row.dice - mean)), answers, mean)


def _choose_false_alarms(answers: dict[str, list[Row]], each: int) -> list[Example]:
    largest = {image: max(rows, key=lambda row: row.predicted_pixels) for image, rows in answers.items()}
    alarms = [row for row in largest.values() if row.predicted_pixels]
    alarms.sort(key=lambda row: (-row.predicted_pixels, row.image))
    means = _means(answers) if alarms else {}
    return [_to_example("false alarm", row, answers[row.image], means[row.image]) for row in alarms[:each]]


def _to_example(kind: str, row: Row, answers: Sequence[Row], mean: float) -> Example:
    scores = [answer.dice for answer in answers]
    return Example(kind, row, mean, min(scores), max(scores), len(answers))
