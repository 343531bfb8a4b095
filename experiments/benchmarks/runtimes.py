"""Do ONNX Runtime and PyTorch give the same masks and names, and how long do both take?

    python experiments/benchmarks/runtimes.py ../shared/data

Masks of test images of the segmentation sets, asked for their target; names of all series; time of one phrase and of
ten about one image. Writes docs/results/runtimes.md.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from setting import describe_setting

from vesalius.console import progress_bar
from vesalius.data.datasets import SegmentationDataset
from vesalius.imaging import read_image
from vesalius.models.choices import RuntimeChoice
from vesalius.naming import AnatomyLabeller
from vesalius.predict import Predictor
from vesalius.prompts.templates import variants

OUT = Path(__file__).parents[2] / "docs" / "results" / "runtimes.md"
PROGRAMS: tuple[RuntimeChoice, ...] = ("onnx", "torch")
TEN = ("polyp", "lungs", "liver", "kidneys", "brain", "heart", "spleen", "breast tumour", "optic disc", "skin lesion")
ROUNDS = 20


def compare_masks(folders: Sequence[Path], count: int) -> tuple[int, int, int, float]:
    """Images, pixels, pixels that differ, and the largest difference of existence."""
    predictors = [Predictor("pocket", runtime=program, device="cpu") for program in PROGRAMS]
    images = pixels = different = 0
    furthest = 0.0
    with progress_bar() as bar:
        for folder in bar.track(folders, description="Masks"):
            dataset = SegmentationDataset(folder, "test")
            share = min(len(dataset), -(-count // len(folders)))
            for place in np.linspace(0, len(dataset) - 1, share).round().astype(int):
                record = dataset.records[place]
                phrase = variants(record.prompts, "p1")[0]
                path = folder / "images" / record.img_name
                one, other = (each.set_image(path).predict(phrase) for each in predictors)
                images, pixels = images + 1, pixels + one.mask.size
                different += int((one.mask != other.mask).sum())
                if one.existence is not None and other.existence is not None:
                    furthest = max(furthest, abs(one.existence - other.existence))
    return images, pixels, different, furthest


def compare_names(series: Sequence[Path]) -> tuple[int, int, int]:
    """Series, slices, and slices whose named stations or organs differ."""
    labellers = [AnatomyLabeller("pocket", runtime=program, device="cpu") for program in PROGRAMS]
    slices = different = 0
    with progress_bar() as bar:
        for path in bar.track(series, description="Names"):
            image = read_image(path)
            one, other = (each.label(image) for each in labellers)
            for ours, theirs in zip(one.slices, other.slices, strict=True):
                slices += 1
                different += (ours.stations, ours.organs) != (theirs.stations, theirs.organs)
    return len(series), slices, different


def measure_phrases() -> list[str]:
    """Milliseconds of one phrase and of ten about a new image, in turns."""
    predictors = {program: Predictor("pocket", runtime=program, device="cpu") for program in PROGRAMS}
    image = np.random.default_rng(0).random((384, 384, 3)).astype(np.float32)
    taken: dict[tuple[str, int], list[float]] = {}
    for _ in range(ROUNDS + 1):
        for program, predictor in predictors.items():
            for phrases in (TEN[:1], TEN):
                start = time.perf_counter()
                predictor.set_image(image).predict(phrases)
                taken.setdefault((program, len(phrases)), []).append(1000 * (time.perf_counter() - start))
    rows = []
    for program in PROGRAMS:
        one, ten = (statistics.median(taken[program, count][1:]) for count in (1, len(TEN)))
        rows.append(f"| {program} | {one:.0f} | {ten:.0f} | {ten / one:.2f} |")
    return rows


def main() -> None:
    """Compare, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, default=200)
    args = parser.parse_args()
    folders = sorted(path for path in (args.data / "segmentation").iterdir() if path.is_dir())
    series = sorted(p for p in (args.data / "anatomy" / "series").glob("*.nii.gz") if ".labels." not in p.name)
    times = measure_phrases()
    images, pixels, different, furthest = compare_masks(folders, args.images)
    count, slices, renamed = compare_names(series)
    lines = [
        "# One model, two runtimes",
        "",
        f"Written by `python experiments/benchmarks/runtimes.py ../shared/data`: {describe_setting()}.",
        "",
        f"- Masks of {images} test images asked for their target: {different} of {pixels} pixels differ",
        f"  ({different / pixels:.6%}); existence by {furthest:.1e} at most.",
        f"- Names of {count} series: {renamed} of {slices} slices get other stations or organs.",
        "",
        f"Milliseconds for a new image of 384 × 384 and its phrases, medians of {ROUNDS} rounds in turns:",
        "",
        "| runtime | one phrase | ten phrases | ten ÷ one |",
        "|---|---|---|---|",
        *times,
    ]
    OUT.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
