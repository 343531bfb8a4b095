"""Images a second of `vesalius segment FOLDER --prompt …`, and whether a killed run loses or breaks anything.

    python experiments/benchmarks/folders.py                       # 500 pictures, some minutes on two cores
    python experiments/benchmarks/folders.py --images 40 --loop 4  # to see that it works

The same pictures are segmented for the same two phrases by the command with --jobs 1 and 2, by a loop that calls the
command once for each picture, and from Python with one Predictor. Then a run is killed (SIGKILL) on its way and started
again. Writes docs/results/segmenting-speed.md.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from setting import describe_setting

from vesalius.imaging import write_mask
from vesalius.predict import Predictor
from vesalius.processes import count_cores
from vesalius.records import SEGMENTATIONS
from vesalius.results import slugs

OUT = Path(__file__).parents[2] / "docs" / "results" / "segmenting-speed.md"
PROMPTS = ("polyp", "lungs")
SIZE = 576, 720
COMMAND = [sys.executable, "-c", "from vesalius.cli import main; main()", "segment"]
KILL_AFTER_SHARE = 0.4
"""Of the masks that a killed run is let write."""
LONGEST_WAIT = 600.0


def main() -> None:
    """Make pictures, measure, kill, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--loop", type=int, default=20, help="pictures of the loop over the command")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        pictures = draw_pictures(home / "in", args.images)
        seconds = {jobs: run_folder(home / "in", home / f"jobs{jobs}", jobs) for jobs in (1, 2)}
        rerun = run_folder(home / "in", home / "jobs1", 1)
        loop = run_loop(pictures[: args.loop], home / "loop")
        python = run_predictor(pictures, home / "python")
        killed = kill_and_rerun(home, args.images)
        same = count_same(home / "jobs1", home / "jobs2"), count_same(home / "jobs1", home / "python")
    rows = [
        ("`vesalius segment FOLDER`, `--jobs 1`", args.images, seconds[1]),
        ("the same, `--jobs 2`", args.images, seconds[2]),
        ("one `Predictor` in Python, masks written, nothing else", args.images, python),
        ("a loop that calls `vesalius segment IMAGE` for each", args.loop, loop),
    ]
    lines = [
        "# Segmenting folders: speed, and what a killed run leaves",
        "",
        f"Written by `python experiments/benchmarks/folders.py --images {args.images} --loop {args.loop}`: "
        f"{describe_setting()}; "
        f"{count_cores()} cores usable. JPEG pictures of {SIZE[1]} × {SIZE[0]} pixels, {len(PROMPTS)} phrases, "
        "one run each, start of the program included. The command also writes an overview of each picture, the table, "
        f"the page and the record. The loop was run on {args.loop} pictures; its rate does not depend on how many.",
        "",
        "| | pictures | seconds | pictures a second |",
        "|---|---|---|---|",
        *(f"| {title} | {count} | {spent:.1f} | {count / spent:.2f} |" for title, count, spent in rows),
        "",
        f"A rerun over {args.images} pictures that are done: {rerun:.1f} s. Masks of `--jobs 1` equal to those of "
        f"`--jobs 2`: {same[0]}; to those of Python: {same[1]}.",
        "",
        "## A killed run",
        "",
        *killed,
    ]
    args.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(args.out.read_text(encoding="utf-8"))


def draw_pictures(folder: Path, count: int) -> list[Path]:
    """Reddish pictures with a bright blob; names that no number orders."""
    folder.mkdir()
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    paths = []
    for place in range(count):
        rng = np.random.default_rng(place)
        centre, radius = rng.uniform(0.3, 0.7, 2) * SIZE, rng.uniform(60, 140)
        blob = np.exp(-((((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2) / radius**2) ** 3))
        rgb = np.array([150, 70, 60]) + blob[..., None] * np.array([70, 60, 40]) + rng.normal(0, 4, (*SIZE, 1))
        paths.append(folder / f"{rng.bytes(6).hex()}x.jpg")
        Image.fromarray(rgb.clip(0, 255).astype(np.uint8)).save(paths[-1], quality=90)
    return sorted(paths)


def folder_command(images: Path, out: Path, jobs: int) -> list[str]:
    """The command over a folder."""
    phrases = [part for prompt in PROMPTS for part in ("-p", prompt)]
    return [*COMMAND, str(images), *phrases, "--each", "--jobs", str(jobs), "--out", str(out)]


def run_folder(images: Path, out: Path, jobs: int) -> float:
    """Seconds of one command over a folder."""
    start = time.perf_counter()
    subprocess.run(folder_command(images, out, jobs), check=True, capture_output=True)
    return time.perf_counter() - start


def run_loop(pictures: list[Path], out: Path) -> float:
    """Seconds of one command a picture."""
    start = time.perf_counter()
    for path in pictures:
        subprocess.run([*COMMAND, str(path), *PROMPTS, "--out", str(out)], check=True, capture_output=True)
    return time.perf_counter() - start


def run_predictor(pictures: list[Path], out: Path) -> float:
    """Seconds from Python, opening the model included."""
    start = time.perf_counter()
    predictor, parts = Predictor("pocket"), slugs(PROMPTS)
    for path in pictures:
        for part, answer in zip(parts, predictor.set_image(path).predict(PROMPTS), strict=True):
            write_mask(out / f"{path.stem}.{part}.mask.png", answer.mask)
    return time.perf_counter() - start


def kill_and_rerun(home: Path, count: int) -> list[str]:
    """Kill a run of two processes on its way, and start it again; what was found, a line each."""
    out = home / "killed"
    process = subprocess.Popen(
        folder_command(home / "in", out, 2), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    end = time.monotonic() + LONGEST_WAIT
    while len(list(out.glob("*.mask.png"))) < KILL_AFTER_SHARE * count * len(PROMPTS) and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(2)  # the processes that it had started end by themselves
    there = sorted(out.glob("*.mask.png"))
    recorded = len(
        {row["image"] for row in json.loads((out / SEGMENTATIONS.name).read_text(encoding="utf-8"))["results"]}
    )
    broken = sum(not is_whole(path) for path in there)
    half = len(half_written(out))
    subprocess.run(folder_command(home / "in", out, 2), check=True, capture_output=True)
    record = json.loads((out / SEGMENTATIONS.name).read_text(encoding="utf-8"))
    return [
        f"- Killed (SIGKILL) with {len(there)} of {count * len(PROMPTS)} masks there and {recorded} pictures recorded: "
        f"{broken} damaged masks, {half} temporary files.",
        f"- After a rerun: {len(record['results'])} rows, {len(half_written(out))} temporary files, "
        f"masks equal to those of a run that was left alone: {count_same(home / 'jobs1', out)}.",
    ]


def half_written(folder: Path) -> list[Path]:
    """Files that a killed process had begun."""
    return [path for path in folder.glob(".*") if not path.name.startswith(".segmentation")]


def is_whole(path: Path) -> bool:
    """Whether a picture can be read to its end."""
    try:
        with Image.open(path) as picture:
            picture.load()
    except OSError:
        return False
    return True


def count_same(first: Path, second: Path) -> str:
    """How many masks of one folder are the same in another."""
    paths = sorted(first.glob("*.mask.png"))
    same = sum((second / path.name).is_file() and equal(path, second / path.name) for path in paths)
    return f"{same} of {len(paths)}"


def equal(first: Path, second: Path) -> bool:
    """Whether two masks mark the same pixels."""
    with Image.open(first) as one, Image.open(second) as other:
        return np.array_equal(np.asarray(one), np.asarray(other))


if __name__ == "__main__":
    main()
