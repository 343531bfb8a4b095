"""One line of the score card."""

from dataclasses import dataclass

from vesalius.evaluation.statistics import Interval


@dataclass(frozen=True)
class Line:
    """One measure of one kind of exchange, over all images."""

    test: str
    kind: str
    measure: str
    title: str
    """The question in words."""
    good: str
    """What a good value is."""
    value: Interval
    """Mean over images."""
    verdict: str
