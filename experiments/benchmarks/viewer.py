"""The page of `vesalius serve`: time from the drop of a picture to its first mask, and what the browser loads.

    make web
    python experiments/benchmarks/viewer.py
    python experiments/benchmarks/viewer.py --quick    # three drops; prints, and writes nothing

A service with pocket and Chromium run on this machine. A PNG of about one megabyte is dropped on the page, where the
phrase stands already; the clock stops when the picture is on the screen with a mask over it. Writes
docs/results/viewer.md.
"""

import argparse
import base64
import gzip
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter
from playwright.sync_api import Page, sync_playwright
from setting import describe_setting

from vesalius.serve.app import PAGE

OUT = Path(__file__).parents[2] / "docs/results/viewer.md"
OPENINGS, DROPS, QUICK = 5, 15, 3
SOFTWARE = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox"]
DROP = """
async ([name, content]) => {
  const bytes = Uint8Array.from(atob(content), (each) => each.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, {type: "image/png"}));
  const start = performance.now();
  const dropped = {dataTransfer: transfer, bubbles: true, cancelable: true};
  document.querySelector("#view").dispatchEvent(new DragEvent("drop", dropped));
  const isShown = () => document.querySelector(`.pane canvas[aria-label^="${name}"][aria-label*=existence]`) !== null;
  while (!isShown()) await new Promise((next) => requestAnimationFrame(next));
  await new Promise((next) => requestAnimationFrame(() => requestAnimationFrame(next)));
  return performance.now() - start;
}
"""
"""Drops a picture; the canvas is named after its masks once they are there, and shows them in the next frame."""


def make_picture(path: Path) -> None:
    """A bright disc on a noisy ground, about one megabyte as PNG."""
    noise = np.random.default_rng(0)
    rows, columns = np.mgrid[0:900, 0:1200]
    shade = np.where(np.hypot(rows - 450, columns - 500) < 160, 150, 90)[..., None]
    pixels = np.clip(shade + noise.normal(0, 22, (900, 1200, 3)), 0, 255).astype(np.uint8)
    Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(1.2)).save(path)


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Start the service on a free port, and say where."""
    command = [
        sys.executable,
        "-c",
        "from vesalius.cli import main; main()",
        "serve",
        "--port",
        "0",
        "--store",
        str(folder),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr
        try:
            found = re.search(r"http://[^;\s]+", process.stderr.readline())
            assert found, "the service did not start"
            yield found[0]
        finally:
            process.terminate()


def measure(page: Page, picture: Path, drops: int) -> list[float]:
    """Milliseconds from each drop to its mask; the name differs, so that nothing is remembered."""
    content = base64.b64encode(picture.read_bytes()).decode()
    page.get_by_label("What to outline").fill("polyp")
    page.keyboard.press("Enter")
    page.evaluate(DROP, ["first.png", content])
    return [page.evaluate(DROP, [f"drop-{number}.png", content]) for number in range(drops)]


def list_files() -> list[tuple[str, int, int]]:
    """Each file of the page, its size, and that when compressed, in bytes."""
    files = [path for path in sorted(PAGE.iterdir()) if path.is_file()]
    return [(path.name, path.stat().st_size, len(gzip.compress(path.read_bytes()))) for path in files]


def main() -> None:
    """Measure, print, and write the page of results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three drops; writes nothing")
    options = parser.parse_args()
    if not (PAGE / "index.html").is_file():
        sys.exit("The page is not built: run `make web`.")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as program:
        picture = Path(name) / "picture.png"
        make_picture(picture)
        with serving(Path(name) / "store") as address:
            browser = program.chromium.launch(executable_path=shutil.which("chromium"), args=SOFTWARE)
            openings = []
            for _ in range(OPENINGS):
                page = browser.new_page(viewport={"width": 1280, "height": 800})
                start = time.perf_counter()
                page.goto(address)
                page.get_by_text("targets").wait_for()
                openings.append(time.perf_counter() - start)
            times = measure(page, picture, QUICK if options.quick else DROPS)
            browser.close()
        megabytes = picture.stat().st_size / 1e6
    rows = [f"| {name} | {size / 1000:.0f} | {packed / 1000:.0f} |" for name, size, packed in list_files()]
    text = f"""# The page of `vesalius serve`

From the drop of a picture of {megabytes:.1f} MB (PNG, 1200 × 900) to the picture on the screen with its first mask:
median {statistics.median(times):.0f} ms, slowest {max(times):.0f} ms, of {len(times)} drops.
Opening the page takes {1000 * statistics.median(openings):.0f} ms, the median of {OPENINGS}. Service, model and browser
share the machine, whose load was
{os.getloadavg()[0]:.1f}; the browser draws without a graphics card.

{describe_setting()}; `python experiments/benchmarks/viewer.py`

| file | kB | kB compressed |
|---|---|---|
{chr(10).join(rows)}

`volume-….js` is loaded when the first volume is opened.
"""
    sys.stdout.write(text)
    if not options.quick:
        OUT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
