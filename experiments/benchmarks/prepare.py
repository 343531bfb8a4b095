"""How many images a second `vesalius data prepare` brings into the layout; makes its own input.

    python experiments/benchmarks/prepare.py

Pictures are smoothed noise of 640 × 512 pixels with one ellipse as mask. Each run prepares into a new folder; "again"
is the same once more, which finds everything done. Times of the processor do not depend on what else the machine does.
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from vesalius import __version__
from vesalius.data.catalog import find_card
from vesalius.data.prepare import PreparePlan, Source, find_samples, prepare

SIZE = (512, 640)
RUNS = 3
Save = Callable[[Path, int, Image.Image, Image.Image], None]


def draw(rng: np.random.Generator) -> tuple[Image.Image, Image.Image]:
    """A picture and its mask."""
    noise = Image.fromarray(rng.integers(0, 256, (*SIZE, 3), np.uint8)).filter(ImageFilter.GaussianBlur(3))
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    centre, radius = rng.uniform(0.3, 0.7, 2) * SIZE, rng.uniform(0.1, 0.25, 2) * SIZE
    inside = ((rows - centre[0]) / radius[0]) ** 2 + ((columns - centre[1]) / radius[1]) ** 2 < 1
    return noise, Image.fromarray(inside.astype(np.uint8) * 255)


def save(path: Path, picture: Image.Image, **options: int) -> None:
    """Write a picture, its folders first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, None, **options)


def kvasir(root: Path, number: int, picture: Image.Image, mask: Image.Image) -> None:
    """JPEG with JPEG masks of three channels."""
    save(root / f"images/c{number}.jpg", picture, quality=90)
    save(root / f"masks/c{number}.jpg", mask.convert("RGB"), quality=90)


def clinicdb(root: Path, number: int, picture: Image.Image, mask: Image.Image) -> None:
    """TIFF, which becomes PNG."""
    save(root / f"Original/{number}.tif", picture)
    save(root / f"Ground Truth/{number}.tif", mask)


def busi(root: Path, number: int, picture: Image.Image, mask: Image.Image) -> None:
    """PNG with two masks."""
    save(root / f"benign/benign ({number}).png", picture)
    save(root / f"benign/benign ({number})_mask.png", mask)
    save(root / f"benign/benign ({number})_mask_1.png", mask)


SETS: dict[str, Save] = {"kvasir_polyp": kvasir, "clinicdb_polyp": clinicdb, "busi": busi}


def run(name: str, root: Path, dest: Path) -> tuple[float, float]:
    """Seconds of the clock and of the processor for one preparation, finding the files included."""
    clock, processor = time.perf_counter(), time.process_time()
    source = Source(root)
    prepare(find_samples(find_card(name), source), source, dest, PreparePlan(name))
    return time.perf_counter() - clock, time.process_time() - processor


def medians(name: str, root: Path) -> tuple[float, float]:
    """Over all runs; clock and processor."""
    times = [run(name, root, root.parent / f"run_{number}") for number in range(RUNS)]
    return statistics.median(each[0] for each in times), statistics.median(each[1] for each in times)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    count = parser.parse_args().images
    hardware = f"{os.cpu_count()} cores ({platform.machine()}), one process, Python {platform.python_version()}"
    print(f"vesalius {__version__}, {datetime.now(UTC).date()}, {hardware}")
    print(f"{count} images of {SIZE[1]} × {SIZE[0]} pixels, median of {RUNS} runs")
    print("| data set | files | images/s | per second of processor time | again, images/s |\n|---|---|---|---|---|")
    for name, arrange in SETS.items():
        with tempfile.TemporaryDirectory() as folder:
            root, rng = Path(folder) / "original", np.random.default_rng(0)
            for number in range(count):
                arrange(root, number, *draw(rng))
            (clock, processor), (again, _) = medians(name, root), medians(name, root)
        what = (arrange.__doc__ or "").rstrip(".")
        print(f"| {name} | {what} | {count / clock:.0f} | {count / processor:.0f} | {count / again:.0f} |")


if __name__ == "__main__":
    main()
