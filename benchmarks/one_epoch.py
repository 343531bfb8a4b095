"""Train every segmenter of the papers for one epoch at reduced size, and see whether its loss falls.

    python benchmarks/one_epoch.py ../shared/data/segmentation/clinicdb_polyp runs/one-epoch

Everything starts untrained, so the Dice reached says nothing of the models; that each of them learns does.
Writes docs/one-epoch.md. Models that an earlier run finished are not trained again.
"""

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from setting import describe_setting
from torch.utils.data import DataLoader

from vesalius.data.datasets import SegmentationDataset
from vesalius.data.views import ValidationView, collate
from vesalius.files import write_json, writing
from vesalius.models import Segmenter
from vesalius.models.checkpoints import load_segmenter
from vesalius.models.features import MaskPrediction, resize
from vesalius.models.recipe import Option
from vesalius.models.start import start_model
from vesalius.training.config import TrainConfig
from vesalius.training.fit import fit
from vesalius.training.losses import LossWeights, segmentation_loss

OUT = Path(__file__).parents[1] / "docs" / "one-epoch.md"
SIZE = 96
BIOMED: Mapping[str, Option] = {"image_size": SIZE, "vocabulary": "bert"}
PLAIN: Mapping[str, Option] = {"image_size": SIZE}
MODELS: Mapping[str, Mapping[str, Option]] = {
    "biomedclipseg": BIOMED,
    "biomedclipseg_a": BIOMED,
    "biomedclipseg_d": BIOMED,
    "clipseg": PLAIN,
    "clipseg_b": PLAIN,
    "cris": PLAIN,
    "ensemble_c": {"a": BIOMED, "b": PLAIN},
    "unet_d": PLAIN,
}
CONFIG = TrainConfig(learning_rate=1e-3, max_epochs=1, min_epochs=1)
OTHERWISE: Mapping[str, Mapping[str, object]] = {"cris": {"learning_rate": 2e-4, "freeze": ()}}
"""What CRIS needs where nothing is trained: its prompts give whole filters, which diverge at a higher rate and, from
an encoder frozen at random, all say the same."""


def val_loss(model: Segmenter, data: Path) -> float:
    """Mean loss over the validation images, one prompt each."""
    losses = []
    view = ValidationView(SegmentationDataset(data, "val"), SIZE)
    with torch.inference_mode():
        for batch in DataLoader(view, CONFIG.batch_size, collate_fn=collate):
            logits = resize(model.eval()(batch.images, batch.prompts), (SIZE, SIZE))
            losses.append(segmentation_loss(MaskPrediction(logits), batch.masks, LossWeights()).item())
    return sum(losses) / len(losses)


def train(name: str, data: Path, out: Path) -> dict[str, object]:
    """Figures of one model; those of an earlier run that is finished are read."""
    done = out / "figures.json"
    if done.is_file():
        figures: dict[str, object] = json.loads(done.read_text(encoding="utf-8"))
        return figures
    config = replace(CONFIG, **OTHERWISE.get(name, {}))
    model, _ = start_model(name, options=MODELS[name])
    before, start = val_loss(model, data), time.monotonic()
    result = fit(model, [data], out, config)
    minutes = (time.monotonic() - start) / 60
    after = val_loss(load_segmenter(result.checkpoint), data)
    figures = {
        "rate": config.learning_rate,
        "frozen": " and ".join(config.freeze) or "nothing",
        "before": before,
        "after": after,
        "dice": result.val_dice,
    }
    write_json(done, figures | {"minutes": minutes})
    return train(name, data, out)


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    rows = []
    for name in MODELS:
        found = train(name, args.data, args.out / name)
        losses = f"{found['before']:.3f} | {found['after']:.3f} | {found['dice']:.3f}"
        rows.append(f"| `{name}` | {found['rate']} | {found['frozen']} | {losses} | {found['minutes']:.1f} |")
        print(rows[-1], flush=True)
    images = {split: len(SegmentationDataset(args.data, split)) for split in ("train", "val")}
    lines = [
        "# Every model learns",
        "",
        f"Written by `python benchmarks/one_epoch.py`: {describe_setting()}. One epoch on",
        f"ClinicDB ({images['train']} images, batches of {CONFIG.batch_size}) at {SIZE} px from untrained weights,",
        f"AdamW; loss (Dice + 0.2 BCE) and Dice on the {images['val']} validation images.",
        "The Dice says nothing of what the models reach from their published weights.",
        "",
        "| model | learning rate | frozen | loss before | loss after | Dice after | minutes |",
        "|---|---|---|---|---|---|---|",
        *rows,
    ]
    with writing(OUT) as unfinished:
        unfinished.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
