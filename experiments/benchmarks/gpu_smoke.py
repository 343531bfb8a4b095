"""Does everything work on this machine's GPU? Every named model, in under five minutes.

    python experiments/benchmarks/gpu_smoke.py
    python experiments/benchmarks/gpu_smoke.py --device cuda:1 --models pocket cris

Of each model, with untrained weights at its default sizes: its answers on the device against those on the CPU in 32-bit
floats (1e-3 apart at most, in units of the largest, without TF32), a step of training in 32 bits and one in mixed
precision, and an evaluation or naming of made-up pictures in mixed precision. Prints a table; the exit code is 1 if
anything failed. `--device cpu` runs the same on a CPU, where it says nothing of a GPU and takes longer.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vesalius.console import print_table, progress_bar
from vesalius.data.datasets import SegmentationDataset
from vesalius.evaluation.segmentation import evaluate
from vesalius.imaging import write_mask, write_rgb
from vesalius.models import Segmenter, VisionLanguageEncoder, build_model, list_encoders, list_models
from vesalius.models.choices import Precision
from vesalius.models.inference import (
    TextCache,
    choose_device,
    computing,
    decode_prompts,
    describe_device,
    encode,
    place,
    wait,
)
from vesalius.models.registry import Option
from vesalius.training.losses import LossWeights, segmentation_loss

TOLERANCE = 1e-3
PROMPTS = ("polyp", "a small round growth", "")
SIDE = 160
"""Of the made-up pictures, pixels."""
PICTURES = 5
LEARNING_RATE = 1e-5


@dataclass(frozen=True)
class Outcome:
    """What a model did, in seconds; `failure` says what it could not do."""

    model: str
    difference: float | None = None
    """From the CPU's answers, in units of the largest."""
    full_step: float | None = None
    mixed_step: float | None = None
    measuring: float | None = None
    failure: str | None = None


def main() -> None:
    """Try all models and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:N or mps")
    parser.add_argument("--models", nargs="+", default=[*list_models(), *list_encoders()], help="all by default")
    args = parser.parse_args()
    started, device = time.perf_counter(), choose_device(args.device)
    outcomes = smoke({name: {} for name in args.models}, device)
    columns = ("model", "off the CPU by", "step, s", "mixed step, s", "measuring, s", "outcome")
    rows = [
        (each.model, _digits(each.difference), each.full_step, each.mixed_step, each.measuring, each.failure or "ok")
        for each in outcomes
    ]
    computed = describe_device(device, mixed_precision(device))
    print_table(columns, rows, title=", ".join(str(each) for each in computed.values()))
    failed = sum(each.failure is not None for each in outcomes)
    print(f"{len(outcomes) - failed} of {len(outcomes)} work, {time.perf_counter() - started:.0f} s")
    sys.exit(1 if failed else 0)


def smoke(models: Mapping[str, Mapping[str, Option]], device: torch.device) -> list[Outcome]:
    """Try models one after the other; what stops one does not stop the next.

    Args:
        models: Names and the options they are built with.
        device: Where.
    """
    torch.manual_seed(0)
    torch.backends.cudnn.allow_tf32 = False  # or convolutions differ by about 1e-3 without being wrong
    outcomes = []
    with TemporaryDirectory() as folder, progress_bar() as bar:
        dataset = write_pictures(Path(folder))
        task = bar.add_task(f"Trying models on {device}", total=len(models))
        for name, options in models.items():
            try:
                outcomes.append(try_model(name, build_model(name, **options), dataset, device))
            except Exception as error:  # the table says which model fails how
                outcomes.append(Outcome(name, failure=f"{type(error).__name__}: {str(error).splitlines()[0]}"))
            bar.advance(task)
    return outcomes


def try_model(name: str, model: VisionLanguageEncoder, dataset: SegmentationDataset, device: torch.device) -> Outcome:
    """Parity, two steps of training, and a measurement."""
    images = torch.stack([dataset[index].image for index in range(2)])
    here = answer(model.eval(), images)
    model = place(model, str(device))
    there = answer(model, images)
    difference = ((there - here).abs().max() / here.abs().max().clamp(min=1)).item()
    mixed = mixed_precision(device)
    full_step, mixed_step = (clock(device, partial(train, model, images, each)) for each in ("32", mixed))
    measuring = clock(device, lambda: measure(model.eval(), dataset, images, mixed))
    failure = None if difference <= TOLERANCE else f"answers are {difference:.1g} off the CPU's"
    return Outcome(name, difference, full_step, mixed_step, measuring, failure)


def mixed_precision(device: torch.device) -> Precision:
    """16 bits as GPUs train with; a CPU computes in the other kind."""
    return "bf16-mixed" if device.type == "cpu" else "16-mixed"


def answer(model: VisionLanguageEncoder, images: Tensor) -> Tensor:
    """All that a model says of pictures and prompts, on the CPU."""
    texts = TextCache(model)
    if not isinstance(model, Segmenter):
        return torch.cat(
            [encode(model, images).embedding.cpu().flatten(), texts.encode(PROMPTS).embedding.cpu().flatten()]
        )
    found = [
        each
        for image in images
        for each in decode_prompts(model, encode(model, image[None]), PROMPTS, texts, (SIDE, SIDE))
    ]
    existence = [each.existence for each in found if each.existence is not None]
    return torch.cat([*(each.logits.flatten() for each in found), *existence])


def train(model: VisionLanguageEncoder, images: Tensor, precision: Precision) -> None:
    """One step, with every parameter free.

    Raises:
        ArithmeticError: If the loss or a weight is no finite number after it.
    """
    device = model.device
    model.freeze().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    # A small scale: the first steps of a larger one are meant to overflow, and to be skipped.
    scaler = torch.amp.GradScaler(device.type, init_scale=16.0, enabled=precision == "16-mixed")
    with computing(device, precision):
        loss = find_loss(model, images.to(device))
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    weights = all(bool(parameter.isfinite().all()) for parameter in model.parameters())
    if not (bool(loss.isfinite()) and weights):
        raise ArithmeticError(f"training in {precision} leaves numbers that are not finite (loss {loss.item():g})")


def find_loss(model: VisionLanguageEncoder, images: Tensor) -> Tensor:
    """Of masks for segmenters, of pairs of picture and prompt for encoders."""
    prompts = list(PROMPTS[: len(images)])
    if isinstance(model, Segmenter):
        return segmentation_loss(model.predict(images, prompts), (images[:, :1] > 0.5).float(), LossWeights())
    vectors = (model.encode_image(images).embedding, model.encode_text(prompts).embedding)
    picture, text = (F.normalize(each.float(), dim=-1) for each in vectors)
    return F.cross_entropy(20 * picture @ text.T, torch.arange(len(images), device=images.device))


def measure(model: VisionLanguageEncoder, dataset: SegmentationDataset, images: Tensor, precision: Precision) -> None:
    """Score masks, or encode pictures.

    Raises:
        ArithmeticError: If a vector is not finite, or answers are missing.
    """
    if isinstance(model, Segmenter):
        if len(evaluate(model, dataset, precision=precision).rows) != PICTURES * len(PROMPTS):
            raise ArithmeticError("answers are missing")
    elif not encode(model, images, precision).embedding.isfinite().all():
        raise ArithmeticError(f"vectors in {precision} are not finite")


def clock(device: torch.device, work: Callable[[], None]) -> float:
    """Seconds that it takes."""
    wait(device)
    started = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - started


def write_pictures(root: Path) -> SegmentationDataset:
    """Bright discs on noise, in the benchmark's layout."""
    rng, records = np.random.default_rng(0), []
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for index in range(PICTURES):
        name, (row, column) = f"{index}.png", rng.uniform(0.3, 0.7, 2) * SIDE
        mask = (rows - row) ** 2 + (columns - column) ** 2 < (SIDE / 5) ** 2
        write_rgb(root / "images" / name, np.where(mask[..., None], 0.8, 0.2) + rng.uniform(0, 0.2, (SIDE, SIDE, 3)))
        write_mask(root / "masks" / name, mask)
        prompts = {"p0": PROMPTS[2], "p1": PROMPTS[0], "p2": PROMPTS[1]}
        records.append({"img_name": name, "mask_name": name, "prompts": prompts})
    (root / "anns").mkdir()
    (root / "anns" / "test.json").write_text(json.dumps(records), encoding="utf-8")
    return SegmentationDataset(root, "test")


def _digits(difference: float | None) -> str | None:
    return None if difference is None else f"{difference:.1e}"


if __name__ == "__main__":
    main()
