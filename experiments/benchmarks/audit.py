"""Audit the embedded model and UNet-D, which reads no text; writes docs/results/audit-results.md.

    python experiments/benchmarks/audit.py ../shared/data/segmentation/kvasir_polyp

UNet-D is first trained for some steps at 64 px, which is enough to mark something; a run in runs/audit/unet_d that is
there already is used. Pictures of the worst answers go to runs/audit/pictures: they show images of the data set.
"""

import argparse
import json
import time
from pathlib import Path

from setting import describe_setting

from vesalius.console import progress_bar
from vesalius.data.catalog import read_catalog
from vesalius.data.datasets import SegmentationDataset
from vesalius.evaluation.audit.card import AuditCard, fill_card
from vesalius.evaluation.audit.page import draw_worst, render_body
from vesalius.evaluation.audit.run import audit, choose
from vesalius.evaluation.calibration import ReliabilityPoint
from vesalius.files import write_text
from vesalius.models import Segmenter
from vesalius.models.checkpoints import load_segmenter
from vesalius.models.choices import DEFAULT_MODEL
from vesalius.models.start import start_model
from vesalius.training.config import TrainConfig
from vesalius.training.fit import fit

ROOT = Path(__file__).parents[2]
OUT = ROOT / "docs" / "results" / "audit-results.md"
RUN = ROOT / "runs" / "audit" / "unet_d"
PICTURES = ROOT / "runs" / "audit" / "pictures"
SIZE = 64
CONFIG = TrainConfig(learning_rate=1e-3, max_epochs=1, min_epochs=1, max_steps=60)


def train_unet(data: Path) -> str:
    """A UNet-D that marks something; says how it was made."""
    done = RUN / "manifest.json"
    if not done.is_file():
        model, _ = start_model("unet_d", options={"image_size": SIZE})
        fit(model, [data], RUN, CONFIG)
    story = json.loads(done.read_text(encoding="utf-8"))
    size = f"{CONFIG.max_steps} steps of {CONFIG.batch_size} images at {SIZE} px"
    return f"UNet-D was trained for {size} only, to a validation Dice of {story['val_dice']:.2f}"


def examine(model: Segmenter, name: str, dataset: SegmentationDataset, images: int) -> AuditCard:
    """The card of one model; leaves pictures of its worst."""
    with progress_bar() as bar:
        task = bar.add_task(f"Questioning {name}", total=len(choose(len(dataset), images)))
        found = audit(model, dataset, limit=images, on_image=lambda: bar.advance(task))
    draw_worst(model, dataset, found.results, PICTURES / name, count=3)
    return fill_card(found)


def curve(points: tuple[ReliabilityPoint, ...]) -> list[str]:
    """A reliability curve as a table."""
    return [
        "| stated | observed | share of pixels |",
        "|---|---|---|",
        *(
            f"| {each.stated:.3f} | {each.observed:.3f} | {each.count / sum(every.count for every in points):.3%} |"
            for each in points
        ),
    ]


def page(cards: dict[str, AuditCard], data: Path, split: str, trained: str, seconds: float) -> str:
    """The whole page as Markdown."""
    title = read_catalog()[data.name].title if data.name in read_catalog() else data.name
    card = next(iter(cards.values()))
    lines = [
        "# Audits of a model that reads text and of one that does not",
        "",
        f"Written by `python experiments/benchmarks/audit.py`: {describe_setting()}.",
        f"{card.images} of the {card.available} {split} images of {title}, evenly spaced; "
        f"{seconds / 60:.1f} minutes of processor time.",
        f"{trained}: how well it segments is not the point.",
        "What the lines mean is in [audit.md](../audit.md).",
    ]
    for name, each in cards.items():
        lines += ["", f"## {name}", "", *render_body(each)]
    lines += ["", f"## Reliability of {next(iter(cards))}'s pixels", "", *curve(card.trust.pixels.curve)]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Train, audit, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--images", type=int, default=40)
    args = parser.parse_args()
    trained = train_unet(args.data)
    dataset = SegmentationDataset(args.data, args.split)
    started = time.process_time()
    models = {DEFAULT_MODEL: load_segmenter(DEFAULT_MODEL), "unet_d": load_segmenter(RUN)}
    cards = {name: examine(model, name, dataset, args.images) for name, model in models.items()}
    text = page(cards, args.data, args.split, trained, time.process_time() - started)
    write_text(OUT, text)
    print(text)


if __name__ == "__main__":
    main()
