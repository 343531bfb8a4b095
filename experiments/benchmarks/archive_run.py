"""Archives of up to 12,000 real slices: pace, cost, memory, and kills; writes docs/results/archive.md.

    python experiments/benchmarks/archive_run.py ../shared/data [--quick] [--work FOLDER]

The same images, in one run: on a local Ray cluster of two workers, in the plain loop of one process, and by the script
that a user would write. Then Ray again while workers are killed at random and the driver twice. Every part is kept in
the work folder, so that the same command goes on where it was.
"""

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import nibabel
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from setting import describe_setting

from vesalius.archive.read import read_tables
from vesalius.archive.status import read_status
from vesalius.console import markdown_table, say
from vesalius.files import read_json, write_json, write_text

OUT = Path(__file__).parents[2] / "docs" / "results" / "archive.md"
PHRASES = ("lungs", "liver", "brain")
SIZES, QUICK = (1000, 3000, 12000), (100, 200, 300)
SHARE_OF_SERIES, SHARE_OF_TARGETS = 0.15, 0.15
"""Of the slices; the rest is MedNIST."""
SHARD = 64
COMMAND = "from vesalius.cli import main; main()"
SCALES = (10**6, 10**7, 10**8)
CORES, DOLLARS_PER_CORE_HOUR, DAYS = 16, 0.04, 7
"""For the sizing on paper: cores of a machine, price, and days in which it should be done."""
ORDER = [(name, "ascending") for name in ("source", "series_uid", "stack", "slice", "phrase")]


def list_images(root: Path, work: Path, slices: int) -> list[Path]:
    """Images with so many slices together, of all kinds and the same mixture at every size."""
    mednist = work / "mednist"
    if not mednist.is_dir():
        with tarfile.open(root / "anatomy" / "mednist.tar") as tar:
            tar.extractall(work / "mednist.part", filter="data")
        (work / "mednist.part").rename(mednist)
    chance = random.Random(0)
    series = sorted(path for path in (root / "anatomy/series").glob("*.nii.gz") if ".labels." not in path.name)
    targets = sorted(path for path in (root / "targets").glob("*/images/*") if path.suffix in (".png", ".jpg"))
    pictures = sorted(path for path in mednist.rglob("*.jp*g"))
    for each in (series, targets, pictures):
        chance.shuffle(each)
    chosen: list[Path] = []
    count = 0
    for path in series:
        depth = min(nibabel.load(path).shape)
        if count + depth <= SHARE_OF_SERIES * slices:
            chosen.append(path)
            count += depth
    wanted = min(len(targets), round(SHARE_OF_TARGETS * slices))
    chosen += targets[:wanted]
    chosen += pictures[: slices - count - wanted]
    return sorted(chosen)


def write_manifest(path: Path, images: Sequence[Path]) -> None:
    """A table of images."""
    pq.write_table(pa.table({"path": [str(each.resolve()) for each in images]}), path)


def command(manifest: Path, out: Path, *more: object) -> list[str]:
    """How the archive is worked on."""
    phrases = [word for phrase in PHRASES for word in ("-p", phrase)]
    start = [
        sys.executable,
        "-c",
        COMMAND,
        "archive",
        "run",
        str(manifest),
        "--task",
        "segment",
        *phrases,
    ]
    return [*start, "-o", str(out), "--shard", str(SHARD), *map(str, more)]


RAY = ("--ray", "local", "--workers", 2)
PLAIN = ("--workers", 0)
NAIVE = """
import csv, sys
from pathlib import Path
import pyarrow.parquet as pq
from vesalius import Predictor, read_image
out, phrases = Path(sys.argv[2]), sys.argv[3:]
out.mkdir()
predictor = Predictor("pocket")
with (out / "results.csv").open("w", newline="") as file:
    table = csv.writer(file)
    for number, path in enumerate(pq.read_table(sys.argv[1])["path"].to_pylist()):
        image = read_image(path)
        for phrase in phrases:
            if len(image.slices()) > 1:
                answers = predictor.predict_volume(image, phrase).answers
            else:
                answers = [predictor.set_image(image).predict(phrase)]
            for place, answer in enumerate(answers):
                mask = answer.mask
                if mask.any():
                    answer.save(out / f"{number}.{place}.{phrase}.png")
                table.writerow([path, place, phrase, answer.existence, int(mask.sum())])
"""


class Memory(threading.Thread):
    """Resident memory of a process and what it started, by what it is, twice a second."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._process, self._ended = psutil.Process(pid), threading.Event()
        self.driver: list[int] = []
        self.workers: list[int] = []
        """The largest child that reads images and holds a model."""

    def run(self) -> None:
        """Measure until it is stopped."""
        while not self._ended.wait(0.5):
            try:
                driver = self._process.memory_info().rss
                children = self._process.children(recursive=True)
            except psutil.NoSuchProcess:
                return
            found = [size for each in children if (size := _size_of(each))]
            self.driver.append(driver)
            self.workers.append(max(found, default=driver))

    def stop(self) -> dict[str, object]:
        """Megabytes: the largest, and the means of the second and of the last quarter."""
        self._ended.set()
        told: dict[str, object] = {}
        for name, sizes in (("driver", self.driver), ("worker", self.workers)):
            quarter = len(sizes) // 4
            parts = (sizes, sizes[quarter : 2 * quarter], sizes[3 * quarter :])
            whole, early, late = ([each / 2**20 for each in part] or [0.0] for part in parts)
            told |= {f"{name}_most": max(whole), f"{name}_early": _mean(early), f"{name}_late": _mean(late)}
        return told


def _size_of(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss if "vesalius.archive.child" in process.cmdline() else 0
    except psutil.Error:
        return 0


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def run_arm(arguments: list[str], out: Path, images: int, slices: int) -> dict[str, object]:
    """Run a command to its end: seconds, memory, and what the archive's log tells."""
    shutil.rmtree(out, ignore_errors=True)
    begin = time.perf_counter()
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    memory = Memory(process.pid)
    memory.start()
    _, told = process.communicate()
    seconds = time.perf_counter() - begin
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments[:6])}: ended with {process.returncode}: {told[-2000:]}")
    facts = {"seconds": seconds, "images": images, "slices": slices, **memory.stop()}
    if (out / "archive.json").is_file():
        totals = read_status(str(out)).totals
        facts |= {"slices": totals.slices, "bytes": totals.bytes, "masks": totals.masks, **totals.seconds}
    return facts


def kill_trial(manifest: Path, out: Path, images: int) -> dict[str, object]:
    """The same on Ray while workers are killed at random, and the driver after a third and two thirds of the images."""
    shutil.rmtree(out, ignore_errors=True)
    chance, kills = random.Random(1), 0
    begin = time.perf_counter()
    for share in (1 / 3, 2 / 3, None):
        process = subprocess.Popen(
            command(manifest, out, *RAY), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        done = 0
        while process.poll() is None and (share is None or done < share * images):
            time.sleep(chance.uniform(10, 30))
            kills += _kill_one(process.pid, chance)
            done = read_status(str(out)).totals.items if (out / "archive.json").is_file() else 0
        if share is not None:
            process.kill()
        _, told = process.communicate()
    if process.returncode:
        raise SystemExit(f"kill trial: ended with {process.returncode}: {told[-2000:]}")
    totals = read_status(str(out)).totals
    return {"seconds": time.perf_counter() - begin, "workers_killed": kills, "drivers_killed": 2, "runs": totals.runs,
            "slices": totals.slices, "failed": totals.failed}  # fmt: skip


def _kill_one(pid: int, chance: random.Random) -> int:
    """Kill one of the processes that work, whichever; how many that were."""
    try:
        found = psutil.Process(pid).children(recursive=True)
        workers = [each for each in found if _size_of(each) or "MapWorker" in " ".join(each.cmdline())]
        if not workers:
            return 0
        chance.choice(workers).send_signal(signal.SIGKILL)
    except psutil.Error:
        return 0
    return 1


def load(out: Path, table: str) -> pa.Table:
    """All rows in one order."""
    found = pa.concat_tables(read_tables(str(out), table))
    return found.sort_by([each for each in ORDER if each[0] in found.column_names])


def differences(one: Path, other: Path) -> dict[str, object]:
    """Whether two archives hold the same rows and masks, byte for byte, and how many are doubled or missing."""
    told: dict[str, object] = {}
    for table in ("rows", "masks"):
        first, second = load(one, table), load(other, table)
        names = [name for name, _ in ORDER if name in first.column_names]
        keys, others = ([tuple(row.values()) for row in each.select(names).to_pylist()] for each in (first, second))
        told[table] = {
            "equal": first.equals(second),
            "rows": len(keys),
            "doubled": len(others) - len(set(others)),
            "missing": len(set(keys) - set(others)),
        }
    return told


def measure(root: Path, work: Path, sizes: Sequence[int]) -> dict[str, dict[str, object]]:
    """All parts that are not in the work folder yet, and those that are."""
    facts: dict[str, dict[str, object]] = {}

    def part(name: str, make: object) -> None:
        path = work / f"{name}.json"
        if not path.is_file():
            say(f"{name} …")
            assert callable(make)
            write_json(path, make())
        content = read_json(path)
        assert isinstance(content, dict)
        facts[name] = content

    counts: dict[int, int] = {}
    for size in sizes:
        images = list_images(root, work, size)
        counts[size] = len(images)
        manifest = work / f"{size}.parquet"
        write_manifest(manifest, images)
        out = work / f"ray-{size}"
        part(f"ray-{size}", lambda m=manifest, o=out, s=size: run_arm(command(m, o, *RAY), o, counts[s], s))
    whole, fewer = sizes[-1], sizes[-2]
    manifest = work / f"{whole}.parquet"
    plain, killed, naive = work / f"plain-{whole}", work / f"killed-{whole}", work / f"naive-{fewer}"
    part(plain.name, lambda: run_arm(command(manifest, plain, *PLAIN), plain, counts[whole], whole))
    script = [sys.executable, "-c", NAIVE, str(work / f"{fewer}.parquet"), str(naive), *PHRASES]
    part(naive.name, lambda: run_arm(script, naive, counts[fewer], fewer))
    part(f"same-{whole}", lambda: differences(work / f"ray-{whole}", plain))
    part(killed.name, lambda: kill_trial(manifest, killed, counts[whole]))
    part(f"after-kills-{whole}", lambda: differences(work / f"ray-{whole}", killed))
    return facts


def number(facts: dict[str, object], name: str) -> float:
    """A measured number."""
    value = facts.get(name, 0.0)
    assert isinstance(value, int | float)
    return float(value)


def busy(facts: dict[str, object]) -> float:
    """Seconds of all workers."""
    return sum(number(facts, name) for name in ("read", "model", "write", "other"))


def write_page(facts: dict[str, dict[str, object]], sizes: Sequence[int], quick: bool) -> str:
    """The page of results."""
    whole = sizes[-1]
    ray, plain, naive = facts[f"ray-{whole}"], facts[f"plain-{whole}"], facts[f"naive-{sizes[-2]}"]
    killed = facts[f"killed-{whole}"]
    arms = {"Ray, 2 workers": ray, "plain loop, --workers 0": plain, "a user's own script": naive}
    paces = [
        (
            name,
            f"{number(each, 'slices') / number(each, 'seconds'):.1f}",
            f"{number(each, 'slices'):,.0f}",
            f"{number(each, 'seconds'):.0f}",
        )
        for name, each in arms.items()
    ]
    costs = [
        (
            f"{number(each, 'slices'):,.0f}",
            f"{number(each, 'seconds'):.0f}",
            f"{1000 * busy(each) / number(each, 'slices'):.1f}",
            *(f"{100 * number(each, name) / busy(each):.0f} %" for name in ("read", "model", "write", "other")),
        )
        for each in (facts[f"ray-{size}"] for size in sizes)
    ]
    sizes_of = [
        (name, *(f"{number(ray, f'{name}_{when}'):.0f}" for when in ("early", "late", "most")))
        for name in ("driver", "worker")
    ]
    told = "".join(
        [
            "# Archives: pace, cost and what kills leave\n\n",
            f"`python experiments/benchmarks/archive_run.py ../shared/data{' --quick' if quick else ''}`\n\n",
            f"{describe_setting()}; {number(ray, 'images'):,.0f} images with {number(ray, 'slices'):,.0f} slices "
            f"(MedNIST, targets, series of CT and MR), {len(PHRASES)} phrases each.\n\n",
            "## Pace\n\nThe same mixture of images on the same machine, start-up included.\n\n",
            markdown_table(("how", "slices a second", "slices", "seconds"), paces, align="---:"),
            "\n\nThe script opens the model once, reads each file and asks phrase by phrase; it keeps no record of "
            "what is done and starts anew when it is ended.\n\n",
            "## Cost of a slice\n\nOf one worker on Ray, which has one thread; *other* is what goes to and from its "
            "process.\n\n",
            markdown_table(("slices", "seconds", "ms a slice", "read", "model", "write", "other"), costs, align="---:"),
            "\n\n## Memory\n\nMegabytes of the driver and of the largest process with a model: means of the second and "
            "of the last quarter of the run, and the most.\n\n",
            markdown_table(("process", "second quarter", "last quarter", "most"), sizes_of, align="---:"),
            "\n\n## Exactly once\n\n",
            f"Workers were ended by `kill -9` {number(killed, 'workers_killed'):.0f} times at random, the driver "
            f"{number(killed, 'drivers_killed'):.0f} times; {number(killed, 'runs'):.0f} runs took "
            f"{number(killed, 'seconds'):.0f} s together, and {number(killed, 'failed'):.0f} images failed.\n\n",
            markdown_table(
                ("compared with Ray undisturbed", "rows", "equal byte for byte", "doubled", "missing"),
                [
                    *_compared("plain loop", facts[f"same-{whole}"]),
                    *_compared("after kills", facts[f"after-kills-{whole}"]),
                ],
                align="---:",
            ),
            "\n\n",
            _write_sizing(ray),
        ]
    )
    return told + "\n"


def _compared(name: str, told: dict[str, object]) -> Iterator[tuple[object, ...]]:
    for table, each in told.items():
        assert isinstance(each, dict)
        yield f"{name}, {table}", each["rows"], "yes" if each["equal"] else "NO", each["doubled"], each["missing"]


def _write_sizing(ray: dict[str, object]) -> str:
    """The sizing on paper."""
    slices = number(ray, "slices")
    seconds, size = busy(ray) / slices, number(ray, "bytes") / slices
    rows = []
    for scale in SCALES:
        hours = scale * seconds / 3600
        rows.append(
            (
                f"{scale:,}",
                f"{hours:,.0f}",
                f"{hours / CORES / 24:,.1f}",
                f"{max(1, -(-hours // (CORES * 24 * DAYS))):,.0f}",
                f"{scale * size / 2**30:,.1f} GiB",
                f"${hours * DOLLARS_PER_CORE_HOUR:,.0f}",
            )
        )
    columns = ("slices", "core hours", f"days of one machine of {CORES} cores", f"machines for {DAYS} days",
               "results", "price")  # fmt: skip
    return (
        f"## Sizing on paper\n\nFrom the {1000 * seconds:.1f} ms of a core and {size:.0f} bytes of results a slice "
        f"above, at ${DOLLARS_PER_CORE_HOUR:.2f} a core hour. Slices of 512 × 512 pixels cost more to read than most "
        "of these: measure a sample of your own ([how](../archive.md#how-large-how-long-how-much)).\n\n"
        + markdown_table(columns, rows, align="---:")
        + "\n"
    )


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, help="folder with anatomy/ and targets/")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK[-1]} slices instead of {SIZES[-1]:,}")
    parser.add_argument("--work", type=Path, default=Path("archive-trial"), help="folder for what is measured")
    parser.add_argument("--out", type=Path, default=OUT, help="the page")
    options = parser.parse_args()
    work = options.work / ("quick" if options.quick else "whole")
    work.mkdir(parents=True, exist_ok=True)
    sizes = QUICK if options.quick else SIZES
    facts = measure(options.root, work, sizes)
    write_text(options.out, write_page(facts, sizes, options.quick))
    say(json.dumps({name: each.get("seconds") for name, each in facts.items()}))


if __name__ == "__main__":
    main()
