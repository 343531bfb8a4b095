"""Time and memory of `vesalius segment IMAGE "polyp"` as a whole process, and how much of it is importing.

    python benchmarks/start_up.py

Runs the command several times on a picture it makes, and reads the kernel's own figures of each process.
"""

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vesalius.imaging import write_rgb

RUNS = 5
IMPORTS = "import vesalius.cli.segment, vesalius.predict, vesalius.results, vesalius.imaging"


def run(arguments: Sequence[str]) -> tuple[float, float]:
    """Seconds of wall time and MiB of peak memory of one process."""
    start = time.perf_counter()
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        sys.exit(f"{' '.join(arguments)} failed")
    process.returncode = 0
    return seconds, usage.ru_maxrss / 1024


def main() -> None:
    """Measure and print."""
    command = str(Path(sys.executable).with_name("vesalius"))
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "picture.png"
        write_rgb(picture, np.random.default_rng(0).random((384, 384, 3)))
        whole = [run([command, "segment", str(picture), "polyp", "--out", folder, "--overwrite"]) for _ in range(RUNS)]
    imports = [run([sys.executable, "-c", IMPORTS]) for _ in range(RUNS)]
    help_page = [run([command, "--help"]) for _ in range(RUNS)]
    seconds = statistics.median(each[0] for each in whole)
    importing = statistics.median(each[0] for each in imports)
    print(f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, {RUNS} runs, medians")
    print(f"vesalius segment: {seconds:.2f} s, peak {max(each[1] for each in whole):.0f} MiB")
    print(f"importing alone: {importing:.2f} s = {importing / seconds:.0%} of it")
    print(f"vesalius --help: {statistics.median(each[0] for each in help_page):.2f} s")


if __name__ == "__main__":
    main()
