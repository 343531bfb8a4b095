"""The score card of an audit: every test's measures with intervals and verdicts, and what they come to in words."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from vesalius.evaluation.audit.answers import Answer
from vesalius.evaluation.audit.checks import Check, measure, read_checks
from vesalius.evaluation.audit.conclusion import conclude, ignores_words
from vesalius.evaluation.audit.line import Line
from vesalius.evaluation.audit.run import Audit, number_clusters
from vesalius.evaluation.audit.trust import Trust, weigh_trust
from vesalius.evaluation.bootstrap import Bootstrap
from vesalius.evaluation.score_table import ScoreTable
from vesalius.evaluation.statistics import Interval, find_centres

RULE = "masks at threshold 0.5 and the resolution of the files given; change = 1 - Dice of two answers"


@dataclass(frozen=True)
class Card:
    """What an audit found."""

    conclusion: tuple[str, ...]
    """In words, a sentence each."""
    lines: tuple[Line, ...]
    plain_dice: Interval
    """Dice on being asked for the object by its plain name, for orientation."""
    trust: Trust
    images: int
    """Records that were asked about."""
    available: int
    """Records of the split."""
    notes: tuple[str, ...]
    rule: str = RULE

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return asdict(self)


def fill_card(audit: Audit, *, group_regex: str | None = None, settings: Bootstrap | None = None) -> Card:
    """Sum up an audit.

    Args:
        audit: What was asked and answered.
        group_regex: Names the patient in an image's file name; intervals then draw patients instead of images.
        settings: Draws, confidence and seed.

    Raises:
        ConfigError: If the expression does not fit the names.
    """
    settings = settings or Bootstrap()
    measured = _measure(audit.answers)
    intervals = _summarise(measured | {_PLAIN: _by_image(audit.images, audit.dice)}, group_regex, settings)
    lines = [
        Line(check.test, kind, check.measure, check.title, check.good, value, check.judge(value))
        for check in read_checks()
        for (test, kind, name), value in intervals.items()
        if (test, name) == (check.test, check.measure)
    ]
    return Card(
        conclusion=conclude(lines),
        lines=tuple(_temper(lines)),
        plain_dice=intervals[_PLAIN],
        trust=weigh_trust(audit, group_regex, settings),
        images=len(audit.images),
        available=audit.available,
        notes=audit.notes,
    )


def _temper(lines: Sequence[Line]) -> Iterator[Line]:
    """Who ignores words is not to be praised for being steady under other words."""
    ignored = ignores_words(lines)
    for line in lines:
        steady = ignored and line.test == "wording" and line.measure != "existence"
        yield replace(line, verdict="ignores words") if steady else line


Place = tuple[str, str, str]
"""Test, kind and measure."""
_PLAIN: Place = ("", "", "dice")


def _measure(answers: Sequence[Answer]) -> dict[Place, dict[str, float]]:
    """Each measure of each image; the mean over its records if it has several."""
    groups: dict[tuple[str, str], dict[tuple[str, int], list[Answer]]] = defaultdict(lambda: defaultdict(list))
    for answer in answers:
        groups[answer.test, answer.kind][answer.image, answer.record].append(answer)
    checks: dict[str, list[Check]] = defaultdict(list)
    for check in read_checks():
        checks[check.test].append(check)
    found = {}
    for (test, kind), records in groups.items():
        for check in checks[test]:
            values = {place: measure(check.measure, several) for place, several in records.items()}
            known = {place: value for place, value in values.items() if value is not None}
            if known:
                found[test, kind, check.measure] = _by_image([image for image, _ in known], list(known.values()))
    return found


def _by_image(images: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    several: dict[str, list[float]] = defaultdict(list)
    for image, value in zip(images, values, strict=True):
        several[image].append(value)
    return {image: float(np.mean(each)) for image, each in several.items()}


def _summarise(
    measured: Mapping[Place, Mapping[str, float]], group_regex: str | None, settings: Bootstrap
) -> dict[Place, Interval]:
    """Means over images with intervals; all measures are drawn together."""
    images = tuple(dict.fromkeys(image for values in measured.values() for image in values))
    scores = np.array([[values.get(image, np.nan) for values in measured.values()] for image in images])
    names = tuple("/".join(place) for place in measured)
    centres = find_centres(ScoreTable(images, names, scores, number_clusters(images, group_regex)), settings)
    return {place: centres[name].mean for place, name in zip(measured, names, strict=True)}
