"""Series a second of `vesalius name FOLDER`, its memory, and whether a killed run loses or changes anything.

    python experiments/benchmarks/naming_folders.py ../shared/data/anatomy/series          # 1000 series, an hour
    python experiments/benchmarks/naming_folders.py ../shared/data/anatomy/series --quick  # 12 series

The stacks of a folder are linked again and again, until there are as many series as asked for, and named by the command
with --jobs 1 and 2 and, a few of them, by a loop that calls the command once for each. Then a run is killed (SIGKILL)
on its way and started again. What is measured is kept in --work, so that this script, too, may be stopped and started
again. Writes docs/results/naming-speed.md.
"""

import argparse
import csv
import filecmp
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from setting import describe_setting

from vesalius.console import markdown_table
from vesalius.files import parse_json, write_json, write_text
from vesalius.processes import count_cores
from vesalius.records import NAMES, read_record

PAGE = Path(__file__).parents[2] / "docs" / "results" / "naming-speed.md"
COMMAND = [sys.executable, "-c", "from vesalius.cli import main; main()", "name"]
MEASURED = [
    sys.executable,
    "-c",
    "import resource, subprocess, sys, time\n"
    "start = time.perf_counter()\n"
    "code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode\n"
    "print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, code)",
]
"""Runs a command; prints its seconds, the largest resident memory of one of its processes in kB, and its exit code."""
QUICK = 12
KILL_AFTER_SHARE = 0.4
"""Of the series that a killed run is let name."""
LONGEST_WAIT = 3600.0
TABLES = ("csv", "series.csv", "landmarks.csv")


def main() -> None:
    """Link series, measure, kill, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder with stacks (.nii.gz)")
    parser.add_argument("--series", type=int, default=1000)
    parser.add_argument("--loop", type=int, default=20, help="series of the loop over the command")
    parser.add_argument("--work", type=Path, help="folder for what is measured; one that is left is gone on with")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} series, to see that it works")
    parser.add_argument("--out", type=Path, default=PAGE)
    args = parser.parse_args()
    count, loop = (QUICK, 3) if args.quick else (args.series, min(args.loop, args.series))
    with tempfile.TemporaryDirectory() as temporary:
        home = (args.work or Path(temporary)).absolute()
        home.mkdir(parents=True, exist_ok=True)
        write_text(args.out, measure(args.folder, home, count, loop))
    print(args.out.read_text(encoding="utf-8"))


def measure(folder: Path, home: Path, count: int, loop: int) -> str:
    """Measure everything that was not measured yet.

    Args:
        folder: Of the stacks.
        home: Folder for what is measured.
        count: Number of series.
        loop: Number of series that the loop names.
    """
    links = link_series(folder, home / f"in{count}", count)
    few = link_series(folder, home / f"few{QUICK}", QUICK)
    steps: dict[str, Callable[[], object]] = {
        "few": lambda: run_folder(few[0].parent, home / "few", 1),
        "jobs1": lambda: run_folder(links[0].parent, home / "jobs1", 1),
        "jobs2": lambda: run_folder(links[0].parent, home / "jobs2", 2),
        "rerun": lambda: run_folder(links[0].parent, home / "jobs1", 1, fresh=False),
        "loop": lambda: run_loop(links[:loop], home / "loop"),
        "killed": lambda: kill_and_rerun(links[0].parent, home, count),
    }
    found: dict[str, object] = {}
    for name, step in steps.items():
        place = home / f"{name}.{count}.json"
        if not place.exists():
            write_json(place, {"found": step()})
        content = parse_json(place.read_text(encoding="utf-8"), str(place))
        assert isinstance(content, dict)
        found[name] = content["found"]
    return tell(found, home, count, loop)


def tell(found: dict[str, object], home: Path, count: int, loop: int) -> str:
    """The page."""
    slices = count_slices(home / "jobs1")
    loop_slices = count_slices(home / "jobs1", loop)
    rows = []
    for title, name, series, shown in (
        ("vesalius name FOLDER --out names.csv --jobs 1", "jobs1", count, slices),
        ("the same with --jobs 2", "jobs2", count, slices),
        (f"a loop that calls vesalius name FILE --out for each of {loop} series", "loop", loop, loop_slices),
    ):
        seconds, memory = pair(found[name])
        cells = (f"{seconds:.1f}", f"{series / seconds:.2f}", f"{shown / seconds:.1f}", f"{memory / 1024:.0f}")
        rows.append((title, series, shown, *cells))
    columns = ("", "series", "slices", "seconds", "series a second", "slices a second", "memory of a process (MB)")
    same = [filecmp.cmp(home / f"jobs1.{kind}", home / f"jobs2.{kind}", shallow=False) for kind in TABLES]
    killed = found["killed"]
    assert isinstance(killed, dict)
    return "\n".join(
        [
            "# Naming folders: speed, memory, and what a killed run leaves",
            "",
            f"Written by `python experiments/benchmarks/naming_folders.py`: {describe_setting()}; {count_cores()} "
            f"cores usable. {count} series: the stacks of `shared/data/anatomy/series`, linked again and again. One "
            "run each, start of the program, tables and summaries included, one after another.",
            "",
            markdown_table(columns, rows, align="---:"),
            "",
            f"Memory and the number of series: {QUICK} series take {pair(found['few'])[1] / 1024:.0f} MB, {count} take "
            f"{pair(found['jobs1'])[1] / 1024:.0f} MB (largest resident memory of the process that names). A rerun "
            f"over {count} series that are done: {pair(found['rerun'])[0]:.1f} s. Tables of `--jobs 1` and `--jobs 2` "
            f"are {'the same bytes' if all(same) else 'NOT the same'}.",
            "",
            "## A killed run",
            "",
            f"A run of two processes was killed (SIGKILL) when {killed['there']} of {count} series lay in its record's "
            f"folder; {killed['recorded']} stood in the record, and {killed['half']} unfinished files were left. The "
            f"same command again named {killed['again']} series in {killed['seconds']:.1f} s; its tables are "
            f"{'the same bytes as' if killed['same'] else 'NOT the same as'} those of the run that nothing disturbed.",
            "",
        ]
    )


def pair(value: object) -> tuple[float, float]:
    """Seconds and kB."""
    assert isinstance(value, list)
    return float(value[0]), float(value[1])


def link_series(folder: Path, links: Path, count: int) -> list[Path]:
    """Link stacks, each as often as needed; label maps are left out."""
    stacks = sorted(path for path in folder.resolve().glob("*.nii.gz") if ".labels." not in path.name)
    if not stacks:
        raise SystemExit(f"{folder}: holds no stacks (.nii.gz); name the folder with series.")
    links.mkdir(parents=True, exist_ok=True)
    made = []
    for place in range(count):
        stack = stacks[place % len(stacks)]
        path = links / f"{place:04}x{stack.name}"
        if not path.exists():
            path.symlink_to(stack)
        made.append(path)
    return made


def folder_command(folder: Path, table: Path, jobs: int) -> list[str]:
    """The command over a folder."""
    return [*COMMAND, str(folder), "--jobs", str(jobs), "--out", str(table)]


def run_folder(folder: Path, stem: Path, jobs: int, *, fresh: bool = True) -> tuple[float, float]:
    """Seconds and kB of one command over a folder."""
    extra = ["--overwrite"] if fresh else []
    return run_measured([*folder_command(folder, stem.with_suffix(".csv"), jobs), *extra])


def run_measured(command: list[str]) -> tuple[float, float]:
    """Seconds of a command, and the largest memory of one of its processes, kB."""
    done = subprocess.run([*MEASURED, *command], check=True, stdout=subprocess.PIPE, text=True)
    seconds, memory, code = done.stdout.split()
    if code != "0":
        raise SystemExit(f"{' '.join(command)}: ended with exit code {code}.")
    return float(seconds), float(memory)


def run_loop(paths: list[Path], folder: Path) -> tuple[float, float]:
    """Seconds of one command a series, and the largest memory of them, kB."""
    found = [
        run_measured([*COMMAND, str(path), "--out", str(folder / f"{place}.csv"), "--overwrite"])
        for place, path in enumerate(paths)
    ]
    return sum(seconds for seconds, _ in found), max(memory for _, memory in found)


def kill_and_rerun(folder: Path, home: Path, count: int) -> dict[str, object]:
    """Kill a run of two processes on its way, start it again, and compare with one that nothing disturbed."""
    table, record = home / "killed.csv", home / "killed.record"
    process = subprocess.Popen(
        [*folder_command(folder, table, 2), "--overwrite"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    end = time.monotonic() + LONGEST_WAIT
    while count_named(record) < KILL_AFTER_SHARE * count and time.monotonic() < end and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(2)  # the processes that it had started end by themselves
    there = count_named(record)
    half = len([path for path in record.glob(".*") if path.name.endswith(".json")])
    recorded = {str(row["image"]) for row in read_record(record, NAMES)["results"]}
    seconds, _ = run_measured(folder_command(folder, table, 2))
    same = all(filecmp.cmp(home / f"jobs1.{kind}", home / f"killed.{kind}", shallow=False) for kind in TABLES)
    again = count - len(recorded)
    return {"there": there, "half": half, "recorded": len(recorded), "again": again, "seconds": seconds, "same": same}


def count_named(record: Path) -> int:
    """Series whose names lie in the folder of a record."""
    return (
        sum(name.endswith(".json") and not name.startswith(".") for name in os.listdir(record)) - 1
        if record.is_dir()
        else 0
    )


def count_slices(stem: Path, series: int | None = None) -> int:
    """Slices of the series of a table, or of the first of them."""
    with Path(f"{stem}.series.csv").open(encoding="utf-8", newline="") as file:
        return sum(int(row["slices"]) for row in list(csv.DictReader(file))[:series])


if __name__ == "__main__":
    main()
