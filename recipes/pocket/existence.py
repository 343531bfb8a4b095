"""Train pocket's existence score by itself, calibrate it on the validation splits, and say how often it is right there.

python recipes/pocket/existence.py runs/pocket/outlined.safetensors runs/pocket/listening.safetensors DATA …
"""

import argparse
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress

from vesalius.console import progress_bar
from vesalius.data.augment import STILL, AugmentConfig
from vesalius.data.datasets import SegmentationDataset
from vesalius.data.views import TrainingView
from vesalius.evaluation.anatomy.label_scores import LabelScores
from vesalius.evaluation.anatomy.platt import fit_temperature
from vesalius.models.checkpoints import find_checkpoint, load_segmenter, read_notes, save_model
from vesalius.models.pocket import PocketSegmenter
from vesalius.models.text_cache import TextCache
from vesalius.training.existence import (
    QUESTIONS,
    ExistenceConfig,
    Question,
    Witness,
    answer,
    encode_views,
    fit_existence,
)

VIEWS = 2
AUGMENT = AugmentConfig(
    vertical_flip=0.25, rotation=30, scale=0.3, contrast=0.3, saturation=0.3, gamma=0.3, hue=8, blur=0.7, noise=0.03
)
CONFIG = ExistenceConfig()
CHECKS = 16
"""Questions about each validation picture."""


def summon(model: PocketSegmenter, root: Path, split: str, bar: Progress) -> Witness:
    """Encode a split: changed views of training pictures, validation pictures as they are."""
    source, size = SegmentationDataset(root, split), model.spec.image_size
    augment, views = (AUGMENT, VIEWS) if split == "train" else (STILL, 1)
    with warnings.catch_warnings():
        # Pictures of what the catalog does not know are asked their own prompts alone.
        warnings.filterwarnings("ignore", message=".*have no effect")
        view = TrainingView(source, size, augment, QUESTIONS, views=views)
    task = bar.add_task(f"{root.name}, {split}", total=len(view))
    return encode_views(model, view, lambda: bar.advance(task))


@torch.no_grad()
def calibrate(model: PocketSegmenter, asked: Sequence[Question], texts: TextCache) -> None:
    """Put a slope and an offset into the score's last layer, so that it means what it says of such questions."""
    odds, true = (column.double().numpy()[:, None] for column in answer(model, asked, texts))
    numbers = tuple(map(str, range(len(asked))))
    scores = LabelScores(("exists",), odds, true.astype(np.int8), patients=numbers, groups=("all",) * len(asked))
    scaling = fit_temperature(scores)
    last = model.existence.judge[-1]
    assert isinstance(last, torch.nn.Linear)
    last.weight.mul_(scaling.slopes[0])
    last.bias.mul_(scaling.slopes[0]).add_(scaling.offsets[0])


@torch.no_grad()
def check(model: PocketSegmenter, witness: Witness, texts: TextCache) -> dict[str, float]:
    """Share of the questions that are answered right, true ones ("heard") and false ones ("quiet")."""
    odds, true = answer(model, witness.ask_all(CHECKS), texts)
    right = {"heard": (odds > 0)[true == 1], "quiet": (odds < 0)[true == 0]}
    return {name: each.float().mean().item() for name, each in right.items() if len(each)}


def main() -> None:
    """Encode, train, calibrate, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("segmentation", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("data", type=Path, nargs="+")
    args = parser.parse_args()
    model = load_segmenter(args.segmentation)
    assert isinstance(model, PocketSegmenter)
    texts = TextCache(model)
    with progress_bar() as bar:
        train, val = ([summon(model, root, split, bar) for root in args.data] for split in ("train", "val"))
        task = bar.add_task("Asking", total=CONFIG.steps)
        fit_existence(model, train, CONFIG, texts, lambda: bar.advance(task))
    calibrate(model, [question for each in val for question in each.ask_all(CHECKS)], texts)
    right = {each.view.source.root.name: check(model, each, texts) for each in val}
    for name, shares in right.items():
        print(f"{name}: {', '.join(f'{kind} {share:.1%}' for kind, share in shares.items())}")
    notes = {"config": asdict(CONFIG), "right": right}
    save_model(model, args.out, read_notes(find_checkpoint(args.segmentation)) | {"existence": notes})


if __name__ == "__main__":
    main()
