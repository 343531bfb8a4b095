"""Ask the embedded model in words it never saw, and for what is not there; writes docs/results/pocket-paraphrases.md.

    python experiments/benchmarks/paraphrases.py ../shared/data/segmentation/* runs/data/brain_mr runs/data/mr/*

Unseen wordings are those of experiments/pocket/unseen.toml, written before the training. Each image is encoded once and
asked p1, all unseen wordings of its target, and the plain names of all targets that it cannot show.
"""

import argparse
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from changes import mean_change
from numpy.typing import NDArray
from rich.progress import Progress
from setting import describe_setting

from vesalius.console import progress_bar
from vesalius.data.catalog import read_catalog
from vesalius.data.datasets import Sample, SegmentationDataset
from vesalius.errors import DataError
from vesalius.evaluation.audit.run import choose
from vesalius.evaluation.metrics import dice
from vesalius.evaluation.segmentation import RULE
from vesalius.evaluation.statistics import Interval
from vesalius.files import write_text
from vesalius.models.choices import DEFAULT_MODEL
from vesalius.predict import Predictor
from vesalius.prompts import foreign_phrases, variants

ROOT = Path(__file__).parents[2]
OUT = ROOT / "docs" / "results" / "pocket-paraphrases.md"
UNSEEN = ROOT / "experiments" / "pocket" / "unseen.toml"
NEARLY_NOTHING = 0.01
"""Share of an image's pixels under which it counts as unmarked."""
FAMILY = "p1"


@dataclass(frozen=True)
class Heard:
    """What a model made of the words, on one data set."""

    title: str
    target: str
    split: str
    wordings: tuple[str, ...]
    """P unseen ones."""
    foreign: tuple[str, ...]
    """F names of what its images cannot show."""
    present: NDArray[np.bool_]
    """Which images show the target, [I]."""
    known: NDArray[np.float64]
    """Dice of p1, [I]."""
    unseen: NDArray[np.float64]
    """Dice of each unseen wording, [I, P]."""
    marked: NDArray[np.float64]
    """Share of the pixels that each foreign name marks, [I, F]."""

    @property
    def by_wording(self) -> NDArray[np.float64]:
        """Mean Dice where the target is present, [P]."""
        means: NDArray[np.float64] = self.unseen[self.present].mean(0)
        return means

    @property
    def difference(self) -> Interval:
        """Unseen wordings less p1, where the target is present, with a 95 % interval over images."""
        return mean_change((self.unseen.mean(1) - self.known)[self.present])

    @property
    def unmarked(self) -> dict[str, float]:
        """Share of images on which a foreign name marks next to nothing."""
        return dict(zip(self.foreign, (self.marked < NEARLY_NOTHING).mean(0).tolist(), strict=True))


def listen(
    predictor: Predictor, dataset: SegmentationDataset, wordings: Sequence[str], places: Sequence[int], bar: Progress
) -> Heard:
    """Ask everything of the images in these places."""
    foreign = foreign_phrases(target_of(dataset))[1]
    answers = [
        ask(predictor, dataset[place], wordings, foreign)
        for place in bar.track(places, description=dataset.root.resolve().name)
    ]
    present, known, unseen, marked = (np.array(column) for column in zip(*answers, strict=True))
    card = read_catalog()[dataset.root.resolve().name]
    return Heard(card.title, card.target, dataset.split, tuple(wordings), foreign, present, known, unseen, marked)


def ask(
    predictor: Predictor, sample: Sample, wordings: Sequence[str], foreign: Sequence[str]
) -> tuple[bool, float, list[float], list[float]]:
    """One image: whether it shows the target, Dice of p1 and of each unseen wording, and what foreign names mark."""
    own, truth = variants(sample.record.prompts, FAMILY), sample.mask > 0.5
    found = predictor.set_image(sample.image.permute(1, 2, 0).numpy()).predict([*own, *wordings, *foreign])
    told, strange = found[: -len(foreign)], found[-len(foreign) :]
    scores = [dice(torch.from_numpy(answer.mask)[None], truth).item() for answer in told]
    known = float(np.mean(scores[: len(own)]))
    return bool(truth.any()), known, scores[len(own) :], [float(answer.mask.mean()) for answer in strange]


def target_of(dataset: SegmentationDataset) -> str:
    """What its masks outline.

    Raises:
        DataError: If the catalog does not tell.
    """
    if not dataset.target:
        raise DataError(f"{dataset.root}: the catalog has no target for a folder of this name; call it as there.")
    return dataset.target


def page(heard: Sequence[Heard]) -> str:
    """The whole page as Markdown."""
    lines = [
        "# Pocket and words it never saw",
        "",
        f"Written by `python experiments/benchmarks/paraphrases.py`: {describe_setting()}.",
        f"Rule: {RULE}.",
        "The wordings are those of `experiments/pocket/unseen.toml`, written before the training and in none of its",
        "prompts. Which of them are refused was looked at later, while synonyms were collected: they are new to the",
        "model, but no longer to what decides whether it is asked. A refused wording counts 0. Brain slices are of the",
        "head that trained: they tell of words only, not of how well brains are found.",
        "",
        "## In other words",
        "",
        "Dice on images that show the target: of p1, the mean over all unseen wordings, and the difference with its",
        "95 % bootstrap interval over images, which is meant to stay above -0.03.",
        "",
        "| data set | split | images | p1 | unseen wordings | difference | worst wording | its Dice |",
        "|---|---|---|---|---|---|---|---|",
        *(_summary(each) for each in heard),
    ]
    for target in dict.fromkeys(each.target for each in heard):
        lines += _by_wording(target, [each for each in heard if each.target == target])
    return "\n".join([*lines, *_unmarked(heard)]) + "\n"


def _summary(each: Heard) -> str:
    scores, worst = each.by_wording, int(each.by_wording.argmin())
    known = each.known[each.present].mean()
    return (
        f"| {each.title} | {each.split} | {each.present.sum()} | {known:.3f} | {scores.mean():.3f} | {each.difference} "
        f"| {each.wordings[worst]} | {scores[worst]:.3f} |"
    )


def _by_wording(target: str, heard: Sequence[Heard]) -> list[str]:
    """Every wording for one target, worst first."""
    scores = np.stack([each.by_wording for each in heard], axis=1)
    order = np.argsort(scores.mean(1))
    known = [f"{each.known[each.present].mean():.3f}" for each in heard]
    return [
        "",
        f"### {target.replace('_', ' ').capitalize()}",
        "",
        f"| wording | {' | '.join(each.title for each in heard)} |",
        f"|---|{'---|' * len(heard)}",
        f"| *{FAMILY}* | {' | '.join(known)} |",
        *(f"| {heard[0].wordings[place]} | {' | '.join(f'{s:.3f}' for s in scores[place])} |" for place in order),
    ]


def _unmarked(heard: Sequence[Heard]) -> list[str]:
    """Names of what the images lack that mark something on some of them; the others are counted."""
    pairs = [(each, name, share) for each in heard for name, share in each.unmarked.items()]
    worse = [pair for pair in pairs if pair[2] < 1]
    silent = len(pairs) - len(worse)
    rows = (f"| {each.title} | {len(each.marked)} | {name} | {share:.1%} |" for each, name, share in worse)
    return [
        "",
        "## Asked for what is not there",
        "",
        "Each data set is asked for all targets that its images surely lack, and a name should mark under",
        f"{NEARLY_NOTHING:.0%} of the pixels on 95 % of images. Of {len(pairs)} pairs of a data set and such a name",
        f"{silent} do on every image. {'The others:' if worse else 'There are no others.'}",
        *(["", "| data set | images | name | left unmarked |", "|---|---|---|---|", *rows] if worse else []),
    ]


def main() -> None:
    """Ask, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--split", default="test")
    parser.add_argument("--limit", type=int, help="images of each data set, evenly spaced; all by default")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    predictor, heard = Predictor(args.model), []
    unseen = tomllib.loads(UNSEEN.read_text(encoding="utf-8"))
    datasets = [SegmentationDataset(folder, args.split) for folder in args.data]
    wordings = [unseen[target_of(dataset)] for dataset in datasets]
    for dataset, words in zip(datasets, wordings, strict=True):
        with progress_bar() as bar:
            heard.append(listen(predictor, dataset, words, choose(len(dataset), args.limit), bar))
    text = page(heard)
    write_text(args.out, text)
    print(text)


if __name__ == "__main__":
    main()
