"""Ask `vesalius serve` for a minute, first as one client and then as sixteen; fill its queue, and kill its worker.

    python experiments/benchmarks/serve_load.py [--quick]

Starts the service on this machine alone, in a folder of its own. Each client uploads a picture, asks two phrases about
it, then three more one by one, fetches a mask, and deletes the picture. Answers that say that the service failed (5xx)
and connections that break are counted apart. Writes docs/results/serve.md.
"""

import argparse
import io
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx
import numpy as np
from PIL import Image
from setting import describe_setting

from vesalius.console import markdown_table
from vesalius.files import write_text

OUT = Path(__file__).parents[2] / "docs" / "results" / "serve.md"
START = "import sys; from vesalius.cli import main; main(sys.argv[1:])"
SIDE = (480, 640)
PHRASES = ("liver", "skin lesion", "spleen")
SAMPLE_S = 1.0
"""Between looks at the memory."""


@dataclass
class Server:
    """A service that runs, and its process."""

    process: "subprocess.Popen[str]"
    address: str

    def workers(self) -> list[int]:
        """Its workers' process numbers."""
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                content = path.read_text().rpartition(")")[2].split()
                words = (path.parent / "cmdline").read_text()
            except OSError:
                continue
            if int(content[1]) == self.process.pid and "vesalius.serve.pool" in words:
                found.append(int(path.parent.name))
        return found

    def megabytes(self) -> float:
        """Memory of the service and its workers."""
        return sum(map(_resident, [self.process.pid, *self.workers()]))


def _resident(process: int) -> float:
    try:
        text = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    return int(found[1]) / 1024 if found else 0.0


@contextmanager
def serving(*options: str) -> Iterator[Server]:
    """Start a service on a free port, and stop it at the end."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", START, "serve", "--port", "0", "--store", folder, *options]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"http://[^; ]+", line)
        if found is None:
            raise SystemExit(f"The service did not start: {line}{process.stderr.read()}")
        drain = threading.Thread(target=process.stderr.read, daemon=True)
        drain.start()
        server = Server(process, found[0])
        try:
            _wait_until_ready(server)
            yield server
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _wait_until_ready(server: Server) -> None:
    for _ in range(600):
        try:
            if httpx.get(f"{server.address}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise SystemExit("The service did not get ready within a minute.")


@dataclass
class Tally:
    """What was asked, and how it was answered."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    answers: Counter[str] = field(default_factory=Counter)
    rounds: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, name: str, call: Callable[[], httpx.Response]) -> httpx.Response | None:
        """Ask, and remember how long it took; None if the connection broke."""
        start = time.perf_counter()
        try:
            answer = call()
        except httpx.TransportError:
            with self.lock:
                self.answers["broken"] += 1
            return None
        with self.lock:
            self.answers[str(answer.status_code)] += 1
            if answer.status_code < 400:
                self.seconds[name].append(time.perf_counter() - start)
        return answer

    @property
    def failed(self) -> int:
        """Answers that say that the service failed, and broken connections."""
        return sum(count for answer, count in self.answers.items() if answer.startswith(("5", "broken")))

    @property
    def answered(self) -> int:
        """Requests that were answered as asked."""
        return sum(map(len, self.seconds.values()))

    def percentile(self, name: str, share: float) -> float:
        """Seconds within which this share of requests was answered."""
        return float(np.quantile(self.seconds[name], share)) if self.seconds[name] else float("nan")


def one_round(client: httpx.Client, picture: bytes, tally: Tally) -> None:
    """One picture with five phrases."""
    sent = tally.ask("upload", lambda: client.post("/api/uploads", files=[("files", ("a.png", picture))]))
    if sent is None or sent.status_code != 201:
        return
    address = f"/api/uploads/{sent.json()['id']}"
    first = tally.ask(
        "first two phrases", lambda: client.post(f"{address}/segment", json={"phrases": ["polyp", "lungs"]})
    )
    for phrase in PHRASES:
        tally.ask("further phrase", partial(client.post, f"{address}/segment", json={"phrases": [phrase]}))
    if first is not None and first.status_code == 200:
        tally.ask("mask", lambda: client.get(first.json()["results"][0]["mask"]))
    tally.ask("delete", lambda: client.delete(address))
    with tally.lock:
        tally.rounds += 1


def load(server: Server, clients: int, seconds: float) -> tuple[Tally, list[float], float]:
    """Ask with several clients at once; what became of it, memory over time, and seconds it took."""
    tally, memory, start = Tally(), [], time.monotonic()
    due = start + seconds
    noise = np.random.default_rng(clients)
    pictures = [_draw(noise) for _ in range(4)]

    def work(number: int) -> None:
        with httpx.Client(base_url=server.address, timeout=120) as client:
            one_round(client, pictures[number % len(pictures)], tally)
            while time.monotonic() < due:
                one_round(client, pictures[number % len(pictures)], tally)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        memory.append(server.megabytes())
        time.sleep(SAMPLE_S)
    return tally, memory, time.monotonic() - start


def _draw(noise: np.random.Generator) -> bytes:
    rows, columns = np.mgrid[: SIDE[0], : SIDE[1]]
    blob = np.exp(-((rows - 240) ** 2 + (columns - 320) ** 2) / 2e4)
    picture = 60 + 150 * blob[..., None] + noise.normal(0, 6, (*SIDE, 3))
    stream = io.BytesIO()
    Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def fill_queue(clients: int = 16) -> tuple[Counter[str], bool, bool]:
    """Ask more than the queue holds; answers, whether all refusals say when to come back, and whether it recovers."""
    answers: Counter[str] = Counter()
    told: list[bool] = []
    with serving("--queue", "1") as server:
        picture = _draw(np.random.default_rng(0))

        def work() -> None:
            files = [("files", ("a.png", picture))]
            answer = httpx.post(f"{server.address}/api/uploads", files=files, timeout=120)
            answers[str(answer.status_code)] += 1
            if answer.status_code == 429:
                told.append(int(answer.headers["retry-after"]) >= 1)

        for _ in range(3):
            threads = [threading.Thread(target=work) for _ in range(clients)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        tally = Tally()
        with httpx.Client(base_url=server.address, timeout=120) as client:
            one_round(client, picture, tally)
        return answers, all(told), tally.rounds == 1 and tally.failed == 0


def kill_workers(kills: int) -> tuple[Tally, int]:
    """Kill the worker while four clients ask; what became of their requests, and how often it was killed."""
    tally, stop, killed = Tally(), threading.Event(), 0
    with serving() as server:
        picture = _draw(np.random.default_rng(0))

        def work() -> None:
            with httpx.Client(base_url=server.address, timeout=120) as client:
                while not stop.is_set():
                    one_round(client, picture, tally)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(kills):
            time.sleep(2)
            for worker in server.workers():
                os.kill(worker, signal.SIGKILL)
                killed += 1
        time.sleep(2)
        stop.set()
        for thread in threads:
            thread.join()
    return tally, killed


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="time for each number of clients")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--quick", action="store_true", help="5 seconds, and the page is printed instead of written")
    given = parser.parse_args()
    seconds = 5.0 if given.quick else given.seconds
    with serving() as server:
        before = server.megabytes()
        alone = load(server, 1, seconds)
        many = load(server, given.clients, seconds)
    filled = fill_queue(given.clients)
    killed = kill_workers(1 if given.quick else 5)
    page = write_page(given.clients, seconds, before, {1: alone, given.clients: many}, filled, killed)
    if given.quick:
        print(page)
    else:
        write_text(OUT, page)


def write_page(
    clients: int,
    seconds: float,
    before: float,
    loads: dict[int, tuple[Tally, list[float], float]],
    filled: tuple[Counter[str], bool, bool],
    killed: tuple[Tally, int],
) -> str:
    """What was measured, in Markdown."""
    shares = [(tally, share) for tally, _, _ in loads.values() for share in (0.5, 0.95)]
    rows = [
        [name, *(f"{1000 * tally.percentile(name, share):.0f}" for tally, share in shares)]
        for name in loads[1][0].seconds
    ]
    columns = ["milliseconds", *(f"{share}, {count} clients" for count in loads for share in ("p50", "p95"))]
    totals = [
        [
            count,
            tally.answered,
            f"{tally.answered / took:.1f}",
            tally.failed,
            _list(tally.answers),
            f"{memory[0]:.0f} → {memory[len(memory) // 2]:.0f} → {memory[-1]:.0f}",
        ]
        for count, (tally, memory, took) in loads.items()
    ]
    headings = ("clients", "answered", "a second", "failed", "answers", "memory: start, half-way, end (MiB)")
    answers, told, recovered = filled
    tally, kills = killed
    return f"""# The service under load

Written by `python experiments/benchmarks/serve_load.py --seconds {seconds:g} --clients {clients}`:
{describe_setting()}.

One worker. Each client uploads a picture of {SIDE[1]} × {SIDE[0]} pixels, asks two phrases, then {len(PHRASES)} more
one by one, fetches a mask, deletes the picture, and begins again, for {seconds:g} seconds. Memory is that of the
service and its worker together; before the first request it was {before:.0f} MiB.

{markdown_table(headings, totals)}

{markdown_table(columns, rows)}

**Queue full.** With a queue of one, {clients} uploads at once, three times: {_list(answers)}. All refusals say when
to come back: {"yes" if told else "no"}. Afterwards a whole round is answered: {"yes" if recovered else "no"}.

**Worker killed** (SIGKILL) {kills} times while four clients ask: {tally.answered} requests were answered,
{tally.failed} failed visibly ({_list(tally.answers)}). A request whose worker is killed is tried once more.
"""


def _list(answers: Counter[str]) -> str:
    return ", ".join(f"{number} × {answer}" for answer, number in sorted(answers.items()))


if __name__ == "__main__":
    main()
