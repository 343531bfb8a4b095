"""What `vesalius data check` finds on real data, how sure its near-duplicates are, and how fast it is.

    python experiments/benchmarks/check.py DATA [--sheet PAIRS.png]

DATA holds data sets in the benchmark's layout: kvasir_polyp, clinicdb_polyp, bkai_polyp, busi and cxr_lungs. Prints the
tables of docs/data-check.md. With --sheet, also draws pairs that were found, for people to judge.
"""

import argparse
import io
import json
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from vesalius.console import progress_bar
from vesalius.data.check import CheckReport, CheckSettings, check_dataset
from vesalius.data.check.similar import KEPT, find_similar, signature
from vesalius.processes import count_cores

SETS = ("kvasir_polyp", "clinicdb_polyp", "bkai_polyp", "busi", "cxr_lungs")
ONE_EACH = "cxr_lungs"
"""One radiograph a person: any two show different things."""
VIDEO = "clinicdb_polyp"
APART = 60
"""Frames of CVC-ClinicDB with numbers this far apart are of different videos; the longest has 25 frames."""
SAMPLE = 100
"""Images of each set that are changed to measure what is found again."""
THRESHOLDS = (0.8, 0.85, 0.9, 0.95)
HAMMING = 8
"""Bits in which two 63-bit hashes may differ, of a widespread rule for near-duplicates."""
RANDOM = (1_000, 10_000)
RUNS = 3
JUDGED = 36
"""Pairs drawn at random for the sheet, and as many of the least similar."""

Change = Callable[[Image.Image], Image.Image]


def main() -> None:
    """Measure everything and print it as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--sheet", type=Path)
    arguments = parser.parse_args()
    roots = [arguments.data / name for name in SETS]
    lacking = [str(root) for root in roots if not root.is_dir()]
    if lacking:
        sys.exit(f"error: no {', '.join(lacking)}")
    jobs = count_cores()
    print(f"{jobs} cores ({platform.machine()}), Python {platform.python_version()}, {date.today()}\n")
    reports = [check_dataset(root, CheckSettings(jobs=jobs)) for root in roots]
    print_findings(reports)
    pictures = {root.name: load(root) for root in roots}
    print_thresholds(pictures)
    print_recall(pictures)
    print_speed(roots, jobs)
    if arguments.sheet:
        draw_sheet(reports, arguments.sheet)


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A Markdown table, and an empty line."""
    for cells in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells) + " |")
    print()


def print_findings(reports: Sequence[CheckReport]) -> None:
    """Findings by kind, and images of test and val that another split shows."""
    kinds = list(dict.fromkeys(kind for report in reports for kind in report.by_kind()))
    counts = [{each.kind: each for each in report.counts()} for report in reports]
    rows: list[list[object]] = [["images", *(report.images for report in reports)]]
    for kind in kinds:
        rows.append(
            [f"`{kind}`", *(tell(count[kind].findings, count[kind].splits) if kind in count else 0 for count in counts)]
        )
    rows.append(["pairs of near-duplicates", *(len(pairs_of(report)) for report in reports)])
    rows.append(["… images in them", *(len(members(pairs_of(report))) for report in reports)])
    rows.append(
        ["… pairs across splits", *(sum(crosses(report, pair) for pair in pairs_of(report)) for report in reports)]
    )
    for number, leak in enumerate(reports[0].leaks):
        cells = (f"{report.leaks[number].images} of {report.leaks[number].of}" for report in reports)
        rows.append([f"{leak.scored} images also in {leak.seen}", *cells])
    print_table(["", *(report.root.name for report in reports)], rows)


def tell(findings: int, splits: Mapping[str, int]) -> str:
    """A number and, in brackets, its splits."""
    return f"{findings} ({'/'.join(str(count) for count in splits.values())})"


def pairs_of(report: CheckReport) -> list[dict[str, object]]:
    """All pairs of near-duplicates of a report."""
    groups = [finding.details.get("pairs") for finding in report.findings]
    return [pair for group in groups if isinstance(group, list) for pair in group]


def members(pairs: Sequence[Mapping[str, object]]) -> set[object]:
    """The images of some pairs."""
    return {pair[side] for pair in pairs for side in ("first", "second")}


def crosses(report: CheckReport, pair: Mapping[str, object]) -> bool:
    """Whether the two images lie in different splits."""
    splits = [{row.split for row in report.rows if row.image == pair[side]} for side in ("first", "second")]
    return len(splits[0] | splits[1]) > 1


@dataclass(frozen=True, eq=False)
class Pictures:
    """The images of one set, ready to be compared."""

    paths: list[Path]
    signatures: NDArray[np.float32]
    hashes: NDArray[np.bool_]
    """63 bits each, of the usual perceptual hash."""


def load(root: Path) -> Pictures:
    """Read all images of a set."""
    paths = sorted((root / "images").iterdir())
    signatures, hashes = [], []
    with progress_bar() as bar:
        for path in bar.track(paths, description=f"Reading {root.name}"):
            levels = read(path)
            signatures.append(signature(np.asarray(levels)))
            hashes.append(perceptual_hash(levels))
    return Pictures(paths, np.stack(signatures), np.stack(hashes))


def read(path: Path) -> Image.Image:
    """A picture in colour."""
    with Image.open(path) as picture:
        return picture.convert("RGB")


def perceptual_hash(picture: Image.Image) -> NDArray[np.bool_]:
    """The usual pHash, for comparison: low frequencies of 32 × 32 pixels, each above or below their median."""
    grey = np.asarray(picture.convert("L").resize((32, 32), Image.Resampling.BOX), np.float32)
    frequency, position = np.arange(8)[:, None], np.arange(32)[None]
    basis = np.cos(np.pi * (2 * position + 1) * frequency / 64)
    low = (basis @ grey @ basis.T).ravel()[1:]
    bits: NDArray[np.bool_] = low > np.median(low)
    return bits


def close_hashes(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which hashes differ in few bits, [N, M]."""
    signs, others = one * 2.0 - 1, other * 2.0 - 1
    close: NDArray[np.bool_] = (one.shape[1] - signs @ others.T) / 2 <= HAMMING
    return close


def print_thresholds(pictures: Mapping[str, Pictures]) -> None:
    """Pairs found at several thresholds; those of one column are known to be unrelated."""
    found = {name: list(find_similar(each.signatures, min(THRESHOLDS))) for name, each in pictures.items()}
    numbers = [int(path.stem) for path in pictures[VIDEO].paths]
    apart = [pair for pair in found[VIDEO] if abs(numbers[pair.first] - numbers[pair.second]) > APART]
    mixed, mixed_count = compare_sets(pictures)
    rows: list[list[object]] = []
    for least in THRESHOLDS:
        counts = [sum(pair.similarity >= least for pair in pairs) for pairs in (*found.values(), apart)]
        rows.append([f"similarity ≥ {least}", *counts, sum(value >= least for value in mixed)])
    hashes = [int(np.triu(close_hashes(each.hashes, each.hashes), 1).sum()) for each in pictures.values()]
    gaps = np.abs(np.subtract.outer(numbers, numbers)) > APART
    hashes.append(int(np.triu(close_hashes(pictures[VIDEO].hashes, pictures[VIDEO].hashes) & gaps, 1).sum()))
    rows.append([f"pHash ≤ {HAMMING} of 63 bits", *hashes, "–"])
    totals = [len(each.paths) * (len(each.paths) - 1) // 2 for each in pictures.values()]
    rows.append(["all pairs", *totals, int(np.triu(gaps, 1).sum()), mixed_count])
    print_table(["", *pictures, f"{VIDEO}, over {APART} frames apart", "between sets of other organs"], rows)


def compare_sets(pictures: Mapping[str, Pictures]) -> tuple[list[float], int]:
    """Similarities that pictures of different organs reach, the large ones, and how many pairs were compared."""
    organs = ["kvasir_polyp", "busi", ONE_EACH]
    owner = np.concatenate([np.full(len(pictures[name].paths), number) for number, name in enumerate(organs)])
    signatures = np.concatenate([pictures[name].signatures for name in organs])
    pairs = find_similar(signatures, min(THRESHOLDS))
    large = [pair.similarity for pair in pairs if owner[pair.first] != owner[pair.second]]
    return large, int((owner[:, None] < owner[None]).sum())


def changes() -> dict[str, Change]:
    """What happens to copies on their way from one data set to another."""
    noise = np.random.default_rng(0)
    return {
        "mirrored left to right": lambda picture: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        "turned by 90°": lambda picture: picture.transpose(Image.Transpose.ROTATE_90),
        "JPEG, quality 30": to_jpeg,
        "half the size": lambda picture: picture.resize((picture.width // 2, picture.height // 2)),
        "stretched to a square": lambda picture: picture.resize((256, 256)),
        "30 % brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.3),
        "30 % darker": lambda picture: ImageEnhance.Brightness(picture).enhance(0.7),
        "40 % more contrast": lambda picture: ImageEnhance.Contrast(picture).enhance(1.4),
        "gamma 0.7": lambda picture: picture.point(lambda value: round(255 * (value / 255) ** 0.7)),
        "grey": lambda picture: picture.convert("L"),
        "blurred, 1.5 px": lambda picture: picture.filter(ImageFilter.GaussianBlur(1.5)),
        "noise, σ = 12": lambda picture: add_noise(picture, noise),
        "white box, 6 % of the area": draw_box,
        "turned by 2°": lambda picture: picture.rotate(2, Image.Resampling.BICUBIC),
        "cropped by 1 % a side": lambda picture: crop(picture, 0.01),
        "cropped by 2 % a side": lambda picture: crop(picture, 0.02),
        "cropped by 5 % a side": lambda picture: crop(picture, 0.05),
    }


def to_jpeg(picture: Image.Image) -> Image.Image:
    """Strongly compressed."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=30)
    return Image.open(buffer)


def add_noise(picture: Image.Image, generator: np.random.Generator) -> Image.Image:
    """Grain."""
    levels = np.asarray(picture) + generator.normal(0, 12, (picture.height, picture.width, 3))
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


def draw_box(picture: Image.Image) -> Image.Image:
    """A label over a quarter of the width and height."""
    copy = picture.copy()
    ImageDraw.Draw(copy).rectangle((4, 4, 4 + picture.width // 4, 4 + picture.height // 4), fill="white")
    return copy


def crop(picture: Image.Image, part: float) -> Image.Image:
    """Without so much of width and height on each side."""
    across, down = round(picture.width * part), round(picture.height * part)
    return picture.crop((across, down, picture.width - across, picture.height - down))


def print_recall(pictures: Mapping[str, Pictures]) -> None:
    """How many changed copies are found again at the default threshold, and by the usual hash."""
    least = CheckSettings().similarity
    rng = np.random.default_rng(0)
    chosen = {name: rng.choice(len(each.paths), SAMPLE, replace=False) for name, each in pictures.items()}
    rows = []
    with progress_bar() as bar:
        for title, change in bar.track(changes().items(), description="Changing copies"):
            hits = {name: find_again(pictures[name], chosen[name], change, least) for name in pictures}
            hashed = sum(each[1] for each in hits.values()) / len(hits)
            rows.append([title, *(f"{hit:.0%}" for hit, _ in hits.values()), f"{hashed:.0%}"])
    print(f"{SAMPLE} images of each set, threshold {least}:\n")
    print_table(["change", *pictures, f"pHash ≤ {HAMMING} bits, mean"], rows)


def find_again(pictures: Pictures, chosen: NDArray[np.intp], change: Change, least: float) -> tuple[float, float]:
    """Share of changed copies that are recognised, by signature and by hash."""
    found, hashed = 0, 0
    for number in chosen:
        copy = change(read(pictures.paths[number]))
        both = np.stack([pictures.signatures[number], signature(np.asarray(copy))])
        found += len(list(find_similar(both, least)))
        hashed += bool(close_hashes(pictures.hashes[number][None], perceptual_hash(copy)[None])[0, 0])
    return found / len(chosen), hashed / len(chosen)


def print_speed(roots: Sequence[Path], jobs: int) -> None:
    """Images a second of the whole check, and seconds to compare many signatures."""
    rows = []
    for root in roots:
        alone = [measure(root, 1) for _ in range(RUNS)]
        together = [measure(root, jobs) for _ in range(RUNS)]
        best = (max(rate for rate, _ in alone), max(rate for rate, _ in together), max(rate for _, rate in alone))
        rows.append([root.name, *(f"{rate:.0f}" for rate in best)])
    columns = ("1 process", f"{jobs} processes", "1 process, by processor time")
    print_table([f"images a second, best of {RUNS}", *columns], rows)
    for count in RANDOM:
        values = np.random.default_rng(0).normal(size=(count, KEPT, KEPT)).astype(np.float32)
        start = time.perf_counter()
        list(find_similar(values / np.linalg.norm(values, axis=(1, 2), keepdims=True), 0.9))
        print(f"Comparing {count:,} signatures: {time.perf_counter() - start:.2f} s")


def measure(root: Path, jobs: int) -> tuple[float, float]:
    """Images a second of one check, by the clock and by the time that this process computed."""
    start = time.process_time()
    report = check_dataset(root, CheckSettings(jobs=jobs))
    return report.images / report.seconds, report.images / (time.process_time() - start)


def draw_sheet(reports: Sequence[CheckReport], path: Path) -> None:
    """Pairs side by side: some at random, and the least similar ones."""
    pairs = [(report.root, pair) for report in reports for pair in pairs_of(report)]
    order = np.random.default_rng(0).permutation(len(pairs))[:JUDGED]
    least = sorted(pairs, key=lambda each: float(str(each[1]["similarity"])))[:JUDGED]
    shown = [*(pairs[number] for number in order), *least]
    side, columns = 180, 4
    sheet = Image.new("RGB", (columns * (2 * side + 12), -(-len(shown) // columns) * side), "white")
    pen = ImageDraw.Draw(sheet)
    for place, (root, pair) in enumerate(shown):
        left, top = place % columns * (2 * side + 12), place // columns * side
        pen.text((left, top), json.dumps(pair["similarity"]) + f" {pair['first']} {pair['second']}"[:60], fill="black")
        for number, name in enumerate((pair["first"], pair["second"])):
            sheet.paste(read(root / str(name)).resize((side, side - 24)), (left + number * side, top + 14))
    sheet.save(path)
    print(f"\nPairs to judge, {JUDGED} at random and the {JUDGED} least similar of {len(pairs)}: {path}")


if __name__ == "__main__":
    main()
