"""Why targets differ: Dice against training pictures and object size, as a figure, correlations and sentences."""

import json
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from vesalius.evaluation.plots import INK, SOFT, new_figure, to_svg
from vesalius.files import write_text

LOW = 0.7
"""Dice below which a target is explained."""
FEW = 30
"""Training pictures below which they are few."""
SMALL = 0.01
"""Share of the picture below which an object is small."""
UNLIKE = 0.2
"""Difference of Dice from which data sets of one target are unlike."""
WIDTH, HEIGHT = 900, 560
TICKS = (3, 10, 30, 100, 300, 1000, 3000)


@dataclass(frozen=True)
class TargetScore:
    """One target, on pictures that show it."""

    name: str
    pictures: int
    """Number of training pictures that showed it."""
    dice: float
    low: float
    high: float
    """Its 95 % interval."""
    share: float
    """Median share of a picture's pixels that the object takes, 0 to 1."""
    folders: tuple[tuple[str, float, bool], ...]
    """Each data set with its mean Dice, and whether training pictures of the target came from it."""

    @property
    def causes(self) -> list[str]:
        """What may keep it low, by the numbers alone."""
        found = [f"few training pictures ({self.pictures})"] if self.pictures < FEW else []
        if self.share < SMALL:
            found.append(f"small objects (median {100 * self.share:.2f} % of the picture)")
        scores = [dice for _, dice, _ in self.folders]
        told = ", ".join(f"{name} {dice:.2f}" for name, dice, _ in self.folders)
        if len(scores) > 1 and max(scores) - min(scores) >= UNLIKE:
            found.append(f"unlike data sets ({told})")
        if strange := [name for name, _, trained in self.folders if not trained]:
            found.append(f"data sets that training lacked ({', '.join(strange)})")
        return found


def explain(scores: Iterable[TargetScore]) -> list[str]:
    """A sentence for each target below ``LOW``, the lowest first."""
    low = sorted((each for each in scores if each.dice < LOW), key=lambda each: each.dice)
    return [
        f"- **{each.name}**, {each.dice:.2f}: "
        f"{'; '.join(each.causes) or 'neither few pictures, nor small objects, nor unlike data sets'}."
        for each in low
    ]


def correlate(scores: Sequence[TargetScore]) -> list[str]:
    """Rank correlations of Dice over targets; none with fewer than three of them."""
    if len(scores) < 3:
        return []
    dice = [each.dice for each in scores]
    causes = {
        "number of training pictures": [each.pictures for each in scores],
        "median share of the picture": [each.share for each in scores],
    }
    found = {name: spearmanr(values, dice) for name, values in causes.items()}
    told = [f"with the {name} ρ = {each.statistic:.2f} (p = {each.pvalue:.2g})" for name, each in found.items()]
    return [f"Spearman's rank correlation of Dice over {len(scores)} targets: {', '.join(told)}."]


def draw(scores: Sequence[TargetScore], path: Path) -> None:
    """Write Dice with its interval against training pictures as an SVG; filled are small objects.

    Raises:
        OutputError: If it cannot be written.
    """
    with new_figure(WIDTH, HEIGHT) as figure:
        axes = figure.subplots()
        axes.set(xscale="log", xlabel="training pictures that show it", ylabel="Dice where present", ylim=(0, 1.02))
        axes.set_xticks(TICKS, [f"{each:,}" for each in TICKS])
        axes.set_xticks([], minor=True)
        axes.axhline(LOW, color=SOFT, linestyle="--", linewidth=1, alpha=0.6)
        for each in scores:
            axes.plot([each.pictures] * 2, [each.low, each.high], color=SOFT, linewidth=1, alpha=0.5)
            fill = INK if each.share < SMALL else "white"
            axes.plot(each.pictures, each.dice, "o", color=INK, markerfacecolor=fill, markersize=5)
        for each, height in zip(scores, _spread_labels(scores), strict=True):
            axes.annotate(
                each.name, (each.pictures, height), (6, 0), textcoords="offset points", fontsize=8, va="center"
            )
        label = "Dice of each target against the number of its training pictures"
        write_text(path, to_svg(figure, label))


def _spread_labels(scores: Sequence[TargetScore]) -> list[float]:
    """Heights of the labels, so that those of neighbours do not lie on one another."""
    placed: list[tuple[float, float]] = []
    heights = {}
    for each in sorted(scores, key=lambda score: -score.dice):
        across, height = float(np.log10(max(each.pictures, 1))), each.dice
        while any(abs(across - x) < 0.35 and abs(height - y) < 0.025 for x, y in placed):
            height -= 0.005
        placed.append((across, height))
        heights[each.name] = height
    return [heights[each.name] for each in scores]


def list_trained(roots: Iterable[Path], targets: Path) -> set[tuple[str, str]]:
    """Folder and target of all masks in the training splits.

    Args:
        roots: Folders of pictures.
        targets: File that says what each of them marks.
    """
    folders = tomllib.loads(targets.read_text(encoding="utf-8"))
    found = set()
    for root in roots:
        path, marked = root / "anns" / "train.json", folders[root.name]["targets"]
        records = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        found |= {(root.name, marked.get(each.get("target"), next(iter(marked.values())))) for each in records}
    return found
