"""Train CLIPSeg's decoder with and without stored features, and compare time and losses, in one run.

    python experiments/benchmarks/feature_store.py ../shared/data/segmentation/kvasir_polyp

The same random weights, images, order, prompts and augmentation, three times: without a store, with one in float32 and
with one in float16. What counts is the processor's time, so that whatever else the machine does disturbs little.
Writes docs/results/feature-store.md.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

import torch
from pytorch_lightning import LightningModule, Trainer
from setting import describe_setting

from vesalius.data.catalog import read_catalog
from vesalius.data.features import StoreConfig
from vesalius.files import write_text
from vesalius.models import build_model
from vesalius.models.registry import as_segmenter
from vesalius.training.callbacks import History
from vesalius.training.config import TrainConfig
from vesalius.training.fit import fit

OUT = Path(__file__).parents[2] / "docs" / "results" / "feature-store.md"
CONFIG = TrainConfig(learning_rate=1e-3, cached_augmentations=1)
WAYS = {
    "without": StoreConfig(on=False),
    "float32": StoreConfig(dtype="float32"),
    "float16": StoreConfig(dtype="float16"),
}


class Clock(History):
    """The history, with the processor's time at the end of each epoch."""

    def __init__(self, path: Path, monitor: str) -> None:
        super().__init__(path, monitor)
        self.times: list[float] = []
        self.losses: list[tuple[float, float]] = []
        runs.append(self)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """The first epoch begins."""
        super().on_train_start(trainer, module)
        self.times.append(time.process_time())

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """An epoch with its validation, and what it saved, is over."""
        super().on_train_epoch_end(trainer, module)
        self.times.append(time.process_time())
        metrics = trainer.callback_metrics
        self.losses.append((float(metrics["train_loss"]), float(metrics["val_loss"])))


runs: list[Clock] = []


@dataclass(frozen=True)
class Figures:
    """What one way of training came to."""

    before: float
    """Processor seconds before the first epoch: the store's building, if any."""
    epochs: Sequence[float]
    """Processor seconds of each."""
    losses: Sequence[tuple[float, float]]
    """Of training and validation, in each epoch."""
    bytes: int
    """On disk."""

    @property
    def later(self) -> float:
        """Processor seconds of an epoch from the second on."""
        return sum(self.epochs[1:]) / len(self.epochs[1:])

    def differs(self, other: "Figures") -> float:
        """Largest difference between losses."""
        pairs = zip(self.losses, other.losses, strict=True)
        return max(abs(mine[kind] - its[kind]) for mine, its in pairs for kind in range(2))


def take(data: Path, folder: Path, images: dict[str, int]) -> Path:
    """The first images of the training and validation splits, as a data set of the same name."""
    root = folder / data.name
    (root / "anns").mkdir(parents=True)
    for part in ("images", "masks"):
        (root / part).symlink_to((data / part).resolve())
    for split, count in images.items():
        rows = json.loads((data / "anns" / f"{split}.json").read_text(encoding="utf-8"))
        (root / "anns" / f"{split}.json").write_text(json.dumps(rows[:count]), encoding="utf-8")
    return root


def train(data: Path, folder: Path, store: StoreConfig, epochs: int) -> Figures:
    """One run from the same start."""
    torch.manual_seed(0)
    model, started = as_segmenter(build_model("clipseg")), time.process_time()
    config = replace(CONFIG, store=store, max_epochs=epochs, min_epochs=epochs)
    fit(model, [data], folder, config)
    features = folder / "features"
    kept = sum(path.stat().st_size for path in features.rglob("rows.bin")) if features.is_dir() else 0
    times = runs[-1].times
    figures = Figures(
        times[0] - started, [b - a for a, b in zip(times, times[1:], strict=False)], runs[-1].losses, kept
    )
    shutil.rmtree(folder)
    return figures


def page(found: dict[str, Figures], images: dict[str, int], data: Path) -> str:
    """The whole page as Markdown."""
    plain, pictures = found["without"], sum(images.values())
    lines = [
        "# Training from stored features",
        "",
        f"Written by `python experiments/benchmarks/feature_store.py`: {describe_setting()}.",
        "The decoder of CLIPSeg at 352 px, from random weights that are the same in all runs;",
        f"{images['train']} training and {images['val']} validation images of {read_catalog()[data.name].title}, "
        f"batches of {CONFIG.batch_size},",
        f"one augmented view of each image, {len(plain.epochs)} epochs. Processor seconds, on one thread; an epoch",
        "includes its validation and saving the weights.",
        "",
        "| store | before the first epoch | first epoch | each later one | **times as fast** | a picture on disk "
        "| largest difference of a loss |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, each in found.items():
        size = f"{each.bytes / pictures:,.0f} bytes" if each.bytes else "–"
        difference = f"{each.differs(plain):.0e}" if each is not plain else "–"
        times = f"{each.before:.1f} | {each.epochs[0]:.1f} | {each.later:.1f} | **{plain.later / each.later:.1f}**"
        lines.append(f"| {name} | {times} | {size} | {difference} |")
    lines += ["", "Losses of training and validation, epoch by epoch:", "", "| epoch | " + " | ".join(found) + " |"]
    lines.append("|---" * (1 + len(found)) + "|")
    for epoch in range(len(plain.epochs)):
        cells = (f"{each.losses[epoch][0]:.6f}, {each.losses[epoch][1]:.6f}" for each in found.values())
        lines.append(f"| {epoch + 1} | " + " | ".join(cells) + " |")
    lines += ["", "How to use it: [training](training.md#stored-features)."]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--train", type=int, default=100)
    parser.add_argument("--val", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    torch.set_num_threads(1)
    images = {"train": args.train, "val": args.val}
    with tempfile.TemporaryDirectory() as folder, patch("vesalius.training.fit.History", Clock):
        data = take(args.data, Path(folder), images)
        found = {name: train(data, Path(folder) / name, store, args.epochs) for name, store in WAYS.items()}
    text = page(found, images, args.data)
    write_text(args.out, text)
    print(text)


if __name__ == "__main__":
    main()
