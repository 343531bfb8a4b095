"""Which loss, and which captions, teach names best where captions repeat: a simulation without images.

    python experiments/benchmarks/repeated_captions.py

Labels are drawn as bodies are built, features from labels (synthetic_anatomy.py); a small image tower and a small text
transformer learn from nothing else. One CPU thread, about ten minutes. Writes docs/results/contrastive-simulation.md.
"""

import argparse
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.stats import t as student
from setting import describe_setting
from synthetic_anatomy import Scanner, draw_distinct
from synthetic_towers import Towers
from torch import Tensor

from vesalius.console import progress_bar
from vesalius.files import write_text
from vesalius.prompts.anatomy import (
    ORGANS,
    PLANES,
    PROTOCOLS,
    STATIONS,
    AnatomyLabel,
    Statement,
    stations_of,
    write_captions,
)
from vesalius.prompts.anatomy_captions import (
    PLAIN,
    CaptionMix,
    contradictions,
    draw_caption,
    match_statements,
    word_statement,
)
from vesalius.training.losses import (
    KINDS,
    ContrastiveKind,
    ContrastiveLoss,
    bound_scale,
    similarity_logits,
    start_bias,
)

OUT = Path(__file__).parents[2] / "docs" / "results" / "contrastive-simulation.md"
MIXES = {
    "fixed": PLAIN,
    "reworded": replace(PLAIN, shuffle=1),
    "augmented": CaptionMix(),
}
DISTINCT = (16, 64, 512)
BATCH, TRAIN, TEST, NOISE = 64, 2048, 512, 1.5
STEPS, LEARNING_RATE = 400, 3e-3
CONFIDENCE = 0.95
FIGURES = {
    "organ": "organ, top-1 in set",
    "ap": "organs, macro AP",
    "full_ap": "organs, macro AP, full prompts",
    "station": "station, top-1 in set",
    "implied": "organ prompt implies its station",
    "wins": "right station beats wrong",
}
Cell = tuple[ContrastiveKind, str, int]
"""Loss, captions, distinct labels."""
Found = dict[Cell, list[dict[str, float]]]
"""Figures of each seed."""


@dataclass(frozen=True)
class Data:
    """Images of one seed."""

    train: list[AnatomyLabel]
    train_features: Tensor
    test: list[AnatomyLabel]
    test_features: Tensor


def draw_data(distinct: int, seed: int) -> Data:
    """Training and test images that share some labels; losses see the same."""
    generator = np.random.default_rng([seed, distinct])
    scanner = Scanner(NOISE, generator)
    labels = draw_distinct(distinct, generator)
    train, test = ([labels[index] for index in generator.integers(distinct, size=size)] for size in (TRAIN, TEST))
    train_features, test_features = (torch.from_numpy(scanner.scan(part, generator)) for part in (train, test))
    return Data(train, train_features, test, test_features)


@dataclass(frozen=True)
class Batch:
    """Images and captions of one step, the same for every loss."""

    rows: Tensor
    texts: list[str]
    true: Tensor
    known: Tensor

    @property
    def shared(self) -> float:
        """Share of the images of which a caption is true that is not their own."""
        return (self.true.sum(1) > 1).double().mean().item()


def draw_batches(data: Data, mix: CaptionMix, seed: int) -> list[Batch]:
    """What every loss is trained on."""
    generator, batches = np.random.default_rng([seed, 1]), []
    for _ in range(STEPS):
        rows = generator.choice(TRAIN, BATCH, replace=False)
        labels = [data.train[row] for row in rows]
        captions = [draw_caption(label, mix, generator) for label in labels]
        truth = match_statements(labels, [caption.asserts for caption in captions])
        texts = [caption.text for caption in captions]
        batches.append(
            Batch(torch.from_numpy(rows), texts, torch.from_numpy(truth.true), torch.from_numpy(truth.known))
        )
    return batches


def train(kind: ContrastiveKind, seed: int, data: Data, batches: Sequence[Batch]) -> Towers:
    """A model from the same start, over the same batches."""
    torch.manual_seed(seed)
    model, loss = Towers(), ContrastiveLoss(kind)
    if kind == "siglip":
        start_apart(model, data, batches[0])
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=len(batches))
    for batch in batches:
        optimizer.zero_grad()
        loss(compare(model, data, batch), batch.true, batch.known).backward()
        optimizer.step()
        schedule.step()
        bound_scale(model.log_scale)
    return model.eval()


def compare(model: Towers, data: Data, batch: Batch) -> Tensor:
    """Logits of a batch."""
    images = model.encode_image(data.train_features[batch.rows]).embedding
    return similarity_logits(images, model.read(batch.texts), model.log_scale, model.bias)


@torch.no_grad()
def start_apart(model: Towers, data: Data, batch: Batch) -> None:
    """SigLIP's temperature, and the bias at the base rate."""
    model.log_scale.fill_(math.log(10))
    model.bias.fill_(start_bias(compare(model, data, batch), batch.true, batch.known))


def name_vectors(model: Towers, statements: Sequence[Statement]) -> Tensor:
    """One unit vector a statement, the mean over all its wordings."""
    means = [model.encode_text(write_captions(statement)).embedding.mean(0) for statement in statements]
    return F.normalize(torch.stack(means), dim=1)


@torch.no_grad()
def measure(model: Towers, data: Data) -> dict[str, float]:
    """All figures of one model."""
    images = model.encode_image(data.test_features).embedding
    organs = name_vectors(model, [Statement(organs=frozenset({organ})) for organ in ORGANS])
    stations = name_vectors(model, [Statement(stations=frozenset({station})) for station in STATIONS])
    shown = np.array([[organ in label.organs for organ in ORGANS] for label in data.test])
    where = np.array([[station in label.stations for station in STATIONS] for label in data.test])
    home = np.array([[station in stations_of(organ) for station in STATIONS] for organ in ORGANS])
    organ_scores = (images @ organs.T).numpy()
    return {
        "organ": top_in_set(organ_scores, shown),
        "ap": macro_ap(organ_scores, shown),
        "full_ap": macro_ap((images @ full_vectors(model).T).numpy(), shown),
        "station": top_in_set((images @ stations.T).numpy(), where),
        "implied": top_in_set((organs @ stations.T).numpy(), home),
        "wins": contradict(model, images, data.test),
    }


def full_vectors(model: Towers) -> Tensor:
    """One unit vector an organ: captions with its station, in the wording that all towers have seen, averaged."""
    vectors = []
    for organ in ORGANS:
        scanned = itertools.product(PLANES, (None, *PROTOCOLS), sorted(stations_of(organ)))
        texts = [
            word_plainly(
                Statement("MR" if protocol else "CT", protocol, plane, frozenset({station}), frozenset({organ}))
            )
            for plane, protocol, station in scanned
        ]
        vectors.append(model.read(texts).mean(0))
    return F.normalize(torch.stack(vectors), dim=1)


def word_plainly(statement: Statement) -> str:
    """The paper's caption, without augmentation."""
    return word_statement(statement, PLAIN, np.random.default_rng(0)).text


def contradict(model: Towers, images: Tensor, labels: Sequence[AnatomyLabel]) -> float:
    """How often a right organ's right station scores above a wrong one, in the paper's wording; equal is half."""
    differences = []
    for image, label in zip(images, labels, strict=True):
        organ = min(label.organs)
        right = replace(
            Statement(label.modality, label.protocol, label.plane),
            stations=frozenset(sorted(stations_of(organ) & label.stations)[:1]),
            organs=frozenset({organ}),
        )
        statements = (right, *contradictions(label, "stations", right))
        scores = model.read([word_plainly(each) for each in statements]) @ image
        differences.append(scores[0] - scores[1:])
    return ((torch.cat(differences).sign() + 1) / 2).mean().item()


def top_in_set(scores: NDArray[np.float32], truth: NDArray[np.bool_]) -> float:
    """Share of rows whose highest score is a true one."""
    return float(truth[np.arange(len(truth)), scores.argmax(1)].mean())


def macro_ap(scores: NDArray[np.float32], truth: NDArray[np.bool_]) -> float:
    """Mean over columns of which any row is true."""
    columns = zip(scores.T, truth.T, strict=True)
    return float(np.mean([average_precision(score, true) for score, true in columns if true.any()]))


def average_precision(scores: NDArray[np.float32], truth: NDArray[np.bool_]) -> float:
    """Mean precision at each true one, in order of score."""
    hits = truth[np.argsort(-scores)]
    return float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())


def simulate(seeds: Sequence[int]) -> tuple[Found, dict[tuple[str, int], list[float]]]:
    """Every cell of the grid; and, for captions and number of labels, how many images share a caption's truth."""
    found: Found = {}
    shares: dict[tuple[str, int], list[float]] = {}
    cells = [(captions, distinct) for distinct in DISTINCT for captions in MIXES]
    with progress_bar() as bar:
        task = bar.add_task("models", total=len(cells) * len(seeds) * len(KINDS))
        for (captions, distinct), seed in itertools.product(cells, seeds):
            data = draw_data(distinct, seed)
            batches = draw_batches(data, MIXES[captions], seed)
            shares.setdefault((captions, distinct), []).append(float(np.mean([batch.shared for batch in batches])))
            for kind in KINDS:
                model = train(kind, seed, data, batches)
                found.setdefault((kind, captions, distinct), []).append(measure(model, data))
                bar.advance(task)
    return found, shares


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half the length of Student's interval over seeds."""
    half = student.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
    return float(np.mean(values)), float(half)


def show(values: Sequence[float]) -> str:
    """In per cent."""
    mean, half = (100 * each for each in interval(values))
    return f"{mean:.1f} ± {half:.1f}"


def show_difference(after: Sequence[float], before: Sequence[float]) -> str:
    """In points, seed by seed; bold where the interval leaves 0 out."""
    mean, half = (100 * each for each in interval([a - b for a, b in zip(after, before, strict=True)]))
    text = f"{mean:+.1f} ± {half:.1f}"
    return f"**{text}**" if abs(mean) > half else text


def column(found: Found, cell: Cell, figure: str) -> list[float]:
    """One figure of every seed."""
    return [figures[figure] for figures in found[cell]]


def show_differences(found: Found, after: Cell, before: Cell) -> list[str]:
    """Of every figure."""
    return [show_difference(column(found, after, figure), column(found, before, figure)) for figure in FIGURES]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Markdown."""
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def table_of_levels(found: Found) -> list[str]:
    """Every figure of every loss and caption, with the most labels."""
    rows = [
        [captions, kind, *(show(column(found, (kind, captions, DISTINCT[-1]), figure)) for figure in FIGURES)]
        for captions, kind in itertools.product(MIXES, KINDS)
    ]
    return table(["captions", "loss", *FIGURES.values()], rows)


def table_of_losses(found: Found, shares: dict[tuple[str, int], list[float]]) -> list[str]:
    """The other losses less the paper's, as fewer labels make captions repeat."""
    rows = []
    for captions, distinct, kind in itertools.product(MIXES, DISTINCT, KINDS[1:]):
        differences = show_differences(found, (kind, captions, distinct), ("paper", captions, distinct))
        rows.append([captions, str(distinct), show(shares[captions, distinct]), kind, *differences])
    return table(["captions", "labels", "images with another's caption true, %", "loss", *FIGURES.values()], rows)


def table_of_captions(found: Found) -> list[str]:
    """Rewording, and rewording with dropping, less fixed captions."""
    rows = []
    for distinct, kind, captions in itertools.product(DISTINCT, KINDS, tuple(MIXES)[1:]):
        differences = show_differences(found, (kind, captions, distinct), (kind, "fixed", distinct))
        rows.append([str(distinct), kind, captions, *differences])
    return table(["labels", "loss", "captions", *FIGURES.values()], rows)


def page(found: Found, shares: dict[tuple[str, int], list[float]], seeds: Sequence[int]) -> str:
    """The whole page as Markdown."""
    lines = [
        "# Losses and captions where captions repeat: a simulation",
        "",
        f"Written by `python experiments/benchmarks/repeated_captions.py`: {describe_setting()}.",
        f"No images: {TRAIN} training and {TEST} test slices are drawn from a model of the body. Their features are",
        "sums of a random code for every organ, station, plane and modality, and noise whose length is that of",
        f"{NOISE} organs' codes. A small image tower and a text transformer of one layer start from random weights,",
        f"the same for every loss, and see the same {STEPS} batches of {BATCH}; AdamW, one cycle to {LEARNING_RATE}.",
        "The test slices are new and show what training slices show. Per cent, mean ± half the length of the",
        f"{CONFIDENCE:.0%} interval over seeds {seeds[0]} to {seeds[-1]} (Student's t). Differences are taken seed by",
        "seed, and bold where the interval leaves 0 out; nothing corrects for their number.",
        "",
        "Captions: *fixed*, the paper's template with all that is known; *reworded*, any template and order of names;",
        "*augmented*, also leaving out station, organs, plane or protocol (the defaults of `CaptionMix`). Prompts name",
        "the organ or station alone, in all wordings, averaged. *Full prompts* are fixed captions of organ and",
        "station, averaged over planes and modalities. *Organ prompt implies its station*: the nearest station prompt",
        "is one of the organ's. *Right station beats wrong*: in a fixed caption of an organ that shows, the right",
        "station scores above each wrong one.",
        "",
        f"## Every figure, {DISTINCT[-1]} distinct labels",
        "",
        *table_of_levels(found),
        "",
        "## Other losses less the paper's",
        "",
        *table_of_losses(found, shares),
        "",
        "## Other captions less fixed ones",
        "",
        *table_of_captions(found),
        "",
        "What follows from it: [contrastive.md](contrastive.md).",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Simulate, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(1, args.seeds + 1)
    text = page(*simulate(seeds), seeds)
    write_text(args.out, text)
    print(text)


if __name__ == "__main__":
    main()
