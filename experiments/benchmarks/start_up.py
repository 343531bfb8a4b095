"""Whole processes of `vesalius segment` and `vesalius name`, in both runtimes, and what an installation weighs.

    python experiments/benchmarks/start_up.py
    python experiments/benchmarks/start_up.py --install    # of a new installation, and what that weighs; takes minutes

The commands take turns on a picture and a volume that are made here, and the kernel's own figures of each process are
read. Writes docs/results/start-up.md.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
from setting import describe_setting

from vesalius.imaging import write_rgb

ROOT = Path(__file__).parents[2]
OUT = ROOT / "docs" / "results" / "start-up.md"
SLICES = 100
LAUNCHER = """
import os, sys, time
start = time.perf_counter()
nowhere = [(os.POSIX_SPAWN_OPEN, each, os.devnull, os.O_WRONLY, 0) for each in (1, 2)]
_, status, usage = os.wait4(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=nowhere), 0)
print(time.perf_counter() - start, usage.ru_maxrss, usage.ru_utime + usage.ru_stime)
sys.exit(status != 0)
"""
MODULES = """
import sys, vesalius.cli
vesalius.cli.main({})
print(sum(name.partition(".")[0] == "vesalius" for name in sys.modules))
"""


@dataclass
class Process:
    """A command, and its figures."""

    title: str
    arguments: Sequence[str]
    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    mebibytes: float = 0

    def run(self) -> None:
        """Once more."""
        seconds, mebibytes, processor = run(self.arguments)
        self.seconds.append(seconds)
        self.processor.append(processor)
        self.mebibytes = max(self.mebibytes, mebibytes)

    def row(self) -> str:
        """Of the table."""
        median, work = statistics.median(self.seconds), min(self.processor)
        return f"| {self.title} | {min(self.seconds):.2f} | {median:.2f} | {work:.2f} | {self.mebibytes:.0f} |"


def run(arguments: Sequence[str]) -> tuple[float, float, float]:
    """Seconds of wall time, MiB of peak memory and seconds of all cores of one process.

    A process is said to have needed at least what the one that started it had, so a small one starts it.
    """
    command = [sys.executable, "-I", "-S", "-c", LAUNCHER, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} failed")
    seconds, kibibytes, processor = map(float, done.stdout.split())
    return seconds, kibibytes / 1024, processor


def make_images(folder: Path) -> tuple[Path, Path]:
    """A picture, and a CT of noise."""
    random = np.random.default_rng(0)
    picture, volume = folder / "picture.png", folder / "ct.nii.gz"
    write_rgb(picture, random.random((384, 384, 3)))
    levels = random.integers(-1000, 1000, (256, 256, SLICES)).astype(np.int16)
    nib.save(nib.Nifti1Image(levels, np.diag([1.5, 1.5, 3.0, 1.0])), volume)
    return picture, volume


def count_modules(arguments: Sequence[str]) -> int:
    """Modules of ours that a command loads."""
    done = subprocess.run(
        [sys.executable, "-c", MODULES.format(list(arguments))], capture_output=True, text=True, check=True
    )
    return int(done.stdout.split()[-1])


def measure_install(folder: Path) -> tuple[list[str], Path]:
    """Megabytes and seconds of new environments, without and with the extra ``train``; the latter's command."""
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT], check=True)
    (wheel,) = folder.glob("vesalius-*.whl")
    lines = [
        "",
        "## Installing",
        "",
        f"The wheel has {wheel.stat().st_size / 1e6:.0f} MB. New environments, all packages downloaded:",
        "",
        "| | MB on disk | seconds |",
        "|---|---|---|",
    ]
    for extra in ("", "[train]"):
        place = folder / f"environment{len(extra)}"
        venv.create(place, with_pip=True)
        before, start = disk_bytes(place), time.perf_counter()
        subprocess.run([place / "bin/pip", "install", "-q", "--no-cache-dir", f"{wheel}{extra}"], check=True)
        taken = time.perf_counter() - start
        lines.append(f"| `pip install 'vesalius{extra}'` | {(disk_bytes(place) - before) / 1e6:.0f} | {taken:.0f} |")
    return lines, place / "bin/vesalius"


def disk_bytes(folder: Path) -> int:
    """Of all files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def main() -> None:
    """Measure in turns, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--install", action="store_true")
    args = parser.parse_args()
    command = Path(sys.executable).with_name("vesalius")
    install: list[str] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if args.install:
            install, command = measure_install(folder)
        picture, volume = make_images(folder)
        segment = ["segment", str(picture), "polyp", "--out", str(folder / "out"), "--overwrite"]
        name = ["name", str(volume)]
        processes = [
            Process("`vesalius segment IMAGE polyp`", [str(command), *segment]),
            Process("the same in PyTorch (`--runtime torch`)", [str(command), *segment, "--runtime", "torch"]),
            Process(f"`vesalius name` of {SLICES} slices", [str(command), *name]),
            Process("the same in PyTorch", [str(command), *name, "--runtime", "torch"]),
            Process("`vesalius --help`", [str(command), "--help"]),
        ]
        for _ in range(args.runs):
            for each in processes:
                each.run()
        modules = {title: count_modules(each) for title, each in (("segment", segment), ("name", name))}
    lines = [
        "# How long a process takes",
        "",
        f"Written by `python experiments/benchmarks/start_up.py`: {describe_setting()}.",
        f"{args.runs} runs in turns, of {'a new installation' if install else 'a checkout'}; the processor's seconds",
        "are of all cores together.",
        "",
        "| process | seconds, best | median | processor, best | peak MiB |",
        "|---|---|---|---|---|",
        *(each.row() for each in processes),
        "",
        f"Modules of ours loaded: {', '.join(f'{each} {count}' for each, count in modules.items())}.",
        *install,
    ]
    OUT.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
