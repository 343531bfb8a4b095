"""All that a benchmark found, and the sentences that say what its numbers are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vesalius.benchmark.making import Making, describe_span, read_making
from vesalius.benchmark.published import Publication
from vesalius.benchmark.recipe import BenchmarkRecipe
from vesalius.benchmark.running import Outcome
from vesalius.benchmark.scores import Score, collect_scores
from vesalius.benchmark.table import Table, arrange, data_title
from vesalius.evaluation.truth import RULE


@dataclass(frozen=True)
class BenchmarkReport:
    """Scores, and how each came about."""

    recipe: BenchmarkRecipe
    scores: tuple[Score, ...]
    makings: tuple[Making, ...]
    """Of the finished cells."""

    @property
    def table(self) -> Table:
        """Means over all images."""
        return arrange(self.scores, self.recipe.publication)

    @property
    def present_table(self) -> Table | None:
        """Means over images that show something, of data sets where others do not; None if there are none."""
        sets = {score.data for score in self.scores if score.present}
        kept = [score for score in self.scores if score.data in sets]
        return arrange(kept, present_only=True) if kept else None

    def explain(self) -> list[str]:
        """What the numbers are, ours and the published ones, a sentence or two each."""
        return [
            _explain_scores(self.recipe, self.scores),
            "[low, high]: 95 % bootstrap interval, drawing images; it leaves out what another training would change.",
            *_explain_training(self.makings),
            *_explain_published(self.recipe.publication),
        ]

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return {
            "title": self.recipe.title,
            "caption": self.explain(),
            "scores": [score.to_dict() for score in self.scores],
            "cells": [making.to_dict() for making in self.makings],
        }


def build_report(
    recipe: BenchmarkRecipe, outcomes: Sequence[Outcome], *, on_score: Callable[[], None] = lambda: None
) -> BenchmarkReport:
    """Read what cells left on disk.

    Args:
        recipe: What was to be done.
        outcomes: What became of all its cells.
        on_score: Called after each score, for progress.

    Raises:
        DataError: If a finished cell cannot be read.
    """
    scores = collect_scores(outcomes, recipe.publication, on_score=on_score)
    makings = [read_making(each.cell) for each in outcomes if each.failure is None]
    return BenchmarkReport(recipe, tuple(scores), tuple(makings))


def _explain_scores(recipe: BenchmarkRecipe, scores: Sequence[Score]) -> str:
    counts = {score.data: score.mean.n for score in scores if score.mean}
    images = ", ".join(f"{data_title(data)} {count}" for data, count in counts.items()) or "none scored"
    seeds = f"{len(recipe.seeds)} seeds, " if len(recipe.seeds) > 1 else ""
    families = f"the prompt families {', '.join(recipe.prompts)}" if recipe.prompts else "all prompt families"
    means = f"each with its mean over {seeds}{families} and all wordings"
    return f"Mean Dice over the test images ({images}), {means}; {RULE}."


def _explain_training(makings: Sequence[Making]) -> list[str]:
    if not makings:
        return []
    weights = " or ".join(dict.fromkeys(each.weights for each in makings))
    sizes, epochs, batches, rates = (
        describe_span([getattr(each, name) for each in makings])
        for name in ("image_size", "epochs", "batch_size", "learning_rate")
    )
    return [
        f"Ours: training began with {weights} weights; {sizes} px, {epochs} epoch{'s' * (epochs != '1')}, batches of "
        f"{batches}, learning rate {rates}; the weights of the epoch with the best validation Dice are scored."
    ]


def _explain_published(publication: Publication | None) -> list[str]:
    if publication is None:
        return []
    source = f"{publication.short}: {publication.source}; {publication.measure}."
    return [f"{source} Two numbers can be compared only where both models were trained alike."]
