"""What pocket gains from looking more than once: flipped, and at other sizes; writes docs/pocket-views.md.

    python benchmarks/pocket_views.py ../shared/data/segmentation

Probabilities of all looks at an image are turned back and averaged. Asked p1, with its sides swapped where the image is
flipped, on the validation splits; what counts is the processor's time.
"""

import argparse
import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from changes import mean_change
from numpy.typing import NDArray
from paraphrases import FAMILY
from rich.progress import Progress
from setting import describe_setting
from torch import Tensor

from vesalius.console import progress_bar
from vesalius.data.catalog import read_catalog
from vesalius.data.datasets import Sample, SegmentationDataset
from vesalius.evaluation.audit.run import choose
from vesalius.evaluation.metrics import dice
from vesalius.evaluation.statistics import Interval
from vesalius.evaluation.truth import RULE
from vesalius.files import write_text
from vesalius.models import Segmenter
from vesalius.models.checkpoints import load_segmenter
from vesalius.models.features import resize
from vesalius.models.text_cache import TextCache
from vesalius.predict import DEFAULT_MODEL, THRESHOLD
from vesalius.prompts import mirror_prompt, variants

OUT = Path(__file__).parents[1] / "docs" / "pocket-views.md"
DATA = ("kvasir_polyp", "clinicdb_polyp", "bkai_polyp", "busi", "cxr_lungs")
LIMIT = 60


@dataclass(frozen=True)
class Look:
    """One way to look at an image."""

    scale: float = 1.0
    """Side of what the network sees, in units of its working size."""
    horizontal: bool = False
    """Left and right exchanged."""
    vertical: bool = False
    """Top and bottom exchanged."""

    @property
    def axes(self) -> list[int]:
        """Axes of an image [B, C, H, W] that are flipped."""
        return [axis for axis, flipped in ((2, self.vertical), (3, self.horizontal)) if flipped]


PLAIN = "once"
WAYS: Mapping[str, tuple[Look, ...]] = {
    PLAIN: (Look(),),
    "and flipped left to right": (Look(), Look(horizontal=True)),
    "four flips": tuple(Look(horizontal=h, vertical=v) for h in (False, True) for v in (False, True)),
    "at 0.8, 1 and 1.25 times the size": (Look(0.8), Look(), Look(1.25)),
}


@dataclass(frozen=True)
class Found:
    """What each way of looking came to on one set; columns are ``WAYS``."""

    title: str
    dice: NDArray[np.float64]
    """[I, W]."""
    seconds: NDArray[np.float64]
    """Processor time, [I, W]."""


def look_at(model: Segmenter, image: Tensor, prompt: str, look: Look, texts: TextCache) -> Tensor:
    """Probability of each pixel to be what the prompt names.

    Args:
        model: In evaluation mode; its image encoder takes any size.
        image: RGB [1, 3, H, W] in [0, 1].
        prompt: The phrase.
        look: How.
        texts: Of this model.

    Returns:
        [1, 1, H, W], the right way round.
    """
    spec = dataclasses.replace(model.spec, image_size=round(look.scale * model.spec.image_size))
    words = mirror_prompt(prompt, horizontal=look.horizontal, vertical=look.vertical)
    found = model.decode(model.encode_pixels(spec.prepare(image.flip(look.axes))), texts.encode([words]))
    return resize(found.logits, (image.shape[2], image.shape[3])).sigmoid().flip(look.axes)


def score(model: Segmenter, sample: Sample, looks: Sequence[Look], texts: TextCache) -> tuple[float, float]:
    """Dice of the mean over all looks, and the processor's seconds for them."""
    prompt, began = variants(sample.record.prompts, FAMILY)[0], time.process_time()
    total = torch.stack([look_at(model, sample.image[None], prompt, look, texts) for look in looks]).mean(0)
    seconds = time.process_time() - began
    return dice(total[0] > THRESHOLD, sample.mask > 0.5).item(), seconds


@torch.inference_mode()
def measure(model: Segmenter, dataset: SegmentationDataset, places: Sequence[int], bar: Progress) -> Found:
    """Look at each image in every way."""
    texts, title = TextCache(model), read_catalog()[dataset.root.resolve().name].title.partition(",")[0]
    # Once for nothing: the first pass of each size prepares what later ones use, and remembers the prompts.
    samples = (dataset[place] for place in (places[0], *bar.track(places, description=title)))
    rows = np.array([[score(model, sample, looks, texts) for looks in WAYS.values()] for sample in samples])
    return Found(title, rows[1:, :, 0], rows[1:, :, 1])


def difference(found: Sequence[Found], way: int) -> Interval:
    """Dice of a way less that of looking once, over the images of all sets, with a 95 % interval."""
    return mean_change(np.concatenate([each.dice[:, way] - each.dice[:, 0] for each in found]))


def page(found: Sequence[Found], model: str) -> str:
    """The whole page as Markdown."""
    lines = [
        "# Looking more than once",
        "",
        f"Written by `python benchmarks/pocket_views.py`: {describe_setting()}.",
        f"Model: {model}. Rule: {RULE}.",
        f"Mean Dice of {FAMILY} on evenly spaced images of the validation splits, as many as the heads say;",
        "probabilities of all looks at an image are averaged. The difference is over all images, with its 95 %",
        "bootstrap interval; time is the processor's, without reading the file.",
        "",
        f"| looks | {' | '.join(f'{each.title} ({len(each.dice)})' for each in found)} | difference | time |",
        f"|---|{'---|' * len(found)}---|---|",
    ]
    time_of = sum(each.seconds.sum(0) for each in found)
    for way, name in enumerate(WAYS):
        scores = " | ".join(f"{each.dice[:, way].mean():.3f}" for each in found)
        gain = str(difference(found, way)) if way else "–"
        lines.append(f"| {name} | {scores} | {gain} | {time_of[way] / time_of[0]:.1f} × |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Look, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--limit", type=int, default=LIMIT, help="images of each data set, evenly spaced")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    model, found = load_segmenter(args.model), []
    for name in DATA:
        dataset = SegmentationDataset(args.root / name, "val")
        with progress_bar() as bar:
            found.append(measure(model, dataset, choose(len(dataset), args.limit), bar))
    text = page(found, args.model)
    write_text(args.out, text)
    print(text)


if __name__ == "__main__":
    main()
