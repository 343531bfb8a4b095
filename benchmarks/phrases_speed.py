"""Time one phrase and ten about one picture, in one run, in PyTorch and in ONNX Runtime; prints a table.

    python benchmarks/phrases_speed.py [--threads 2] [--rounds 15]

Encoding the picture and answering count, medians over rounds; ONNX Runtime runs `vesalius export pocket`, made here.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from setting import describe_setting

from vesalius.cli import main as vesalius
from vesalius.predict import Predictor

PHRASES = (
    "polyp", "liver", "kidneys", "lungs", "brain", "skin lesion", "optic disc", "fetal head", "cell nuclei", "spleen",
)  # fmt: skip
SIZE = (480, 640)


def measure(predictor: Predictor, phrases: Sequence[str], rounds: int) -> float:
    """Milliseconds of one picture, median."""
    picture = np.random.default_rng(0).random((*SIZE, 3)).astype(np.float32)
    spent = []
    for _ in range(rounds + 2):
        start = time.perf_counter()
        predictor.set_image(picture).predict(list(phrases))
        spent.append(1000 * (time.perf_counter() - start))
    return statistics.median(spent[2:])


def main() -> None:
    """Export, time, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder) / "pocket"
        vesalius(["export", "pocket", "--out", str(exported)])
        print(f"{describe_setting()}; {args.threads} threads, picture of {SIZE[1]} × {SIZE[0]}")
        print("| runtime | one phrase | ten phrases | ratio |", "|---|---|---|---|", sep="\n")
        for name, model in (("PyTorch", "pocket"), ("ONNX Runtime", exported)):
            predictor = Predictor(model)
            one, ten = (measure(predictor, PHRASES[:count], args.rounds) for count in (1, len(PHRASES)))
            print(f"| {name} | {one:.0f} ms | {ten:.0f} ms | {ten / one:.2f} |")


if __name__ == "__main__":
    main()
