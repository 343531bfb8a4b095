"""What tests see and do on the page, in Chromium."""

import io
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vesalius.naming.labels import Answer, SeriesName, SliceName
from waiting import PATIENCE_S

serve_app = pytest.importorskip("vesalius.serve.app", reason="the extra serve is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

ROOT = Path(__file__).parents[2]
AXE = ROOT / "web/node_modules/axe-core/axe.min.js"
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
SOFTWARE = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox"]
"""WebGL without a graphics card; the sandbox needs rights that containers lack."""
WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
AMBER = (255, 176, 0)
"""Colour of the first phrase."""

NEEDED = [
    pytest.mark.slow,
    pytest.mark.skipif(not (serve_app.PAGE / "index.html").is_file(), reason="the page is not built: make web"),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]
"""What tests of the page are marked with."""
FRAMES = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
"""What was drawn before this is on the screen after it."""
expect = playwright.expect
expect.set_options(timeout=1000 * PATIENCE_S)


class FakeLabeller:
    """Names the lower half of a series abdomen with a liver, the upper half chest."""

    class calibration:  # noqa: N801
        least_probability = 0.5

    def label(self, stacks) -> SeriesName:
        count = len(stacks[0].slices())
        slices = tuple(self._slice(index, "abdomen" if index < count / 2 else "chest") for index in range(count))
        return SeriesName(
            Path("x"),
            Answer("CT", 0.9, "pixels"),
            Answer(None, None, "pixels"),
            Answer("axial", None, "header"),
            slices,
        )

    @staticmethod
    def _slice(index: int, station: str) -> SliceName:
        organs = ("liver",) if station == "abdomen" else ()
        sure = {"abdomen": 0.9, "chest": 0.8}
        return SliceName(
            index, 5.0 * index, "axial", Answer(station, 0.9, "pixels"), (station,), organs, sure, {"liver": 0.7}
        )


def ask(page, *phrases: str) -> None:
    for phrase in phrases:
        page.get_by_label("What to outline").fill(phrase)
        page.keyboard.press("Enter")
        named = page.locator(".name").get_by_text(phrase, exact=True)
        expect(page.locator(".chip[data-state=answered]").filter(has=named)).to_be_visible()


def open_file(page, path: Path) -> None:
    """Open a file, and wait until it is drawn: its canvas stands there before, and says what is drawn only then."""
    page.set_input_files("#files", path)
    expect(page.locator("#facts")).to_contain_text(path.name)
    expect(page.locator(f".pane canvas[aria-label^='{path.name}: ']")).to_be_visible()


def correct(page, button: str = "Start") -> None:
    """Take up the brush, and wait until strokes count: before, keys move the image."""
    page.get_by_role("button", name=button, exact=True).click()
    expect(page.locator("#status")).to_contain_text("Correcting ")


def pixels_of(page, place: int = 0) -> np.ndarray:
    """What a pane shows, [H, W, 3], with all that was drawn until now."""
    page.evaluate(FRAMES)
    content = page.locator(".pane canvas").nth(place).screenshot()
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), dtype=np.int16)


def coloured(picture: np.ndarray) -> float:
    """Share of the pixels that are neither grey nor nearly so."""
    return float((np.ptp(picture, axis=2) > 40).mean())


def hear_corrections(page) -> list[bytes]:
    """The forms in which masks are sent."""
    sent: list[bytes] = []
    page.route("**/corrections", lambda route: (sent.append(route.request.post_data_buffer), route.continue_()))
    return sent


def until(page, hold: Callable[[], bool]) -> None:
    """Wait until something holds, as canvases are drawn a little after everything else."""
    end = time.monotonic() + PATIENCE_S
    while not hold():
        assert time.monotonic() < end, "it did not come to hold"
        page.wait_for_timeout(100)


def check_access(page) -> None:
    """No serious finding of axe."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run()")["violations"]
    assert [
        (each["id"], [node["html"] for node in each["nodes"]])
        for each in found
        if each["impact"] in ("serious", "critical") or each["id"] == "landmark-unique"
    ] == []
