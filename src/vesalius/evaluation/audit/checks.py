"""The measures of the score card, and the words that values get, read from ``checks.toml``."""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

import numpy as np

from vesalius.evaluation.audit.answers import Answer
from vesalius.evaluation.statistics import Interval

QUIET = 0.01
"""Share of an image under which an answer counts as nothing."""

UNCLEAR = "cannot be told"
"""Verdict where the images are too few for any."""


@dataclass(frozen=True)
class Check:
    """One measure of one test, and how to read it."""

    test: str
    measure: str
    title: str
    good: str
    limits: tuple[float, ...]
    verdicts: tuple[str, ...]

    def judge(self, value: Interval) -> str:
        """The verdict that the whole interval supports: two, joined by "or", if it crosses a limit, none if several."""
        if value.low is None or value.high is None:
            return UNCLEAR  # a single image, which has no interval
        first, last = (int(np.searchsorted(self.limits, end, "right")) for end in (value.low, value.high))
        return UNCLEAR if last > first + 1 else " or ".join(self.verdicts[first : last + 1])


@cache
def read_checks() -> Sequence[Check]:
    """All checks in the order of the card."""
    rows = tomllib.loads(files("vesalius.evaluation.audit").joinpath("checks.toml").read_text(encoding="utf-8"))
    return tuple(
        Check(**{**row, "limits": tuple(row["limits"]), "verdicts": tuple(row["verdicts"])}) for row in rows["checks"]
    )


def measure(name: str, answers: Sequence[Answer]) -> float | None:
    """One measure of the answers about one image.

    Args:
        name: One of ``MEASURES``.
        answers: Of one test and kind, about one image.

    Returns:
        None if they do not have it: what concerns Dice is not asked of images whose true mask is empty, and not every
        model says whether a thing is there.
    """
    return MEASURES[name](answers)


def _change(answers: Sequence[Answer]) -> float | None:
    return _mean([each.change for each in answers if each.true_pixels])


def _lost(answers: Sequence[Answer]) -> float | None:
    return _mean([each.reference_dice - each.dice for each in answers if each.true_pixels])


def _spread(answers: Sequence[Answer]) -> float | None:
    scores = [each.dice for each in answers if each.true_pixels]
    return float(np.std([answers[0].reference_dice, *scores])) if scores else None


def _quiet(answers: Sequence[Answer]) -> float | None:
    return _mean([float(each.marked < QUIET) for each in answers])


def _existence(answers: Sequence[Answer]) -> float | None:
    return _mean([each.existence for each in answers if each.existence is not None])


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


MEASURES: Mapping[str, Callable[[Sequence[Answer]], float | None]] = MappingProxyType(
    {"change": _change, "lost": _lost, "spread": _spread, "quiet": _quiet, "existence": _existence}
)
