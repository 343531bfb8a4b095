"""Train pocket for a few minutes without each of its parts in turn; writes docs/pocket-ablation.md.

    python benchmarks/pocket_ablation.py ../shared/data/segmentation

All variants begin with the same ImageNet trunk (and, but for one, MiniLM), take the same number of steps on small
copies of the training splits, and are measured on the validation splits. A finished variant is not run again; delete
its file under runs/ablation/ if it should be. Variants are made here, by putting other modules or settings in place.
"""

import argparse
import json
import tempfile
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from paraphrases import FAMILY, NEARLY_NOTHING, UNSEEN, Heard, listen, target_of
from rich.progress import Progress
from safetensors.torch import load_file
from setting import describe_setting
from torch import Tensor, nn

from vesalius.console import progress_bar
from vesalius.data.annotations import ImageRecord
from vesalius.data.catalog import read_catalog
from vesalius.data.datasets import Sample, SegmentationDataset
from vesalius.data.prepare.writing import write_records
from vesalius.data.views import TrainingView
from vesalius.evaluation.audit.run import choose
from vesalius.files import write_json, write_text
from vesalius.imaging import write_mask, write_rgb
from vesalius.models import build_model
from vesalius.models.checkpoints import fill_model, load_segmenter
from vesalius.models.features import resize
from vesalius.models.pocket import PocketSegmenter
from vesalius.predict import Predictor
from vesalius.training.config import TrainConfig, read_recipe
from vesalius.training.existence import QUESTIONS, ExistenceConfig, encode_views, fit_existence
from vesalius.training.fit import fit

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs" / "pocket-ablation.md"
RECIPE = ROOT / "recipes" / "pocket" / "segmentation.toml"
DATA = ("kvasir_polyp", "clinicdb_polyp", "bkai_polyp", "busi", "cxr_lungs")
SIDE = 96
"""Of the pictures and of what the model sees, pixels."""
IMAGES = 60
"""Of each validation split, evenly spaced."""
WORDINGS = 6
"""Unseen ones that are asked, evenly spaced in the list of each target."""
AVERAGE = 0.998
"""Decay of the average of the weights, as in the last part of pocket's training."""
CERTAIN = 30.0
"""Log-odds of something that is there beyond doubt."""


class Silence(nn.Module):
    """Zeros in place of every sentence."""

    def forward(self, sentences: Tensor) -> Tensor:
        """[B, E] -> [B, E]."""
        return torch.zeros_like(sentences)


class Certain(nn.Module):
    """An existence score that knows no doubt, so that the mask alone decides."""

    def forward(self, deepest: Tensor, means: Tensor, sentence: Tensor) -> Tensor:
        """Map deepest [B, C, H, W], means of all maps [B, M], sentence [B, E] -> log-odds [B]."""
        return sentence.new_full((len(sentence),), CERTAIN)


def deafen(model: PocketSegmenter) -> None:
    """Let no word through: what steers the decoder and the existence score is then a constant that each learns."""
    model.to_condition = nn.Sequential(Silence(), *model.to_condition)
    model.existence.to_condition = nn.Sequential(Silence(), *model.existence.to_condition)


def forget_sentences(model: PocketSegmenter) -> None:
    """Untrained weights for the sentence encoder."""
    model.sentences.load_state_dict(_build(model.spec.image_size).sentences.state_dict())


def leave_out_attention(model: PocketSegmenter) -> None:
    """No channel attention in the decoder."""
    for block in model.decoder.blocks:
        block.attention = nn.Identity()


def leave_out_existence(model: PocketSegmenter) -> None:
    """No existence score."""
    model.existence = Certain()


@dataclass(frozen=True)
class Variant:
    """One row of the table."""

    name: str
    change: Callable[[PocketSegmenter], None] = lambda model: None
    """What is taken out of the model."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """What differs from the recipe, in its tables."""
    data: tuple[str, ...] = DATA
    seed: int = 0
    apart: bool = False
    """Whether the existence score is trained by itself afterwards."""

    @property
    def file_name(self) -> str:
        """Where its figures are kept."""
        return f"{self.name.lower().replace(' ', '-')}.json"


SILENT = {"prompts": {"absent": 0.0}}
FULL = tuple(Variant(f"full, seed {seed}", seed=seed) for seed in range(2))
"""Nothing left out; how far they lie apart is chance."""
VARIANTS = (
    *FULL,
    # A model without words cannot know which prompts ask for what is absent: their empty masks would be noise.
    Variant("no words and no negatives", deafen, SILENT),
    Variant("no negatives", settings=SILENT),
    Variant("existence score trained apart", settings=SILENT, apart=True),
    Variant("no existence score", leave_out_existence, {"loss": {"existence": 0.0}}),
    Variant("untrained sentence encoder", forget_sentences),
    Variant("no channel attention", leave_out_attention),
    Variant("batch norms that move", settings={"keep_norms": False}),
    Variant("noise on sentence vectors", settings={"text_noise": 0.4}),
    Variant("no average of the weights", settings={"average": 0.0}),
    Variant("Kvasir-SEG alone", data=("kvasir_polyp",)),
    Variant("BUSI alone", data=("busi",)),
)


@dataclass(frozen=True)
class Scores:
    """A trained variant on one validation split."""

    images: int
    """That show the target."""
    known: float
    """Mean Dice of p1 on them."""
    unseen: float
    """Mean Dice of the unseen wordings on them."""
    quiet: float
    """Mean over foreign names of the share of all images that each leaves unmarked."""

    @classmethod
    def of(cls, heard: Heard) -> "Scores":
        """Sum up what was heard."""
        known, quiet = heard.known[heard.present].mean(), np.mean(list(heard.quiet.values()))
        return cls(int(heard.present.sum()), float(known), float(heard.by_wording.mean()), float(quiet))


def shrink(root: Path, split: str, folder: Path, bar: Progress) -> None:
    """Copy a split with square pictures of SIDE pixels, so that reading takes no time; what is there stays."""
    listed = folder / "anns" / f"{split}.json"
    if listed.is_file():
        return
    dataset = SegmentationDataset(root, split)
    places = bar.track(range(len(dataset)), description=f"shrinking {root.name}")
    write_records(listed, [_write_small(dataset[place], folder, f"{split}-{place}.png") for place in places])


def _write_small(sample: Sample, folder: Path, name: str) -> ImageRecord:
    image, mask = (resize(each[None], (SIDE, SIDE))[0] for each in (sample.image, sample.mask))
    write_rgb(folder / "images" / name, image.permute(1, 2, 0).numpy())
    write_mask(folder / "masks" / name, (mask[0] >= 0.5).numpy())
    return ImageRecord(name, name, sample.record.prompts)


def configure(variant: Variant, steps: int) -> TrainConfig:
    """The recipe, cut to so many steps and changed as the variant has it."""
    settings = read_recipe(RECIPE) | {"average": AVERAGE, "max_epochs": 1, "max_steps": steps, "seed": variant.seed}
    for name, value in variant.settings.items():
        old = settings.get(name)
        settings[name] = {**old, **value} if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return TrainConfig.from_dict(settings)


def repeat(data: Sequence[Path], needed: int) -> list[Path]:
    """The folders, each as often as one epoch of at least so many images takes: the run ends with its validation."""
    images = sum(len(SegmentationDataset(root, "train")) for root in data)
    return [*data] * -(-needed // images)


def build(variant: Variant, start: Path) -> PocketSegmenter:
    """The variant's model before training: trunk and sentences from the starting point, all else by the seed."""
    torch.manual_seed(variant.seed)
    model, known = _build(SIDE), load_segmenter(start)
    assert isinstance(known, PocketSegmenter)
    model.trunk.load_state_dict(known.trunk.state_dict())
    model.sentences.load_state_dict(known.sentences.state_dict())
    variant.change(model)
    return model


def _build(side: int) -> PocketSegmenter:
    model = build_model("pocket", image_size=side)
    assert isinstance(model, PocketSegmenter)
    return model


def train(variant: Variant, start: Path, small: Path, steps: int) -> PocketSegmenter:
    """The variant's model with the weights that training keeps: their average, where there is one."""
    model, config = build(variant, start), configure(variant, steps)
    data = repeat([small / name for name in variant.data], steps * config.batch_size)
    with tempfile.TemporaryDirectory(dir=small) as folder:
        kept = fit(model, data, Path(folder), config).checkpoint
        fill_model(model, load_file(kept), kept).eval()
    if variant.apart:
        sources = [SegmentationDataset(small / name, "train") for name in variant.data]
        views = [TrainingView(source, SIDE, config.augment, QUESTIONS, views=1) for source in sources]
        fit_existence(model, [encode_views(model, view) for view in views], ExistenceConfig(steps=steps))
    return model


def measure(model: PocketSegmenter, small: Path) -> dict[str, Scores]:
    """Ask it on the validation split of every set."""
    predictor, unseen = Predictor(model), tomllib.loads(UNSEEN.read_text(encoding="utf-8"))
    scores = {}
    with progress_bar() as bar:
        for name in DATA:
            dataset = SegmentationDataset(small / name, "val")
            known = unseen[target_of(dataset)]
            wordings = [known[place] for place in choose(len(known), WORDINGS)]
            scores[name] = Scores.of(listen(predictor, dataset, wordings, choose(len(dataset), IMAGES), bar))
    return scores


def run(variant: Variant, start: Path, small: Path, kept: Path, steps: int) -> None:
    """Train and measure, unless it was done before."""
    path = kept / variant.file_name
    if path.is_file():
        return
    began = time.monotonic()
    scores = measure(train(variant, start, small, steps), small)
    seconds = time.monotonic() - began
    write_json(path, {"seconds": seconds, "scores": {name: vars(each) for name, each in scores.items()}})
    print(f"{variant.name}: {seconds:.0f} s")


def read(variant: Variant, kept: Path) -> dict[str, Scores]:
    """What ``run`` left, by set."""
    scores = json.loads((kept / variant.file_name).read_text(encoding="utf-8"))["scores"]
    return {name: Scores(**values) for name, values in scores.items()}


def page(found: Mapping[str, Mapping[str, Scores]], steps: int) -> str:
    """The whole page as Markdown.

    Args:
        found: Variant -> set -> scores.
        steps: Of every run.
    """
    sets = list(next(iter(found.values())))
    titles = " | ".join(read_catalog()[name].title.partition(",")[0] for name in sets)
    head = [f"| variant | {titles} | mean |", f"|---|{'---|' * len(sets)}---|"]
    lines = [
        "# What each part of pocket brings",
        "",
        f"Written by `python benchmarks/pocket_ablation.py`: {describe_setting()}.",
        f"Every variant: {steps} steps of `recipes/pocket/segmentation.toml` at {SIDE} px, with an average of the",
        "weights, on the training splits of all five sets unless it says otherwise; far shorter and smaller than",
        f"pocket's own training. Scored at that size on {IMAGES} images of each validation split at most.",
        "",
        "One seed a variant is noise. The rows *full* differ by seed alone, and *spread* is how far they lie apart: a",
        "difference of that size says nothing.",
        "",
        "## Finding",
        "",
        f"Mean Dice of {FAMILY} on images that show the target.",
        "",
        *head,
        *_rows(found, lambda each: each.known),
        "",
        "## Understanding other words",
        "",
        f"The same with {WORDINGS} wordings of `recipes/pocket/unseen.toml` a target, which no training prompt is.",
        "",
        *head,
        *_rows(found, lambda each: each.unseen),
        "",
        "## Asked for what is not there",
        "",
        f"Share of images on which the plain name of another target marks under {NEARLY_NOTHING:.0%} of the pixels;",
        "mean over all targets that the images cannot show. A model that marks nothing is quiet too: see its Dice.",
        "",
        *head,
        *_rows(found, lambda each: each.quiet),
    ]
    return "\n".join(lines) + "\n"


def _rows(found: Mapping[str, Mapping[str, Scores]], value: Callable[[Scores], float]) -> list[str]:
    table = {name: np.array([value(each) for each in scores.values()]) for name, scores in found.items()}
    table = {name: np.append(values, values.mean()) for name, values in table.items()}
    full = np.array([table[each.name] for each in FULL])
    table = {**{each.name: table[each.name] for each in FULL}, "*spread*": np.ptp(full, axis=0), **table}
    return [f"| {name} | {' | '.join(f'{each:.3f}' for each in values)} |" for name, values in table.items()]


def main() -> None:
    """Shrink, train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--start", type=Path, default=ROOT / "runs" / "pocket" / "start.safetensors")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "ablation")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    small = args.runs / f"{SIDE}px"
    with progress_bar() as bar:
        for name in DATA:
            for split in ("train", "val"):
                shrink(args.root / name, split, small / name, bar)
    kept = args.runs / f"{SIDE}px-{args.steps}-steps"
    for variant in VARIANTS:
        run(variant, args.start, small, kept, args.steps)
    text = page({variant.name: read(variant, kept) for variant in VARIANTS}, args.steps)
    write_text(args.out, text)
    print(text)


if __name__ == "__main__":
    main()
