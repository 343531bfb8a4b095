"""One pass over images and prompts against transformers' CLIPSeg called once a prompt, in the same run.

    python experiments/benchmarks/one_pass.py ../shared/data/segmentation/kvasir_polyp

Both read the same images, hold the same random weights, answer the same prompts and are scored by the same code. They
take turns, image by image, on one thread, and what counts is the processor's time, so that whatever else the machine
does disturbs little, and both. Writes docs/results/one-pass.md. Needs transformers, which comes with
`pip install -e .[dev]`.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from setting import describe_setting
from torch import Tensor, nn
from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

from vesalius.console import progress_bar
from vesalius.data.catalog import read_catalog
from vesalius.data.datasets import Sample, SegmentationDataset
from vesalius.evaluation.rows import Row
from vesalius.evaluation.segmentation import Truth, evaluate
from vesalius.files import write_text
from vesalius.models import Segmenter
from vesalius.models.encoder import EncoderSpec, MaskPrediction, resize
from vesalius.models.foreign import import_checkpoint
from vesalius.models.inference import TextCache, decode_prompts
from vesalius.models.tokenizers import ClipTokenizer
from vesalius.prompts import sort_families, variants

OUT = Path(__file__).parents[2] / "docs" / "results" / "one-pass.md"
SIDE, PROMPTS = 352, 10


def build_theirs(dataset: SegmentationDataset) -> CLIPSegForImageSegmentation:
    """The size of CIDAS/clipseg-rd64-refined at 352 px, with random weights."""
    torch.manual_seed(0)
    config = CLIPSegConfig(
        vision_config={"patch_size": 16, "image_size": SIDE},
        use_complex_transposed_convolution=True,
        extract_layers=[3, 6, 9],
    )
    model = CLIPSegForImageSegmentation(config)
    model.eval()
    # Its own random weights all but ignore the prompt; PyTorch's do not.
    model.apply(redraw)
    standardise(model, dataset[0])
    return model


def redraw(module: nn.Module) -> None:
    """Give a layer PyTorch's random weights, if it is one of PyTorch's."""
    if callable(reset := getattr(module, "reset_parameters", None)):
        reset()


def standardise(theirs: CLIPSegForImageSegmentation, sample: Sample) -> None:
    """Scale the last layer so that logits have mean 0 and deviation 1: masks are then neither empty nor full."""
    pixels, tokens = EncoderSpec(SIDE).prepare(sample.image[None]), ClipTokenizer()([ask_all(sample)[-1]])
    last = theirs.decoder.transposed_convolution[-1]
    assert isinstance(last, nn.ConvTranspose2d)
    assert last.bias is not None
    with torch.inference_mode():
        logits = theirs(pixel_values=pixels, input_ids=tokens.input_ids, attention_mask=tokens.attention_mask).logits
    with torch.no_grad():
        last.weight.div_(logits.std())
        last.bias.sub_(logits.mean()).div_(logits.std())


def copy_weights(theirs: CLIPSegForImageSegmentation) -> Segmenter:
    """Our CLIPSeg with the same weights, by way of the import that users have."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clipseg.safetensors"
        save_file({key: value.contiguous() for key, value in theirs.state_dict().items()}, path)
        ours = import_checkpoint(path, "transformers-clipseg")
    assert isinstance(ours, Segmenter)
    return ours


@dataclass
class Seconds:
    """Processor time, one number an image."""

    model: list[float] = field(default_factory=list)
    """From pixels to logits at the network's size."""
    whole: list[float] = field(default_factory=list)
    """From the file to all metrics."""


@dataclass
class Race:
    """Takes turns with ``evaluate``: whenever it has finished an image, transformers gets the same one."""

    theirs: CLIPSegForImageSegmentation
    ours: Segmenter
    dataset: SegmentationDataset
    our_seconds: Seconds = field(default_factory=Seconds)
    their_seconds: Seconds = field(default_factory=Seconds)
    their_rows: list[Row] = field(default_factory=list)
    differences: list[float] = field(default_factory=list)
    """Largest difference between logits, one an image."""
    deviations: list[float] = field(default_factory=list)
    """Standard deviation of logits, one an image."""

    def run(self) -> Sequence[Row]:
        """Our rows; all else is left in the fields."""
        texts = TextCache(self.ours)
        with progress_bar() as bar:
            task = bar.add_task("Images", total=len(self.dataset))
            started = time.process_time()

            def take_turn() -> None:
                nonlocal started
                self.our_seconds.whole.append(time.process_time() - started)
                self.compare(*self.answer(len(self.their_seconds.whole)), texts)
                bar.advance(task)
                started = time.process_time()

            return evaluate(self.ours, self.dataset, on_image=take_turn).rows

    def answer(self, index: int) -> tuple[Sample, Tensor]:
        """Their logits [P, 1, S, S] of one image, called once a prompt; their rows are kept."""
        started = time.process_time()
        sample = self.dataset[index]
        read = time.process_time()
        pixels = self.ours.spec.prepare(sample.image[None])
        logits = torch.cat([self.call(pixels, prompt) for prompt in ask_all(sample)])
        self.their_seconds.model.append(time.process_time() - read)
        truth = Truth(sample.record.img_name, sample.mask > 0.5)
        native = resize(logits, (truth.mask.shape[-2], truth.mask.shape[-1]))
        for prompt, each in zip(ask_all(sample), native, strict=True):
            self.their_rows.append(truth.score(MaskPrediction(each[None]), prompt))
        self.their_seconds.whole.append(time.process_time() - started)
        return sample, logits

    def call(self, pixels: Tensor, prompt: str) -> Tensor:
        """Their logits [1, 1, S, S]."""
        tokens = self.ours.tokenizer([prompt])
        length = int(tokens.attention_mask.sum())  # a single prompt needs no padding, which spares them time
        ids, mask = tokens.input_ids[:, :length], tokens.attention_mask[:, :length]
        logits: Tensor = self.theirs(pixel_values=pixels, input_ids=ids, attention_mask=mask).logits
        return logits.reshape(1, 1, SIDE, SIDE)

    def compare(self, sample: Sample, theirs: Tensor, texts: TextCache) -> None:
        """Our logits beside theirs."""
        started = time.process_time()
        features = self.ours.encode_image(sample.image[None])
        ours = torch.cat(
            [each.logits for each in decode_prompts(self.ours, features, ask_all(sample), texts, (SIDE, SIDE))]
        )
        self.our_seconds.model.append(time.process_time() - started)
        self.differences.append((ours - theirs).abs().max().item())
        self.deviations.append(theirs.std().item())


def ask_all(sample: Sample) -> list[str]:
    """The prompts of a record, which has one wording a family here."""
    return [variants(sample.record.prompts, family)[0] for family in sort_families(sample.record.prompts)]


def take(data: Path, images: int) -> SegmentationDataset:
    """The first images of the test split, with the first wording of each of ten families."""
    dataset = SegmentationDataset(data, "test")
    dataset.records = [
        replace(record, prompts={family: variants(record.prompts, family)[0] for family in families})
        for record in dataset.records[:images]
        for families in [sort_families(record.prompts)[:PROMPTS]]
    ]
    return dataset


def page(race: Race, rows: Sequence[Row]) -> str:
    """The whole page as Markdown."""
    images, answers, distinct = len(race.dataset), len(rows), len({row.prompt for row in rows})
    dice = max(abs(one.dice - other.dice) for one, other in zip(rows, race.their_rows, strict=True))
    title = read_catalog()[race.dataset.root.name].title
    lines = [
        "# One pass over images and prompts",
        "",
        f"Written by `python experiments/benchmarks/one_pass.py`: {describe_setting()}.",
        f"CLIPSeg at {SIDE} px, float32, with random weights that are the same in both; {images} test images of",
        f"{title}, one at a time, {PROMPTS} prompts each ({distinct} different ones among {answers}).",
        "Processor seconds an image on one thread; both take turns, image by image.",
        "",
        "| | model alone | with reading and all metrics |",
        "|---|---|---|",
    ]
    both = {"transformers, called once a prompt": race.their_seconds, "`vesalius evaluate`": race.our_seconds}
    for name, seconds in both.items():
        lines.append(f"| {name} | {sum(seconds.model) / images:.2f} | {sum(seconds.whole) / images:.2f} |")
    model = sum(race.their_seconds.model) / sum(race.our_seconds.model)
    whole = sum(race.their_seconds.whole) / sum(race.our_seconds.whole)
    ratios = sorted(a / b for a, b in zip(race.their_seconds.model, race.our_seconds.model, strict=True))
    lines += [
        f"| **times as fast** | **{model:.1f}** (images: {ratios[0]:.1f} to {ratios[-1]:.1f}) | **{whole:.1f}** |",
        "",
        "An image is encoded once for all its prompts, a prompt once for all images, and blocks behind the last tap",
        "are left out. The metrics take the same time in both, and more than usual here: untrained weights draw",
        "speckled masks, whose outlines are long.",
        "",
        f"Logits differ by {max(race.differences):.0e} at most, where their standard deviation is",
        f"{min(race.deviations):.2f} or more; Dice by {dice:.0e} at most.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    torch.set_num_threads(1)
    dataset = take(args.data, args.images)
    theirs = build_theirs(dataset)
    race = Race(theirs, copy_weights(theirs), dataset)
    text = page(race, race.run())
    write_text(args.out, text)
    print(text)


if __name__ == "__main__":
    main()
