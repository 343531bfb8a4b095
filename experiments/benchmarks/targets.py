"""Score the embedded model on every target's test pictures; writes docs/results/pocket-targets.md and its figure.

    python experiments/benchmarks/targets.py ../shared/data runs/data/people_ct runs/data/people_mr

Each picture is asked for each target that its records tell of, by the target's plain name, and for what its folder
surely lacks (experiments/pocket/targets.toml). Dice is at the resolution of the files, threshold 0.5, over pictures
that show the target; a picture counts once, however often a split lists it. Existence is judged over pictures that
show the target and pictures of the same modality that lack it. Slices of people kept back (experiments/pocket/
prepare_people.py) are also asked for what their labels say that they show and nobody has outlined.
"""

import argparse
import json
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from setting import describe_setting
from target_causes import FEW, LOW, SMALL, UNLIKE, TargetScore, correlate, draw, explain, list_trained

from vesalius.console import progress_bar
from vesalius.files import write_text
from vesalius.models import Segmenter
from vesalius.models.checkpoint_file import find_checkpoint, read_notes
from vesalius.models.checkpoints import load_segmenter
from vesalius.models.choices import DEFAULT_MODEL
from vesalius.models.encoder import MaskPrediction
from vesalius.models.inference import TextCache, decode_prompts
from vesalius.prompts.bank import find_target, foreign_targets, list_groups

ROOT = Path(__file__).parents[2]
TARGETS = ROOT / "experiments" / "pocket" / "targets.toml"
OUT = ROOT / "docs" / "results" / "pocket-targets.md"
FIGURE = ROOT / "docs" / "images" / "pocket-targets-curve.svg"
SHOWN = "shown.json"
"""In a folder: what its pictures show though nobody has outlined it, by the names of the files."""
QUIET = 0.01
"""Share of the pixels below which nothing is said to be marked."""
RESAMPLES = 2000
FOREIGN_ASKED = 6
"""Targets asked of each picture that its folder surely lacks, in turns."""


@dataclass(frozen=True)
class Answer:
    """What the model said of a target on a picture."""

    folder: str
    target: str
    picture: str
    recorded: bool
    """Whether a record tells of the target, rather than the folder's kind."""
    present: bool
    dice: float
    marked: float
    """Share of the pixels."""
    existence: float
    size: float = 0.0
    """Share of the pixels that the object takes."""
    outlined: bool = True
    """Whether somebody has outlined it, where it is present."""


def read_records(root: Path, split: str) -> dict[str, list[dict[str, Any]]]:
    """Picture -> its records, each once."""
    found: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for record in json.loads((root / "anns" / f"{split}.json").read_text(encoding="utf-8")):
        found[record["img_name"]].setdefault(record["mask_name"], record)
    return {name: list(own.values()) for name, own in sorted(found.items())}


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """A picture [H, W, 3]."""
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB"))


def read_truth(path: Path) -> NDArray[np.bool_]:
    """A mask [H, W]; whatever is not black in files of two shades."""
    with Image.open(path) as opened:
        mask = np.asarray(opened.convert("L"))
    return np.asarray(mask >= max(1, int(mask.max()) / 2))


@torch.inference_mode()
def ask(model: Segmenter, texts: TextCache, rgb: NDArray[np.uint8], phrases: Sequence[str]) -> list[MaskPrediction]:
    """What a model says of each phrase on a picture, at the picture's size."""
    pixels = torch.from_numpy(np.divide(rgb, 255, dtype=np.float32).transpose(2, 0, 1))
    return decode_prompts(model, model.encode_image(pixels[None]), phrases, texts, rgb.shape[:2])


def lacking(folder: dict[str, Any], known: list[str], modalities: dict[str, set[str]]) -> list[str]:
    """Targets of the folder's modality that its pictures surely do not show."""
    groups = list_groups()
    shown = [member for entry in folder.get("shows", ()) for member in groups.get(entry, (entry,))]
    own = set(folder["targets"].values())
    foreign = set.intersection(*(set(foreign_targets(target, shown)) for target in own)) - own
    return [each for each in known if each in foreign and folder["modality"] in modalities[each]]


def answers(
    model: Segmenter, root: Path, folder: dict[str, Any], known: list[str], alike: list[str], split: str
) -> Iterator[Answer]:
    """All of a folder."""
    texts = TextCache(model)
    only = next(iter(folder["targets"].values()))
    labels = root / SHOWN
    labelled: dict[str, list[str]] = json.loads(labels.read_text(encoding="utf-8")) if labels.exists() else {}
    for place, (name, records) in enumerate(read_records(root, split).items()):
        rgb = read_rgb(root / "images" / name)
        truths: dict[str, NDArray[np.bool_]] = {}
        for record in records:
            target = folder["targets"].get(record["target"]) if "target" in record else only
            if target in known:
                truths[target] = read_truth(root / "masks" / record["mask_name"])
        foreign = [alike[(place * FOREIGN_ASKED + each) % len(alike)] for each in range(min(FOREIGN_ASKED, len(alike)))]
        unoutlined = [each for each in labelled.get(name, ()) if each in known]
        asked = [*truths, *unoutlined, *foreign]
        found = ask(model, texts, rgb, [find_target(each).phrases[0] for each in asked])
        for target, each in zip(asked, found, strict=True):
            marked = (each.logits[0, 0] > 0).numpy()
            truth = truths.get(target, np.zeros(rgb.shape[:2], bool))
            total = int(marked.sum() + truth.sum())
            dice = 2 * int((marked & truth).sum()) / total if total else 1.0
            existence = float(each.existence.sigmoid()) if each.existence is not None else float("nan")
            outlined, size = target not in unoutlined, float(truth.mean())
            told, shown = target in truths or not outlined, bool(truth.any()) or not outlined
            yield Answer(root.name, target, name, told, shown, dice, float(marked.mean()), existence, size, outlined)


def bounds(values: list[float], seed: int = 0) -> tuple[float, float]:
    """The 95 % bootstrap interval of a mean."""
    array = np.array(values)
    drawn = np.random.default_rng(seed).integers(len(array), size=(RESAMPLES, len(array)))
    low, high = np.percentile(array[drawn].mean(axis=1), (2.5, 97.5))
    return float(low), float(high)


def interval(values: list[float]) -> str:
    """A mean and its 95 % bootstrap interval."""
    if not values:
        return "–"
    low, high = bounds(values)
    return f"{np.mean(values):.3f} [{low:.3f}, {high:.3f}]"


def score(found: list[Answer], images: dict[str, int], trained: set[tuple[str, str]]) -> list[TargetScore]:
    """Each target that some picture shows, with what may explain its Dice."""
    scores = []
    for target, count in images.items():
        shown = [each for each in found if each.target == target and each.present]
        if not shown:
            continue
        dice = [each.dice for each in shown]
        folders = {each.folder: [one.dice for one in shown if one.folder == each.folder] for each in shown}
        means = tuple((name, float(np.mean(own)), (name, target) in trained) for name, own in sorted(folders.items()))
        size = float(np.median([each.size for each in shown]))
        scores.append(TargetScore(target.replace("_", " "), count, float(np.mean(dice)), *bounds(dice), size, means))
    return scores


def auroc(present: list[float], absent: list[float]) -> str:
    """Chance that a picture that shows it scores higher than one that lacks it, as a cell of the table."""
    if not present or not absent:
        return "–"
    yes, no = np.array(present), np.array(absent)
    return f"{(yes[:, None] > no).mean() + (yes[:, None] == no).mean() / 2:.3f}"


def table(found: list[Answer], images: dict[str, int]) -> list[str]:
    """One row a target."""
    lines = [
        "| target | trained on | test pictures | Dice where present | median | found (existence > 0.5) | "
        "absent: told by a record, unmarked | lacked by its kind, unmarked | existence AUROC |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for target in images:
        own = [each for each in found if each.target == target]
        shown = [each for each in own if each.present]
        told = [each for each in own if not each.present and each.recorded]
        kind = [each for each in own if not each.present and not each.recorded]
        dice = [each.dice for each in shown]
        cells = [
            target.replace("_", " "),
            str(images[target]),
            str(len(shown)),
            interval(dice),
            f"{np.median(dice):.3f}" if dice else "–",
            share([each.existence > 0.5 for each in shown]),
            share([each.marked < QUIET for each in told]),
            share([each.marked < QUIET for each in kind]),
            auroc([each.existence for each in shown], [each.existence for each in told + kind]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def share(right: list[bool]) -> str:
    """How many of how many."""
    return f"{100 * float(np.mean(right)):.0f} % of {len(right)}" if right else "–"


def by_folder(found: list[Answer]) -> list[str]:
    """One row a folder and target."""
    lines = [
        "| data | target | pictures | Dice where present | found | unmarked where absent |",
        "|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[str, str], list[Answer]] = defaultdict(list)
    for each in found:
        if each.recorded:
            groups[each.folder, each.target].append(each)
    for (folder, target), own in sorted(groups.items()):
        shown = [each for each in own if each.present]
        rest = [each for each in own if not each.present]
        found_there, quiet = (
            share([each.existence > 0.5 for each in shown]),
            share([each.marked < QUIET for each in rest]),
        )
        lines.append(
            f"| {folder} | {target.replace('_', ' ')} | {len(own)} | {interval([each.dice for each in shown])} | "
            f"{found_there} | {quiet} |"
        )
    return lines


def by_label(found: list[Answer]) -> list[str]:
    """One row a folder and target that only labels tell of."""
    groups: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for each in found:
        groups[each.folder, each.target].append(each.existence > 0.5)
    rows = [
        f"| {folder} | {target.replace('_', ' ')} | {share(own)} |" for (folder, target), own in sorted(groups.items())
    ]
    return ["| data | target | found |", "|---|---|---|", *rows]


def main() -> None:
    """Ask, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("made", type=Path, nargs="*", help="folders of people kept back that the recipe made")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--split", default="test")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--figure", type=Path, default=FIGURE)
    parser.add_argument("--quick", action="store_true", help="every third folder, to see that it runs")
    args = parser.parse_args()
    learnt: Any = read_notes(find_checkpoint(args.model))["targets"]
    images: dict[str, int] = {name: each["pictures"] for name, each in learnt.items()}
    modalities = {name: set(each["modalities"]) for name, each in learnt.items()}
    folders: dict[str, dict[str, Any]] = tomllib.loads(TARGETS.read_text(encoding="utf-8"))
    model = load_segmenter(args.model).eval()
    roots = [
        root
        for kind in ("segmentation", "targets")
        for root in sorted((args.shared / kind).iterdir())
        if (root / "anns" / f"{args.split}.json").exists() and root.name in folders and root.name != "lung-tumor"
    ]
    roots = [*(roots[::3] if args.quick else roots), *args.made]
    found: list[Answer] = []
    with progress_bar() as bar:
        for root in bar.track(roots, description="Scoring"):
            folder = folders[root.name]
            found += answers(model, root, folder, list(images), lacking(folder, list(images), modalities), args.split)
    labelled, found = ([each for each in found if each.outlined == outlined] for outlined in (False, True))
    means = [
        float(np.mean(own)) for target in images if (own := [e.dice for e in found if e.target == target and e.present])
    ]
    lines = [
        "# What pocket reaches, target by target",
        "",
        f"Written by `python experiments/benchmarks/targets.py ../shared/data"
        f"{''.join(f' runs/data/{each.name}' for each in args.made)}`: {describe_setting()}. "
        f"Split: {args.split}.",
        *(line.strip() for line in (__doc__ or "").split("\n\n")[2].splitlines()),
        "",
        f"Mean Dice over {len(means)} targets: **{np.mean(means):.3f}**; {sum(each >= 0.7 for each in means)} of them "
        "have 0.70 or more. Intervals are 95 % bootstrap intervals over pictures.",
        "",
        *table(found, images),
        "",
        "## By data set",
        "",
        *by_folder(found),
        "",
        "## Shown by the labels of slices, outlined by nobody",
        "",
        *by_label(labelled),
    ]
    scores = score(found, images, list_trained(roots, TARGETS))
    draw(scores, args.figure)
    lines += [
        "",
        f"## Why below {LOW:.2f}",
        "",
        f"![Dice against training pictures](../images/{args.figure.name})",
        "",
        f"Filled points are objects that take under {SMALL:.0%} of the picture (median). {' '.join(correlate(scores))}",
        f"By the numbers alone: few are under {FEW} training pictures; data sets of a target are unlike where their "
        f"Dice differs by {UNLIKE:.1f} or more.",
        "",
        *explain(scores),
    ]
    write_text(args.out, "\n".join(lines) + "\n")
    print("\n".join(lines[6:]))


if __name__ == "__main__":
    main()
