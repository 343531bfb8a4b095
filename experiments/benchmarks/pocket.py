"""Score the embedded model on the test splits; writes docs/results/pocket-results.md.

    python experiments/benchmarks/pocket.py ../shared/data/segmentation

Dice as `vesalius evaluate` gives it: all prompts, resolution of the files given, threshold 0.5, both empty = 1. What
pocket makes of other words is measured by experiments/benchmarks/paraphrases.py.
"""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from setting import describe_setting

from vesalius.console import progress_bar
from vesalius.data.catalog import read_catalog
from vesalius.data.check.wordings import denials
from vesalius.data.datasets import SegmentationDataset
from vesalius.evaluation.segmentation import RULE, Evaluation, evaluate
from vesalius.evaluation.statistics import Interval
from vesalius.files import write_text
from vesalius.models.checkpoints import load_segmenter
from vesalius.models.choices import DEFAULT_MODEL

DATA = ("kvasir_polyp", "clinicdb_polyp", "bkai_polyp", "busi", "cxr_lungs")
PAPER_BEST = {"kvasir_polyp": 0.86795, "clinicdb_polyp": 0.81166, "bkai_polyp": 0.85234, "busi": 0.66008}
"""Best Dice of VLSM-Ensemble's Table 1."""
OUT = Path(__file__).parents[2] / "docs" / "results" / "pocket-results.md"


def main() -> None:
    """Evaluate, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--split", default="test")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    model = load_segmenter(args.model)
    scores: dict[str, Evaluation] = {}
    for name in DATA:
        dataset = SegmentationDataset(args.root / name, args.split)
        with progress_bar() as bar:
            task = bar.add_task(name, total=len(dataset))
            scores[name] = evaluate(model, dataset, on_image=partial(bar.advance, task))
    write_text(args.out, page(scores, args.split))


def show(mean: Interval) -> str:
    """A mean and its interval."""
    return f"{mean.value:.3f} [{mean.low:.3f}, {mean.high:.3f}]"


def page(scores: Mapping[str, Evaluation], split: str) -> str:
    """The whole page as Markdown."""
    lines = [
        "# What pocket reaches",
        "",
        f"Written by `python experiments/benchmarks/pocket.py ../shared/data/segmentation`: {describe_setting()}.",
        f"Split: {split}. Rule: {RULE}. Dice is the mean over images, wordings and then prompt families,",
        "with its 95 % bootstrap interval over images.",
        "",
        "| data set | images | Dice, all prompts | where the target is present | p0 (no words) | p1 | paper's best |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, found in scores.items():
        everywhere, present = (found.summarise("dice", present_only=only).overall for only in (False, True))
        means = [show(centre.mean) for centre in (everywhere, present) if centre]
        families = [f"{found.mean('dice', family):.3f}" for family in ("p0", "p1")]
        paper = f"{PAPER_BEST[name]:.3f}" if name in PAPER_BEST else "–"
        title = read_catalog()[name].title
        lines.append(f"| {title} | {found.images()} | {' | '.join([*means, *families])} | {paper} |")
    lines += [
        "",
        *(line for name, found in scores.items() for line in _without_denied(read_catalog()[name].title, found)),
        "The paper's figures are those of its Table 1, taken after resizing masks to the network's size.",
        "",
        "What it makes of words it never saw, and of names of what is not there: "
        "[pocket-paraphrases.md](pocket-paraphrases.md).",
    ]
    return "\n".join(lines) + "\n"


def _without_denied(title: str, found: Evaluation) -> list[str]:
    """What is left without images whose prompts deny their own mask, where there are any."""
    denied = {row.image for row in found.rows if row.true_pixels and denials({row.family: row.prompt}, firm=True)}
    if not denied:
        return []
    rest = replace(found, rows=tuple(row for row in found.rows if row.image not in denied)).summarise("dice").overall
    said = f"{title}: prompts of {len(denied)} images say that nothing is there, where the mask outlines something"
    left = f"Without these images: {show(rest.mean)}" if rest else "No image is left without these"
    return [f"{said} (`vesalius data check`: prompt_denies_mask). {left}.", ""]


if __name__ == "__main__":
    main()
