"""How often bootstrap intervals hold the truth, on made-up scores that look like Dice; ends docs/statistics.md.

    python experiments/benchmarks/coverage.py

Each population is a recipe for scores whose true mean and median a very large sample tells. From it samples are drawn
again and again, an interval is made from each, and those that hold the truth are counted.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from setting import describe_setting

from vesalius.console import progress_bar
from vesalius.evaluation.statistics import (
    Bootstrap,
    draw_weights,
    find_bca_ends,
    find_percentile_ends,
    leave_one_out_means,
    weighted_means,
    weighted_medians,
)
from vesalius.files import write_text

Array = NDArray[np.float64]
Ends = tuple[float, float]
PAGE = Path(__file__).parents[2] / "docs" / "statistics.md"
HEADING = "## Coverage, by simulation\n"
SIZES = (13, 20, 30, 60, 100)
PROMPTS = 3
CONFIDENCE = 0.95
GOOD = (0.93, 0.97)
SEED = 0
ENDLESS = 10**9
"""So many clusters need no widening."""


@dataclass(frozen=True)
class Population:
    """Scores of images are logistic of a sum of normal effects; some images are missed altogether."""

    title: str
    level: float
    """Of a typical image, before the logistic."""
    between_images: float
    """Standard deviation, as the following."""
    missed: float
    """Share of images whose score is 0."""
    between_patients: float = 0.0
    most_images: int = 1
    """Of a patient; all numbers from 1 are as frequent."""
    told: bool = True
    """Whether the interval knows which images are of one patient."""
    other_level: float | None = None
    """Of a second model; the scores are then differences of both, and each misses images of its own."""

    def draw(self, patients: int, generator: np.random.Generator) -> tuple[Array, NDArray[np.intp]]:
        """Each image's mean over prompts, [I], and the patient it is of."""
        sizes = generator.integers(1, self.most_images + 1, patients)
        owner = np.repeat(np.arange(patients), sizes)
        difficulty = generator.normal(0, self.between_patients, patients)[owner]
        difficulty = difficulty + generator.normal(0, self.between_images, len(owner))
        scores = self._score(self.level, difficulty, generator)
        if self.other_level is not None:
            scores = scores - self._score(self.other_level, difficulty, generator)
        return scores, owner if self.told else np.arange(len(owner))

    def _score(self, level: float, difficulty: Array, generator: np.random.Generator) -> Array:
        effects = level + difficulty[:, None] + generator.normal(0, 0.4, (len(difficulty), PROMPTS))
        scores = (1 / (1 + np.exp(-effects))).mean(1)
        return np.where(generator.random(len(scores)) < self.missed, 0.0, scores)


POPULATIONS = (
    Population("good model (as `pocket` on polyps)", level=2.9, between_images=1.3, missed=0.03),
    Population("fair model (as `pocket` on BUSI)", level=2.0, between_images=1.2, missed=0.07),
    Population("weak model", level=0.9, between_images=1.8, missed=0.10),
    Population("patients of 1–6 images", 2.6, 1.0, 0.03, between_patients=1.0, most_images=6),
    Population("the same, patients not told", 2.6, 1.0, 0.03, between_patients=1.0, most_images=6, told=False),
    Population("difference of two models", 2.9, 1.3, 0.03, other_level=2.6),
)
METHODS = ("mean: percentile", "widened", "BCa", "BCa, widened", "median: percentile", "widened")


def make_intervals(scores: Array, owner: NDArray[np.intp], settings: Bootstrap) -> tuple[list[Ends], list[Ends]]:
    """Intervals of the mean and of the median, in the order of ``METHODS``."""
    column, count = scores[:, None], int(owner.max()) + 1
    weights = np.concatenate(list(draw_weights(owner, settings)))
    means, medians = weighted_means(column, weights)[:, 0], weighted_medians(column, weights)[:, 0]
    left_out = leave_one_out_means(column, owner)[:, 0]
    value = float(scores.mean())
    return (
        [
            find_percentile_ends(means, ENDLESS, CONFIDENCE),
            find_percentile_ends(means, count, CONFIDENCE),
            find_bca_ends(means, ENDLESS, CONFIDENCE, value, left_out),
            find_bca_ends(means, count, CONFIDENCE, value, left_out),
        ],
        [find_percentile_ends(medians, ENDLESS, CONFIDENCE), find_percentile_ends(medians, count, CONFIDENCE)],
    )


def cover(
    population: Population, patients: int, arguments: argparse.Namespace, on_sample: Callable[[], None]
) -> list[float]:
    """Share of samples whose interval holds the truth, for each of ``METHODS``."""
    generator = np.random.default_rng((SEED, POPULATIONS.index(population), patients))
    mean, median = find_truth(population)
    hits = np.zeros(len(METHODS))
    for number in range(arguments.samples):
        scores, owner = population.draw(patients, generator)
        means, medians = make_intervals(scores, owner, Bootstrap(arguments.resamples, CONFIDENCE, number))
        hits += [low <= mean <= high for low, high in means] + [low <= median <= high for low, high in medians]
        on_sample()
    shares: list[float] = (hits / arguments.samples).tolist()
    return shares


@cache
def find_truth(population: Population) -> tuple[float, float]:
    """Mean and median of a sample so large that its own error does not count."""
    scores, _ = population.draw(1_000_000, np.random.default_rng(SEED))
    return float(scores.mean()), float(np.median(scores))


def describe_populations() -> Iterator[str]:
    """What scores the populations give."""
    yield "| population | mean | 5 % | 25 % | median | 75 % | 95 % |"
    yield "|---|---|---|---|---|---|---|"
    for population in POPULATIONS:
        scores, _ = population.draw(1_000_000, np.random.default_rng(SEED))
        values = [scores.mean(), *np.quantile(scores, [0.05, 0.25, 0.5, 0.75, 0.95])]
        yield f"| {population.title} | {' | '.join(f'{value:.3f}' for value in values)} |"


def tell(rows: list[tuple[Population, int, list[float]]], arguments: argparse.Namespace) -> Iterator[str]:
    """The section as Markdown."""
    error = 100 * np.sqrt(CONFIDENCE * (1 - CONFIDENCE) / arguments.samples)
    yield HEADING
    yield (
        f"Written by `python experiments/benchmarks/coverage.py`: {describe_setting()}. "
        f"{arguments.samples:,} samples of each "
        f"size, {arguments.resamples:,} resamples of each sample, seed {SEED}; the standard error of a share near "
        f"{CONFIDENCE:.0%} is {error:.1f} percentage points. Nominal coverage {CONFIDENCE:.0%}; shares outside "
        f"{GOOD[0]:.0%}–{GOOD[1]:.0%} are in italics. n: images, or patients where they have several. “Widened” are "
        "medians and differences of ours, “BCa, widened” our means of scores."
    )
    yield f"\n| population | n | {' | '.join(METHODS)} |"
    yield f"|---|---|{'---|' * len(METHODS)}"
    for population, size, shares in rows:
        cells = [f"{share:.1%}" if GOOD[0] <= share <= GOOD[1] else f"*{share:.1%}*" for share in shares]
        yield f"| {population.title} | {size} | {' | '.join(cells)} |"
    yield "\nThe scores that the populations give:\n"
    yield from describe_populations()


def main() -> None:
    """Draw, count, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=2_000)
    parser.add_argument("--resamples", type=int, default=1_000)
    parser.add_argument("--out", type=Path, default=PAGE)
    arguments = parser.parse_args()
    rows = []
    with progress_bar() as bar:
        task = bar.add_task("samples", total=len(POPULATIONS) * len(SIZES) * arguments.samples)
        for population in POPULATIONS:
            for size in SIZES:
                rows.append((population, size, cover(population, size, arguments, lambda: bar.advance(task))))
    section = "\n".join(tell(rows, arguments)) + "\n"
    before = arguments.out.read_text(encoding="utf-8").split(HEADING)[0] if arguments.out.exists() else ""
    write_text(arguments.out, before + section)
    print(section)


if __name__ == "__main__":
    main()
