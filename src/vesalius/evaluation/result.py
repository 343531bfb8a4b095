"""What an evaluation found, and its summary."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vesalius.evaluation.rows import METRICS, Row
from vesalius.evaluation.score_table import DISTANCES, tabulate
from vesalius.evaluation.statistics import Centre, Summary, summarise
from vesalius.evaluation.truth import RULE, TOLERANCE
from vesalius.prompts import sort_families


@dataclass(frozen=True)
class Evaluation:
    """All rows of one model on one split.

    A family with several wordings counts, for each image, as the mean over all of them; so do several records of one
    image.
    """

    rows: tuple[Row, ...]
    tolerance: float = TOLERANCE
    """Of the normalised surface distance, in ``distance_unit``."""

    @cached_property
    def rule(self) -> str:
        """How everything here was measured."""
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
        """The same without some images."""
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
        """Means and medians with intervals, see ``statistics.summarise``."""
        return summarise(self.rows, metric, present_only=present_only, group_regex=group_regex)

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
            "summary": {name: _describe(*(each.overall for each in both)) for name, both in found.items()},
            "prompts": {
                family: {name: _describe(*(each.families.get(family) for each in both)) for name, both in found.items()}
                for family in self.families()
            },
        }


def _describe(everywhere: Centre | None, present: Centre | None) -> dict[str, object]:
    """One metric over all images, and over those with something to find."""
    values: dict[str, object] = {}
    for suffix, centre in (("", everywhere), ("_present", present)):
        for name in ("mean", "median"):
            interval = getattr(centre, name, None)
            values[f"{name}{suffix}"] = interval and interval.value
            values[f"{name}{suffix}_interval"] = interval and [interval.low, interval.high]
        values[f"images{suffix}"] = centre.mean.n if centre else 0
    return values
