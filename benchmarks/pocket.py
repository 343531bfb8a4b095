"""Score the embedded model on the test splits and ask it for what is not there; writes docs/pocket-results.md.

    python benchmarks/pocket.py ../shared/data/segmentation

Dice as `vesalius evaluate` gives it: all prompts, resolution of the files given, threshold 0.5, both empty = 1.
"""

import argparse
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

from vesalius import __version__
from vesalius.data.catalog import read_catalog
from vesalius.data.datasets import SegmentationDataset
from vesalius.evaluation.result import Evaluation
from vesalius.evaluation.segmentation import evaluate
from vesalius.evaluation.truth import RULE
from vesalius.files import writing
from vesalius.models import Segmenter
from vesalius.models.checkpoints import load_segmenter
from vesalius.predict import DEFAULT_MODEL, Predictor
from vesalius.progress import progress_bar

DATA = ("kvasir_polyp", "clinicdb_polyp", "bkai_polyp", "busi", "cxr_lungs")
PAPER_BEST = {"kvasir_polyp": 0.86795, "clinicdb_polyp": 0.81166, "bkai_polyp": 0.85234, "busi": 0.66008}
"""Best Dice of VLSM-Ensemble's Table 1."""
PHRASES = {"polyp": "polyp", "breast_tumour": "breast tumour", "lungs": "lungs", "brain": "brain"}
NEARLY_NOTHING = 0.01
OUT = Path(__file__).parents[1] / "docs" / "pocket-results.md"


@dataclass(frozen=True)
class Listening:
    """One foreign phrase asked of every test image of a data set."""

    data: str
    phrase: str
    images: int
    quiet: float
    """Share of images with under 1 % of their pixels marked."""


def main() -> None:
    """Evaluate, ask, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--split", default="test")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    model = load_segmenter(args.model)
    scores, listening = {}, []
    for name in DATA:
        dataset = SegmentationDataset(args.root / name, args.split)
        with progress_bar() as bar:
            task = bar.add_task(name, total=2 * len(dataset))
            scores[name] = evaluate(model, dataset, on_image=lambda bar=bar, task=task: bar.advance(task))
            listening += ask_for_others(model, dataset, on_image=lambda bar=bar, task=task: bar.advance(task))
    with writing(args.out) as unfinished:
        unfinished.write_text(page(scores, listening, args.split), encoding="utf-8")


def ask_for_others(model: Segmenter, dataset: SegmentationDataset, on_image) -> list[Listening]:  # noqa: ANN001
    """Ask for every other target."""
    foreign = [phrase for target, phrase in PHRASES.items() if target != dataset.target]
    predictor = Predictor(model)
    shares: dict[str, list[float]] = {phrase: [] for phrase in foreign}
    for sample in dataset:
        for answer in predictor.set_image(sample.image.permute(1, 2, 0).numpy()).predict(foreign):
            shares[answer.prompt].append(float(answer.mask.mean()))
        on_image()
    return [Listening(dataset.root.name, phrase, len(seen), _quiet(seen)) for phrase, seen in shares.items()]


def page(scores: dict[str, Evaluation], listening: Sequence[Listening], split: str) -> str:
    """The whole page as Markdown."""
    today = datetime.now(UTC).date().isoformat()
    hardware = f"{os.cpu_count()} CPU cores ({platform.machine()}), torch {torch.__version__}"
    lines = [
        "# What pocket reaches",
        "",
        f"Written by `python benchmarks/pocket.py ../shared/data/segmentation` on {today}; vesalius {__version__}, "
        f"{hardware}. Split: {split}. Rule: {RULE}. Dice is the mean over images, wordings and then prompt families.",
        "",
        "| data set | images | Dice, all prompts | where the target is present | p0 (no words) | p1 | paper's best |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, found in scores.items():
        values = [found.mean("dice"), found.mean("dice", present_only=True), found.mean("dice", "p0")]
        cells = [f"{value:.3f}" for value in [*values, found.mean("dice", "p1")]]
        paper = f"{PAPER_BEST[name]:.3f}" if name in PAPER_BEST else "–"
        lines.append(f"| {read_catalog()[name].title} | {found.images()} | {' | '.join(cells)} | {paper} |")
    lines += [
        "",
        "The paper's figures are those of its Table 1, taken after resizing masks to the network's size.",
        "",
        "## Asked for what is not there",
        "",
        "Share of test images on which a foreign phrase marks under 1 % of the pixels.",
        "",
        "| data set | phrase | images | quiet |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {read_catalog()[row.data].title} | {row.phrase} | {row.images} | {row.quiet:.1%} |" for row in listening
    ]
    return "\n".join(lines) + "\n"


def _quiet(shares: Sequence[float]) -> float:
    return sum(share < NEARLY_NOTHING for share in shares) / len(shares)


if __name__ == "__main__":
    main()
