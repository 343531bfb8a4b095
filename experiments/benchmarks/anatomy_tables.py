"""The paper's four systems, its two tables, its figures, and the ablation it lacks, on a tiny set of real slices.

    python experiments/benchmarks/anatomy_tables.py ../shared/data/anatomy

Trains pocket's projection on its trained trunk, and a small ViT-B/32 from nothing; writes
docs/results/anatomy-results.md and its figures. One thread, about a quarter of an hour.
"""

import argparse
import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from anatomy_set import VISIBLE_HUMAN, make_mednist, make_series
from setting import describe_setting

from vesalius.console import progress_bar
from vesalius.data.slices.dataset import AnatomySlices
from vesalius.data.slices.table import read_slice_table
from vesalius.evaluation.naming.encoding import EncodedSlices, encode_slices, score_labels
from vesalius.evaluation.naming.evaluate import LABEL_KINDS, AnatomyEvaluation, count_steps, evaluate_naming
from vesalius.evaluation.naming.label_scores import NamingSettings
from vesalius.evaluation.naming.measures import chance_of_top1, top1_in_set
from vesalius.evaluation.naming.page import write_naming_page
from vesalius.evaluation.statistics import Bootstrap
from vesalius.files import write_text
from vesalius.models import build_model
from vesalius.models.checkpoints import fill_model, load_model
from vesalius.models.encoder import VisionLanguageEncoder
from vesalius.models.pocket import PocketSegmenter
from vesalius.prompts.anatomy import ORGANS, PAPER_STATIONS, LabelKind
from vesalius.training.config import read_recipe
from vesalius.training.contrastive import ContrastiveConfig, fit_contrastive

ROOT = Path(__file__).parents[2]
RECIPES, IMAGES = ROOT / "recipes" / "anatomy", ROOT / "docs" / "images"
PAGE = ROOT / "docs" / "results" / "anatomy-results.md"
PAPER = {
    ("organs", "#1 MR"): (54, 62, 57, 91.62),
    ("organs", "#1 CT"): (33, 70.8, 63, 81.25),
    ("organs", "#2 CT"): (24, 58.5, 47, 81),
    ("stations", "#1 MR and CT"): (52, 49, 65, 75),
    ("stations", "#2 CT"): (45, 41, 60, 76),
}
"""Top-1 in set of PMC, PMC-M, PMC-MS and PMC-MSA in arXiv 2405.20735, per cent."""
TRAINED = {
    "PMC-M": ("pmc_m", "pmc_m"),
    "PMC-MS": ("pmc_ms", "pmc_ms"),
    "MS + image": ("pmc_ms", "pmc_msa"),
    "MS + text": ("pmc_msa", "pmc_ms"),
    "PMC-MSA": ("pmc_msa", "pmc_msa"),
}
"""System -> the recipe of its captions, and that of its images."""
SYSTEMS = ("PMC", "PMC-M", "PMC-MS", "PMC-MSA")
FIGURES = ("roc_organs", "contradictions", "trust_organs")
SETTINGS = NamingSettings(min_patients=1, stations=PAPER_STATIONS, bootstrap=Bootstrap(resamples=200))


@dataclass(frozen=True)
class Start:
    """A model to begin with, and how fast it learns."""

    title: str
    build: Mapping[str, object]
    learning_rate: float
    trained: bool


STARTS = {
    "pocket": Start(
        "pocket's trunk, 160 px; only its projection trains, from nothing", {"image_size": 160}, 2e-3, trained=True
    ),
    "clip_vit_b32": Start(
        "ViT-B/32 of 3 layers, 128 wide, 96 px, random start",
        {"image_size": 96, "width": 128, "text_width": 128, "layers": 3},
        5e-4,
        trained=False,
    ),
}


def main() -> None:
    """Make slices, train, evaluate, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "anatomy-tables")
    parser.add_argument("--steps", type=int, default=40, help="of every trained system")
    args = parser.parse_args()
    folders = [args.work / "series", args.work / "mednist"]
    with progress_bar() as bar:
        bar.add_task("Cutting slices", total=None)
        make_series(args.shared, folders[0])
        make_mednist(args.shared / "mednist.tar", folders[1])
    parts = [
        "# The paper's systems on a tiny set",
        f"Written by `python experiments/benchmarks/anatomy_tables.py ../shared/data/anatomy`: {describe_setting()}.",
        _describe(folders, args.steps),
    ]
    for name, start in STARTS.items():
        systems = train_systems(name, start, folders, args.work / name, args.steps)
        parts += report(name, start, systems, folders, args.work / name)
    write_text(PAGE, "\n\n".join(parts) + "\n")


def train_systems(
    name: str, start: Start, folders: Sequence[Path], work: Path, steps: int
) -> dict[str, VisionLanguageEncoder]:
    """PMC, which is the start itself, and every trained system, in evaluation mode."""
    systems = {"PMC": begin(name, start)}
    for system, (captions, images) in TRAINED.items():
        tables = {**read_recipe(RECIPES / f"{captions}.toml"), "augment": {}}
        tables["augment"] = read_recipe(RECIPES / f"{images}.toml").get("augment", {})
        given = {"learning_rate": start.learning_rate, "batch_size": 32, "max_steps": steps, "max_epochs": 1000}
        model = begin(name, start)
        config = ContrastiveConfig.from_dict(tables | given).for_model(model, tables)
        out = work / system.replace(" ", "")
        # The last weights, not the best: all systems take the same number of steps.
        fit_contrastive(model, folders, out, dataclasses.replace(config, patience=1000))
        systems[system] = model.eval()
    return systems


def begin(name: str, start: Start) -> VisionLanguageEncoder:
    """The model before training."""
    torch.manual_seed(0)
    model = build_model(name, **start.build)  # type: ignore[arg-type]  # options of these models
    if start.trained:
        fill_model(model, load_model(name).state_dict(), name)
    if isinstance(model, PocketSegmenter):
        # The head that the package carries was trained on most of these series.
        torch.manual_seed(0)
        for layer in (model.projection.layers[0], model.projection.layers[2]):
            layer.reset_parameters()  # type: ignore[operator]  # linear layers
    return model.eval()


def report(
    name: str, start: Start, systems: Mapping[str, VisionLanguageEncoder], folders: Sequence[Path], work: Path
) -> list[str]:
    """Tables and figures of one start."""
    encoded = {system: encode_tests(model, folders) for system, model in systems.items()}
    evaluations = evaluate(systems, encoded, folders)
    shown = [each for each in evaluations if each.name in SYSTEMS]
    write_naming_page(shown, work / "page", start.title, "Tiny set.")
    for figure in FIGURES:
        shutil.copyfile(work / "page" / f"{figure}.svg", IMAGES / f"anatomy_{name}_{figure}.svg")
    figures = "\n\n".join(f"![{figure}](images/anatomy_{name}_{figure}.svg)" for figure in FIGURES)
    return [
        f"## {start.title}",
        _paper_table(systems, encoded),
        "### The same number of steps, image augmentation × language augmentation",
        _ablation(evaluations, systems, encoded),
        "### One-versus-rest ROC, preference for true captions, reliability and abstention",
        "All test slices, MedNIST's among them; the paper shows the first two for its own.",
        figures,
    ]


def encode_tests(model: VisionLanguageEncoder, folders: Sequence[Path]) -> dict[str, EncodedSlices]:
    """Encoded slices of every test set, and of validation."""
    series, mednist = folders
    everything = encode_slices(model, AnatomySlices(series, "test"))
    volumes = np.array([row.volume for row in read_slice_table(series) if row.split == "test"])
    modality = np.array([label.modality for label in everything.shown])
    second = volumes == VISIBLE_HUMAN
    return {
        "#1 MR": take(everything, modality == "MR"),
        "#1 CT": take(everything, (modality == "CT") & ~second),
        "#1 MR and CT": take(everything, ~second),
        "#2 CT": take(everything, second),
        "MedNIST": encode_slices(model, AnatomySlices(mednist, "test")),
        "series": everything,
        "val": encode_slices(model, AnatomySlices(mednist, "val")),
    }


def take(slices: EncodedSlices, chosen: np.ndarray) -> EncodedSlices:
    """Some of them."""
    rows = np.flatnonzero(chosen)
    shown, patients = tuple(slices.shown[row] for row in rows), tuple(slices.patients[row] for row in rows)
    return EncodedSlices(slices.vectors[torch.from_numpy(rows)], shown, patients)


def join(one: EncodedSlices, other: EncodedSlices) -> EncodedSlices:
    """Both."""
    vectors = torch.cat([one.vectors, other.vectors])
    return EncodedSlices(vectors, one.shown + other.shown, one.patients + other.patients)


def evaluate(
    systems: Mapping[str, VisionLanguageEncoder],
    encoded: Mapping[str, Mapping[str, EncodedSlices]],
    folders: Sequence[Path],
) -> list[AnatomyEvaluation]:
    """Every system on all test slices."""
    found = []
    with progress_bar() as bar:
        for system, model in systems.items():
            sets = encoded[system]
            test = join(sets["series"], sets["MedNIST"])
            task = bar.add_task(f"Evaluating {system}", total=count_steps(sets["val"], test, SETTINGS))
            found.append(evaluate_naming(model, sets["val"], test, system, SETTINGS, partial(bar.advance, task)))
    return found


def top1(model: VisionLanguageEncoder, slices: EncodedSlices, label_kind: LabelKind) -> tuple[float, float, int]:
    """Accuracy, chance, and how many slices count."""
    labels = ORGANS if label_kind == "organs" else PAPER_STATIONS
    case = score_labels(model, slices, label_kind, labels)
    hits = top1_in_set(case)
    return float(np.nanmean(hits)), chance_of_top1(case), int((~np.isnan(hits)).sum())


def _paper_table(
    systems: Mapping[str, VisionLanguageEncoder], encoded: Mapping[str, Mapping[str, EncodedSlices]]
) -> str:
    lines = [f"| top-1 in set, % | slices | chance | {' | '.join(SYSTEMS)} | the paper's |", "|---|" + "---:|" * 7]
    rows: list[tuple[LabelKind, str]] = [(label_kind, name) for label_kind, name in PAPER]  # type: ignore[misc]
    for label_kind, name in [*rows, ("organs", "MedNIST"), ("stations", "MedNIST")]:
        found = [top1(systems[system], encoded[system][name], label_kind) for system in SYSTEMS]
        theirs = PAPER.get((label_kind, name))
        cells = " | ".join(f"{100 * each[0]:.0f}" for each in found)
        reference = "–" if theirs is None else " · ".join(f"{each:g}" for each in theirs)
        lines.append(f"| {label_kind}, {name} | {found[0][2]} | {100 * found[0][1]:.0f} | {cells} | {reference} |")
    return "\n".join(lines)


def _ablation(
    evaluations: Sequence[AnatomyEvaluation],
    systems: Mapping[str, VisionLanguageEncoder],
    encoded: Mapping[str, Mapping[str, EncodedSlices]],
) -> str:
    lines = [
        "| captions | images | organs, top-1 % | stations, top-1 % | right station preferred, % of pairs |",
        "|---|---|---:|---:|---:|",
    ]
    kinds = {"PMC-MS": ("fixed", "as they are"), "MS + image": ("fixed", "augmented")}
    kinds |= {"MS + text": ("augmented", "as they are"), "PMC-MSA": ("augmented", "augmented")}
    by_name = {each.name: each for each in evaluations}
    for system, kind in kinds.items():
        rates = [top1(systems[system], encoded[system]["series"], named)[0] for named in LABEL_KINDS]
        wins = by_name[system].contradictions.get("stations")
        preferred = "–" if wins is None else f"{100 * wins.win_rate.value:.0f}"
        lines.append(f"| {' | '.join(kind)} | {' | '.join(f'{100 * each:.0f}' for each in rates)} | {preferred} |")
    return "\n".join(lines)


def _describe(folders: Sequence[Path], steps: int) -> str:
    rows = [row for folder in folders for row in read_slice_table(folder)]
    counts = {split: sum(row.split == split for row in rows) for split in ("train", "val", "test")}
    return (
        f"**No reproduction.** {counts['train']} training slices ({steps} steps of 32), {counts['val']} for validation "
        f"and {counts['test']} to test, of a handful of people and MedNIST's thumbnails; no PubMedCLIP weights: PMC is "
        "each model before this training, which has learnt no names. Set #1 MR: two brain series of one person, a knee "
        "(whose other series was trained on) and an abdomen; #1 CT: one chest; #2: the Visible Human's head, shades "
        "turned to Hounsfield units by estimate. A model that has learnt nothing may say the same of every slice, and "
        "be right of all or none. One seed, and no intervals in the tables: with one to four people a set there is "
        "nothing to draw from. The paper's column stands there for the shape of its table alone. Stations are the "
        "paper's five."
    )


if __name__ == "__main__":
    main()
