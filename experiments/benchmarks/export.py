"""Exports of pocket and CLIPSeg beside PyTorch: sizes, differences and times in one run.

Writes docs/results/export-results.md.

    python experiments/benchmarks/export.py ../shared/data/segmentation/kvasir_polyp

CLIPSeg has untrained weights: its time does not depend on them, and its small logits make a weak test of sameness.
8 bits are for pocket alone. Models take turns, round by round.
Needs `pip install -e .[export]`.
"""

import argparse
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from setting import describe_setting

from vesalius.console import progress_bar
from vesalius.data.catalog import read_catalog
from vesalius.data.datasets import SegmentationDataset
from vesalius.export.checking import DiceChange, check_dice
from vesalius.export.run import Timing, export_model, time_models
from vesalius.files import write_text
from vesalius.models import build_model
from vesalius.models.checkpoint_file import GRAPH_PROGRAMS, GraphProgram, find_checkpoint
from vesalius.models.checkpoints import load_segmenter, save_model

OUT = Path(__file__).parents[2] / "docs" / "results" / "export-results.md"
TITLES: dict[GraphProgram, str] = {"onnx": "ONNX Runtime", "openvino": "OpenVINO"}


@dataclass
class Entry:
    """One row of the table."""

    title: str
    source: Path
    size: int
    difference: float | None = None
    dice: DiceChange | None = None
    timing: Timing | None = None


def export_all(checkpoint: Path, folder: Path, calibrate: list[Path | None]) -> list[Entry]:
    """The checkpoint, and its export for every program and precision."""
    entries = [Entry("PyTorch", checkpoint, checkpoint.stat().st_size)]
    for data in calibrate:
        for runtime in GRAPH_PROGRAMS:
            title = f"{TITLES[runtime]}, {'32-bit floats' if data is None else '8 bits'}"
            with progress_bar() as bar:
                report = export_model(checkpoint, folder / title, bar, runtime=runtime, calibrate=data)
            difference = report.difference if data is None else None
            entries.append(Entry(title, report.folder, report.sizes[1], difference))
    return entries


def score(entries: list[Entry], data: Path) -> None:
    """Dice of every export on test images, beside PyTorch's."""
    original, dataset = load_segmenter(entries[0].source), SegmentationDataset(data, "test")
    for entry in entries[1:]:
        entry.dice = check_dice(original, load_segmenter(entry.source), dataset, lambda: None)


def time_all(entries: list[Entry], rounds: int) -> None:
    """All of them in turns."""
    timings = time_models([load_segmenter(entry.source) for entry in entries], rounds)
    for entry, timing in zip(entries, timings, strict=True):
        entry.timing = timing


def table(entries: list[Entry]) -> list[str]:
    """As Markdown; times as fast are those of an image and an answer together."""
    head = "| | MB | ms an image | ms a prompt | ms an answer | images a second | times as fast | difference | Dice |"
    lines = [head, "|---|---|---|---|---|---|---|---|---|"]
    reference = entries[0].timing
    assert reference is not None
    for entry in entries:
        timing = entry.timing
        assert timing is not None
        times = f"{timing.image:.1f} | {timing.prompt:.1f} | {timing.decoder:.1f} | {1000 / timing.answer:.1f}"
        difference = "–" if entry.difference is None else f"{entry.difference:.0e}"
        dice = "–" if entry.dice is None else f"{entry.dice.after:.4f} ({entry.dice.change:+.4f})"
        ratio = f"{reference.answer / timing.answer:.1f}"
        lines.append(f"| {entry.title} | {entry.size / 1e6:.1f} | {times} | {ratio} | {difference} | {dice} |")
    return lines


def page(pocket: list[Entry], clipseg: list[Entry], data: Path, rounds: int) -> str:
    """The whole page as Markdown."""
    programs = ", ".join(f"{name} {version(name)}" for name in ("onnxruntime", "openvino"))
    (before,) = {entry.dice.before for entry in pocket if entry.dice} or {0.0}
    images = next(entry.dice.images for entry in pocket if entry.dice)
    lines = [
        "# Exports: size, speed and sameness",
        "",
        f"Written by `python experiments/benchmarks/export.py`: {describe_setting()},",
        f"{programs}; {torch.get_num_threads()} threads.",
        f"Medians of {rounds} rounds in which all take turns; one image at the",
        "working size and one prompt at a time. A prompt is encoded once for any number of images, so images a second",
        "and times as fast count an image and an answer. Difference: the largest of any logit on made-up pictures. MB:",
        "the checkpoint, and the folder of the export.",
        "",
        f"## pocket, {load_segmenter(pocket[0].source).spec.image_size} px",
        "",
        f"Dice on the first {images} test images of {read_catalog()[data.name].title}, prompt p1, resolution of the",
        f"files, threshold 0.5; in PyTorch it is {before:.4f}. 8 bits were calibrated on training images.",
        "",
        *table(pocket),
        "",
        f"## CLIPSeg, {load_segmenter(clipseg[0].source).spec.image_size} px, untrained weights",
        "",
        *table(clipseg),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Export, compare, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        torch.manual_seed(0)
        save_model(build_model("clipseg"), folder / "clipseg.safetensors")
        pocket = export_all(find_checkpoint("pocket"), folder / "pocket", [None, args.data])
        clipseg = export_all(folder / "clipseg.safetensors", folder / "clipseg", [None])
        score(pocket, args.data)
        for entries in (pocket, clipseg):
            time_all(entries, args.rounds)
        text = page(pocket, clipseg, args.data, args.rounds)
    write_text(args.out, text)
    print(text)


if __name__ == "__main__":
    main()
