"""Score the embedded model on labelled volumes of people it never saw; writes docs/pocket-volumes.md.

    python benchmarks/volumes.py ../shared/data/anatomy

3-D Dice of the slices' masks as `vesalius segment` writes them, slices of a series deciding together. Targets that a
volume does not show are asked as well: what is marked then is marked wrongly.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from setting import describe_setting

from vesalius.console import progress_bar
from vesalius.files import write_text
from vesalius.imaging import MedicalImage, read_image
from vesalius.predict import Predictor

OUT = Path(__file__).parents[1] / "docs" / "pocket-volumes.md"
VOLUMES = {
    "series/ircad17": ("CT", {"liver": ("liver",)}, ("brain", "prostate", "left ventricle")),
    "series/onkodicom_rt02_thorax_00": (
        "CT",
        {"lungs": ("lung",), "heart": ("heart",), "liver": ("liver",)},
        ("brain", "prostate", "left ventricle"),
    ),
    "series/onkodicom_rt01_hn_00": ("CT", {"brain": ("brain",)}, ("liver", "kidneys", "prostate")),
    "abdomen_mr": (
        "MR",
        {"kidneys": ("kidney",), "liver": ("liver",), "spleen": ("spleen",), "stomach": ("stomach",)},
        ("brain", "lungs", "prostate"),
    ),
}
"""Modality, what is outlined (phrase -> how the labels' names begin), and what is surely not there."""


def read(root: Path, name: str, modality: str) -> tuple[MedicalImage, MedicalImage, dict[str, int]]:
    """The volume, its labels and their numbers."""
    if (root / name).is_dir():
        image, labels, names = (root / name / each for each in ("mr.nii.gz", "segmentation.nii.gz", "labels.json"))
    else:
        image, labels, names = (root / f"{name}{each}" for each in (".nii.gz", ".labels.nii.gz", ".labels.json"))
    numbers = {label: int(number) for number, label in json.loads(names.read_text(encoding="utf-8")).items()}
    return replace(read_image(image), modality=modality), read_image(labels), numbers


def rows(predictor: Predictor, root: Path) -> Iterator[str]:
    """One a volume and phrase."""
    for name, (modality, outlined, absent) in VOLUMES.items():
        image, labels, numbers = read(root, name, modality)
        truth = np.stack([labels.slices().pixels[index] for index in range(len(labels.slices()))])
        prompts = [*outlined, *absent]
        slices = image.slices()
        masks: dict[str, list[np.ndarray[tuple[int, ...], np.dtype[np.bool_]]]] = {each: [] for each in prompts}
        surest = dict.fromkeys(prompts, 0.0)
        with progress_bar() as bar:
            for answers in bar.track(predictor.predict_slices(slices, prompts), len(slices), description=name):
                for answer in answers:
                    masks[answer.prompt].append(answer.mask)
                    surest[answer.prompt] = max(surest[answer.prompt], answer.run_existence or 0.0)
        for prompt in prompts:
            marked = np.stack(masks[prompt])
            known = [number for label, number in numbers.items() if label.startswith(outlined.get(prompt, ("-",)))]
            inside = np.isin(truth, known)
            total = int(marked.sum() + inside.sum())
            score = f"{2 * int((marked & inside).sum()) / total:.3f}" if prompt in outlined and total else "–"
            if not predictor.knowledge.understand(prompt, modality).expected:
                score = "not expected here"
            wrong = "–" if prompt in outlined else f"{100 * marked.mean():.2f} %"
            cells = (Path(name).name, modality, len(slices), prompt, score, wrong, f"{surest[prompt]:.2f}")
            yield f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    """Ask, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("anatomy", type=Path)
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    lines = [
        "# pocket on volumes",
        "",
        f"Written by `python benchmarks/volumes.py ../shared/data/anatomy`: {describe_setting()}.",
        "None of these people was trained on. Targets without a Dice are not there at all.",
        "",
        "| volume | modality | slices | phrase | 3-D Dice | marked though absent | existence of the best run |",
        "|---|---|---|---|---|---|---|",
        *rows(Predictor(args.model), args.anatomy),
    ]
    write_text(args.out, "\n".join(lines) + "\n")
    print("\n".join(lines[5:]))


if __name__ == "__main__":
    main()
