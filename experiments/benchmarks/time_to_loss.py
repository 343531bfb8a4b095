"""Train CLIPSeg as the benchmark does and as we do, and compare the time until the validation loss is the same.

    python experiments/benchmarks/time_to_loss.py ../shared/data/segmentation/kvasir_polyp

The benchmark's way (Poudel et al., MIDL 2024): transformers' CLIPSeg with frozen encoders, and a loop over a DataLoader
that computes everything in every step. Ours: ``fit``, without stored features and with them. All begin with the same
weights and see the same batches. Writes docs/results/time-to-loss.md. Needs transformers, which comes with
`pip install -e .[dev]`.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from unittest.mock import patch

import torch
from feature_store import take
from pytorch_lightning import LightningModule, Trainer
from setting import describe_setting
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

from vesalius.console import progress_bar
from vesalius.data.catalog import read_catalog
from vesalius.data.datasets import SegmentationDataset
from vesalius.data.features import StoreConfig
from vesalius.data.loading import Batches, Pool
from vesalius.data.views import Batch, PromptedSample, TrainingView, ValidationView, View, collate
from vesalius.files import write_text
from vesalius.models import MaskPrediction, Segmenter, build_model
from vesalius.models.checkpoints import fill_model
from vesalius.models.encoder import EncoderSpec
from vesalius.models.foreign import LAYOUTS
from vesalius.models.registry import as_segmenter
from vesalius.models.tokenizers import ClipTokenizer
from vesalius.training.callbacks import History
from vesalius.training.config import TrainConfig
from vesalius.training.fit import fit
from vesalius.training.losses import segmentation_loss

OUT = Path(__file__).parents[2] / "docs" / "results" / "time-to-loss.md"
CONFIG = TrainConfig(learning_rate=1e-3, cached_augmentations=1)
SIZE = 352
PROMPT = "p1"
TOLERANCE = 1e-4
"""A loss this much above another counts as equal: sums in another order differ in their last digits."""
OURS = {
    "Vesalius, nothing stored": StoreConfig(on=False),
    "Vesalius, stored features": StoreConfig(dtype="float32"),
}


@dataclass(frozen=True)
class Moment:
    """The end of an epoch, its validation included."""

    val_loss: float
    processor: float
    """Seconds since training was asked for."""
    wall: float
    """The same, on the clock."""


class Stopwatch:
    """Moments since it was made."""

    def __init__(self) -> None:
        self._start = time.process_time(), time.perf_counter()
        self.moments: list[Moment] = []

    def note(self, val_loss: float) -> None:
        """An epoch is over."""
        processor, wall = (now() - start for now, start in zip(_CLOCKS, self._start, strict=True))
        self.moments.append(Moment(val_loss, processor, wall))


_CLOCKS: tuple[Callable[[], float], ...] = (time.process_time, time.perf_counter)


def build_theirs() -> CLIPSegForImageSegmentation:
    """CLIPSeg as published, untrained, with both encoders frozen as in the benchmark."""
    torch.manual_seed(0)
    config = CLIPSegConfig(
        vision_config={"patch_size": 16},
        text_config={"eos_token_id": 49407},
        use_complex_transposed_convolution=True,
        extract_layers=[3, 6, 9],
    )
    model = CLIPSegForImageSegmentation(config)
    for layer in model.decoder.modules():
        # transformers draws untrained decoders with a deviation of 1, from which logits begin in the hundreds.
        if isinstance(layer, nn.Linear | nn.LayerNorm | nn.Conv2d | nn.ConvTranspose2d):
            layer.reset_parameters()
    model.clip.requires_grad_(False)
    return model


def build_ours(theirs: CLIPSegForImageSegmentation) -> Segmenter:
    """The same weights in our model, which leaves out the blocks that nothing reads."""
    recipe, tensors = LAYOUTS["transformers-clipseg"].convert(theirs.state_dict())
    model = as_segmenter(build_model(recipe.name, **recipe.options))
    kept = {name: tensors[name].clone() for name in model.state_dict()}
    return fill_model(model, kept, "transformers")


def load(data: Path, split: str, *, shuffle: bool) -> Iterator[DataLoader[PromptedSample]]:
    """The batches that ``fit`` sees, epoch by epoch, from a plain loader."""
    source = SegmentationDataset(data, split)
    view: View = ValidationView(source, SIZE)
    if shuffle:
        view = TrainingView(
            source,
            SIZE,
            CONFIG.augment,
            CONFIG.prompts,
            seed=CONFIG.seed,
            cached_augmentations=CONFIG.cached_augmentations,
        )
    pool = Pool([view])
    batches = Batches(len(pool), CONFIG.batch_size, seed=CONFIG.seed if shuffle else None, drop_rest=shuffle)
    for batches.epoch in count():
        yield DataLoader(pool, batch_sampler=batches, collate_fn=collate)


def loss_of(model: CLIPSegForImageSegmentation, batch: Batch) -> Tensor:
    """Of one batch, all of it computed; prompts are as long as the benchmark makes them."""
    tokens = ClipTokenizer()(batch.prompts)
    pixels = EncoderSpec(SIZE).prepare(batch.images)
    given = {"input_ids": tokens.input_ids, "attention_mask": tokens.attention_mask, "pixel_values": pixels}
    logits = model(**given, interpolate_pos_encoding=True).logits
    return segmentation_loss(MaskPrediction(logits[:, None]), batch.masks, CONFIG.loss)


def train_plainly(data: Path, epochs: int) -> list[Moment]:
    """The benchmark's way."""
    model = build_theirs().train()
    watch = Stopwatch()
    trains = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trains, lr=CONFIG.learning_rate, weight_decay=CONFIG.weight_decay)
    loaders = zip(load(data, "train", shuffle=True), load(data, "val", shuffle=False), strict=True)
    with progress_bar() as bar:
        for _, (train, val) in zip(range(epochs), loaders, strict=False):
            for batch in bar.track(train, description="transformers, training"):
                optimizer.zero_grad()
                loss_of(model, batch).backward()
                torch.nn.utils.clip_grad_norm_(trains, CONFIG.gradient_clip_norm)
                optimizer.step()
            watch.note(validate(model, val))
    return watch.moments


@torch.no_grad()
def validate(model: CLIPSegForImageSegmentation, val: DataLoader[PromptedSample]) -> float:
    """Mean loss over the images."""
    model.eval()
    losses = [(loss_of(model, batch).item(), len(batch.prompts)) for batch in val]
    model.train()
    return sum(loss * images for loss, images in losses) / sum(images for _, images in losses)


def train_ours(data: Path, folder: Path, store: StoreConfig, epochs: int) -> list[Moment]:
    """``fit``, with what it saves after every epoch."""

    class Timed(History):
        def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
            super().on_train_epoch_end(trainer, module)
            watch.note(float(trainer.callback_metrics["val_loss"]))

    model, config = build_ours(build_theirs()), replace(CONFIG, store=store, max_epochs=epochs, min_epochs=epochs)
    watch = Stopwatch()
    with patch("vesalius.training.fit.History", Timed):
        fit(model, [data], folder, config)
    return watch.moments


def keep_prompt(data: Path) -> None:
    """Leave every record one prompt."""
    for path in (data / "anns").iterdir():
        rows = json.loads(path.read_text(encoding="utf-8"))
        one = [row | {"prompts": {PROMPT: row["prompts"][PROMPT]}} for row in rows]
        path.write_text(json.dumps(one), encoding="utf-8")


def reach(moments: list[Moment], loss: float) -> tuple[int, Moment]:
    """The first epoch, from 1, after which a loss is reached."""
    for epoch, moment in enumerate(moments, start=1):
        if moment.val_loss <= loss + TOLERANCE:
            return epoch, moment
    raise SystemExit(f"a validation loss of {loss:.6f} was not reached: {moments}")


def page(found: dict[str, list[Moment]], images: dict[str, int], data: Path) -> str:
    """The whole page as Markdown."""
    first, *_ = found.values()
    goal = min(first, key=lambda moment: moment.val_loss)
    lines = [
        "# Time to the same validation loss",
        "",
        f"Written by `python experiments/benchmarks/time_to_loss.py`: {describe_setting()}.",
        f"CLIPSeg's decoder at {SIZE} px; {images['train']} training and {images['val']} validation images of "
        f"{read_catalog()[data.name].title},",
        f"batches of {CONFIG.batch_size}, prompt {PROMPT}, one augmented view of each image, AdamW at "
        f"{CONFIG.learning_rate:g}, Dice and cross-entropy, one thread, one run.",
        "",
        "The first row is the benchmark's way of training: `CLIPSegForImageSegmentation` of transformers with frozen",
        "encoders, a plain PyTorch loop over a DataLoader, everything computed in every step, nothing saved. "
        "The others",
        "are `fit`, with building the store, and saving weights and state after every epoch. All begin with the same",
        "untrained weights, as published ones could not be had where this was measured, and see the same batches in",
        "the same order; rounding alone sets the ways apart, and Adam's steps enlarge it. Measured is the time until",
        f"{goal.val_loss:.4f}, the lowest validation loss of the first in {len(first)} epochs, is reached to within",
        f"{TOLERANCE:g}, each epoch's validation included. Other programs ran beside it, so the processor's seconds",
        "count; those on the clock depend on what else ran.",
        "",
        "| | epochs | processor seconds | **times as fast** | seconds on the clock |",
        "|---|---|---|---|---|",
    ]
    for name, moments in found.items():
        epoch, moment = reach(moments, goal.val_loss)
        times = f"{moment.processor:.0f} | **{goal.processor / moment.processor:.1f}** | {moment.wall:.0f}"
        lines.append(f"| {name} | {epoch} | {times} |")
    lines += ["", "Validation loss, and processor seconds until it was known, epoch by epoch:", ""]
    lines += ["| epoch | " + " | ".join(found) + " |", "|---" * (1 + len(found)) + "|"]
    for epoch in range(len(first)):
        ends = (moments[epoch] for moments in found.values())
        lines.append(
            f"| {epoch + 1} | " + " | ".join(f"{end.val_loss:.6f}, {end.processor:.0f}" for end in ends) + " |"
        )
    lines += ["", "More epochs, more is gained: [stored features](feature-store.md). How to: [training](training.md)."]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--train", type=int, default=100)
    parser.add_argument("--val", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    torch.set_num_threads(1)
    images = {"train": args.train, "val": args.val}
    with tempfile.TemporaryDirectory() as folder:
        data = take(args.data, Path(folder), images)
        keep_prompt(data)
        found = {"transformers, a plain loop": train_plainly(data, args.epochs)}
        for place, (name, store) in enumerate(OURS.items()):
            found[name] = train_ours(data, Path(folder) / str(place), store, args.epochs)
    text = page(found, images, args.data)
    write_text(args.out, text)
    print(text)


if __name__ == "__main__":
    main()
