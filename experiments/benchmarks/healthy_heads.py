"""How often the embedded model finds lesions in healthy heads; writes docs/results/pocket-heads.md.

    python experiments/benchmarks/healthy_heads.py ../shared/data/anatomy

The heads are MNI152's template (of 152 people, skull-stripped, from nilearn) and the series that
experiments/pocket/healthy_heads.toml keeps for validation and test: nobody of them was trained on. CT is shown in the
usual window and in the one for brains. A slice is wrong where a mask covers more than a hundredth of it.
"""

import argparse
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nilearn
import numpy as np
from setting import describe_setting

from vesalius.console import markdown_table, progress_bar
from vesalius.files import write_text
from vesalius.imaging import read_image
from vesalius.imaging.slices import SliceStack
from vesalius.predict import Predictor
from vesalius.segmentation import decide_together

ROOT = Path(__file__).parents[2]
HEADS = ROOT / "experiments" / "pocket" / "healthy_heads.toml"
OUT = ROOT / "docs" / "results" / "pocket-heads.md"
TEMPLATE = Path(nilearn.__file__).parent / "datasets" / "data" / "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
PHRASES = ("brain tumour", "brain haemorrhage", "multiple sclerosis lesions")
MARKED = 0.01


@dataclass(frozen=True)
class Head:
    """Slices of one series."""

    name: str
    used: str
    slices: SliceStack
    taken: slice
    """Those that show enough of the head."""


def find_heads(series: Path) -> Iterator[Head]:
    """The template in three planes, then the series."""
    for plane in ("axial", "coronal", "sagittal"):
        stack = read_image(TEMPLATE).slices(plane)
        yield Head(f"MNI152's template, {plane}", "test", stack, slice(len(stack) // 5, len(stack) * 4 // 5))
    for row in tomllib.loads(HEADS.read_text(encoding="utf-8"))["series"]:
        if row["split"] != "train":
            first, last = row["slices"]
            image = read_image(series / row["file"])
            for window in (None, "brain") if row["modality"] == "ct" else (None,):
                name = row["file"].partition(".")[0] + (f", {window} window" if window else "")
                yield Head(name, row["split"], image.slices(window=window), slice(first, last + 1))


def count_marked(predictor: Predictor, head: Head, phrases: list[str]) -> tuple[list[int], list[int]]:
    """Slices on which each phrase marks something: each slice by itself, and all together."""
    with progress_bar() as bar:
        single = predictor.predict_slices(head.slices, phrases, together=False)
        alone = list(bar.track(single, len(head.slices), description=head.name))
    together = list(decide_together(alone, len(alone), head.slices.slice_spacing_mm))
    first, second = (
        np.array([[each.mask.mean() > MARKED for each in own] for own in every[head.taken]]).sum(0).tolist()
        for every in (alone, together)
    )
    return first, second


def main() -> None:
    """Ask, count, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("anatomy", type=Path)
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    predictor = Predictor(args.model)
    rows: list[list[str]] = []
    totals: dict[str, list[int]] = {}
    for head in find_heads(args.anatomy / "series"):
        modality = head.slices.modality
        phrases = [each for each in PHRASES if predictor.knowledge.understand(each, modality).expected]
        count = len(range(*head.taken.indices(len(head.slices))))
        alone, together = count_marked(predictor, head, phrases)
        rows.append([head.name, head.used, str(count), *("–" for _ in PHRASES)])
        for phrase, one, both in zip(phrases, alone, together, strict=True):
            rows[-1][3 + PHRASES.index(phrase)] = f"{one}, {both}"
            total = totals.setdefault(f"{phrase}, {head.used}", [0, 0, 0])
            totals[f"{phrase}, {head.used}"] = [a + b for a, b in zip(total, (one, both, count), strict=True)]
    lines = [
        "# pocket on healthy heads",
        "",
        f"Written by `python experiments/benchmarks/healthy_heads.py ../shared/data/anatomy`: {describe_setting()}.",
        "Slices on which a phrase marks more than a hundredth though nothing is there: each slice alone, then with the",
        "slices of its series deciding together. A dash stands where a target is not expected in that modality.",
        "",
        markdown_table(["series", "used for", "slices", *PHRASES], rows),
        "",
        markdown_table(
            ["phrase, used for", "wrong alone", "wrong together", "slices"],
            [[name, f"{a / n:.0%}", f"{b / n:.0%}", str(n)] for name, (a, b, n) in totals.items()],
        ),
    ]
    write_text(args.out, "\n".join(lines) + "\n")
    print("\n".join(lines[6:]))


if __name__ == "__main__":
    main()
