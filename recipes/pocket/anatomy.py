"""Train pocket's naming on top of its segmentation trunk, and say how well it does on series never seen.

python recipes/pocket/anatomy.py runs/pocket/segmentation ../shared/data runs/pocket/named.safetensors
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch
from anatomy_data import LabelledSlice, read_all
from torch import Tensor

from vesalius.cli.output import print_table
from vesalius.data.augment import AugmentConfig, change_intensity, draw_geometry, resample
from vesalius.files import write_json
from vesalius.models.checkpoints import find_checkpoint, load_segmenter, read_notes, save_model
from vesalius.models.features import resize
from vesalius.models.pocket import PocketSegmenter
from vesalius.models.zero_shot import label_logits, phrase_vectors
from vesalius.progress import progress_bar
from vesalius.prompts import ASPECTS, anatomy_phrases
from vesalius.training.naming import UNKNOWN, NamingConfig, encode_labels, fit_naming

AUGMENT = AugmentConfig(rotation=10.0, scale=0.2, translation=0.08)
VIEWS = 2
"""Augmented views of a training slice, beside the slice itself."""
COARSE_SIDE = 64
"""MedNIST's resolution; half of the views are reduced to it, or coarseness would give its classes away."""
BATCH = 16


def main() -> None:
    """Encode, train, test, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("segmentation", type=Path)
    parser.add_argument("shared", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    model = load_segmenter(args.segmentation)
    if not isinstance(model, PocketSegmenter):
        sys.exit("expected a pocket checkpoint")
    slices = list(read_all(args.shared))
    seen, unseen = [each for each in slices if not each.held_out], [each for each in slices if each.held_out]
    generator = torch.Generator().manual_seed(0)
    size = model.spec.image_size
    views = (view for each in seen for view in augmented(each, size, generator))
    features = encode(model, views, len(seen) * (VIEWS + 1), "Training slices")
    labels = [each.label for each in seen for _ in range(VIEWS + 1)]
    losses = fit_naming(model, features, labels, NamingConfig())
    held = encode(model, (plain(each, size) for each in unseen), len(unseen), "Held-out slices")
    report = accuracy(model, held, unseen)
    notes = read_notes(find_checkpoint(args.segmentation)) | {"naming": {"loss": losses[-1], "held_out": report}}
    save_model(model, args.out, notes)
    write_json(args.out.with_suffix(".json"), {"loss": losses, "slices": len(seen), "held_out": report})
    rows = [(source, row["slices"], *(row.get(aspect) for aspect in ASPECTS)) for source, row in report.items()]
    print_table(("held out", "slices", *ASPECTS), rows, title="Accuracy")


def plain(each: LabelledSlice, size: int) -> Tensor:
    """A slice at the working size, [3, S, S]."""
    return resize(torch.from_numpy(each.rgb.transpose(2, 0, 1).copy())[None], (size, size))[0]


def augmented(each: LabelledSlice, size: int, generator: torch.Generator) -> list[Tensor]:
    """The slice and its augmented views, every other one coarse."""
    image = torch.from_numpy(each.rgb.transpose(2, 0, 1).copy())
    views = [plain(each, size)]
    for number in range(VIEWS):
        source = resize(image[None], (COARSE_SIDE, COARSE_SIDE))[0] if number % 2 == 0 else image
        geometry = draw_geometry(AUGMENT, generator)
        view, _ = resample(source, source[:1], geometry, size)
        views.append(change_intensity(view, AUGMENT, generator))
    return views


@torch.inference_mode()
def encode(model: PocketSegmenter, images: Iterable[Tensor], count: int, title: str) -> Tensor:
    """Pooled trunk features, [N, C]."""
    pooled = []
    with progress_bar() as bar:
        task = bar.add_task(title, total=count)
        for batch in batched(images, BATCH):
            pooled.append(model.projection.pool(model.encode_image(torch.stack(batch)).taps))
            bar.advance(task, len(batch))
    return torch.cat(pooled).clone()


def batched(items: Iterable[Tensor], size: int) -> Iterator[list[Tensor]]:
    """Lists of up to ``size`` items (``itertools.batched`` needs Python 3.12)."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


@torch.inference_mode()
def accuracy(model: PocketSegmenter, pooled: Tensor, slices: Sequence[LabelledSlice]) -> dict[str, dict[str, float]]:
    """Share of right labels for every source and aspect."""
    vectors = {aspect: phrase_vectors(model, rows) for aspect, rows in anatomy_phrases().items()}
    images = model.projection(pooled)
    report: dict[str, dict[str, float]] = defaultdict(dict)
    for source in sorted({each.source for each in slices}):
        rows = torch.tensor([index for index, each in enumerate(slices) if each.source == source])
        report[source]["slices"] = len(rows)
        for aspect in ASPECTS:
            truth = encode_labels([slices[index].label for index in rows.tolist()], aspect)
            known = truth != UNKNOWN
            if known.any():
                guess = label_logits(images[rows], vectors[aspect]).argmax(dim=1)
                report[source][aspect] = (guess == truth)[known].float().mean().item()
    return dict(report)


if __name__ == "__main__":
    main()
