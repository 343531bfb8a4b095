"""The page in a browser: what users see and do, with a model that marks what is bright."""

import io
import json
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file

from vesalius.naming.labels import Answer, SeriesName, SliceName
from vesalius.prompts.bank import read_synonyms

serve_app = pytest.importorskip("vesalius.serve.app", reason="the extra serve is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
uvicorn = pytest.importorskip("uvicorn", reason="the extra serve is not installed")

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

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (serve_app.PAGE / "index.html").is_file(), reason="the page is not built: make web"),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]
expect = playwright.expect
expect.set_options(timeout=60_000)


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


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with playwright.sync_playwright() as program:
        opened = program.chromium.launch(executable_path=CHROMIUM, args=SOFTWARE)
        yield opened
        opened.close()


@pytest.fixture
def address(serve) -> Iterator[Callable[..., str]]:
    """Serve on a free port, and say where."""
    running = []

    def start(**settings) -> str:
        client = serve(**settings)
        client.inside.engine.__dict__["_labeller"] = FakeLabeller()
        server = uvicorn.Server(uvicorn.Config(client.app, port=0, log_level="error", ws="none"))
        thread = threading.Thread(target=server.run)
        thread.start()
        running.append((server, thread))
        while not server.started:
            assert thread.is_alive()
        return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join(timeout=20)


@pytest.fixture
def visit(browser, address) -> Iterator[Callable[..., object]]:
    """Open the page; at the end, nothing may have been said on the console and nothing may have failed."""
    said: list[str] = []
    contexts = []

    def visit(viewport=WIDE, theme="light", expected=(), **settings):
        context = browser.new_context(viewport=viewport, color_scheme=theme, accept_downloads=True)
        contexts.append(context)
        page = context.new_page()
        page.on(
            "console",
            lambda message: said.append(message.text) if not any(part in message.text for part in expected) else None,
        )
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        page.goto(address(**settings))
        return page

    yield visit
    for context in contexts:
        context.close()
    assert said == []


@pytest.fixture
def picture(tmp_path) -> Path:
    """A dark picture of 160 by 120 with a bright square in the middle."""
    pixels = np.full((120, 160, 3), 30, np.uint8)
    pixels[30:90, 40:100] = 230
    path = tmp_path / "scan one.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def volume(tmp_path) -> Path:
    """Ten slices, of which the middle ones show a bright block at the patient's right and front."""
    import nibabel as nib

    values = np.full((40, 48, 10), 100, np.int16) + np.arange(48, dtype=np.int16)[:, None]
    values[4:18, 26:44, 3:7] = 1000
    path = tmp_path / "series.nii.gz"
    nib.save(nib.Nifti1Image(values, np.diag([-2.0, 2.0, 5.0, 1.0])), path)
    return path


def ask(page, *phrases: str) -> None:
    for phrase in phrases:
        page.get_by_label("What to outline").fill(phrase)
        page.keyboard.press("Enter")
        named = page.locator(".name").get_by_text(phrase, exact=True)
        expect(page.locator(".chip[data-state=answered]").filter(has=named)).to_be_visible()


def open_file(page, path: Path) -> None:
    page.set_input_files("#files", path)
    expect(page.locator("#facts")).to_contain_text(path.name)
    expect(page.locator(f".pane canvas[aria-label^='{path.name}']")).to_be_visible()


def pixels_of(page, place: int = 0) -> np.ndarray:
    """What a pane shows, [H, W, 3]."""
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
    for _ in range(60):
        if hold():
            return
        page.wait_for_timeout(100)
    raise AssertionError("it did not come to hold")


def test_a_picture_is_asked_switched_compared_and_named(visit, picture, tmp_path):
    page = visit()
    expect(page.locator("#model")).to_have_text("pocket, 2 targets")
    open_file(page, picture)
    expect(page.get_by_text("Point", exact=True)).to_be_hidden()
    ask(page, "polyp", "kidney stone", "liver")
    polyp, stone = page.locator(".chip").nth(0), page.locator(".chip").nth(1)
    expect(polyp).to_contain_text("existence 0.95 · ")
    expect(stone).to_contain_text("not learnt")
    until(page, lambda: coloured(pixels_of(page)) > 0.1)

    page.get_by_role("checkbox", name="polyp").uncheck()
    page.get_by_role("checkbox", name="liver").uncheck()
    until(page, lambda: coloured(pixels_of(page)) == 0)
    page.get_by_role("checkbox", name="polyp").check()
    page.get_by_text("Probability", exact=True).click()
    until(page, lambda: coloured(pixels_of(page)) > 0.1)

    page.get_by_text("Compare two phrases").click()
    page.get_by_role("button", name="Side by side").click()
    expect(page.locator(".pane")).to_have_count(2)
    expect(page.locator("figcaption").nth(1)).to_contain_text("liver")
    until(page, lambda: coloured(pixels_of(page, 1)) > 0.05)
    page.get_by_role("button", name="Side by side").click()
    expect(page.locator(".pane")).to_have_count(1)

    page.get_by_role("button", name="Name it").click()
    expect(page.locator("#names")).to_contain_text("CT · 0.90")
    expect(page.locator("#names")).to_contain_text("abdomen 0.90")
    with page.expect_download() as downloaded:
        page.get_by_role("button", name="Download the mask of polyp").click()
    assert downloaded.value.suggested_filename == "polyp.mask.png"
    downloaded.value.save_as(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as mask:
        assert mask.size == (160, 120)


def test_how_a_phrase_was_understood_is_said_once(visit, picture):
    page = visit()
    open_file(page, picture)
    description = read_synonyms().descriptions["polyp"][0]
    ask(page, description, "left liver", "polyp")
    described, sided, plain = (page.locator(".chip .verdict").nth(place).inner_text() for place in range(3))
    assert "read as 'polyp'." in described
    assert "liver: learnt as a whole, 'left' is not told apart." in sided
    assert (described.count("polyp"), sided.count("liver"), plain.count("polyp")) == (1, 1, 0)
    assert description not in described


def test_a_mask_is_corrected_with_the_brush_and_by_keyboard(visit, picture, tmp_path):
    page = visit()
    open_file(page, picture)
    ask(page, "polyp")
    page.get_by_text("Correct a mask").click()
    page.get_by_role("button", name="Start").click()
    box = page.locator(".pane canvas").bounding_box()
    scale = min(box["width"] / 160, box["height"] / 120)

    def move(column: float, row: float) -> None:
        left, top = (box["width"] - 160 * scale) / 2, (box["height"] - 120 * scale) / 2
        page.mouse.move(box["x"] + left + column * scale, box["y"] + top + row * scale, steps=5)

    sent = hear_corrections(page)

    def mask() -> np.ndarray:
        with page.expect_download() as downloaded:
            page.get_by_role("button", name="Download for training").click()
        downloaded.value.save_as(tmp_path / "correction.zip")
        body = sent[-1]
        assert b'name="phrase"\r\n\r\npolyp\r\n' in body
        start = body.index(b"\x89PNG")
        return np.asarray(Image.open(io.BytesIO(body[start:])).convert("L"))

    before = mask()
    assert set(np.unique(before)) == {0, 255}
    assert before[60, 70] == 255
    assert before[10, 10] == 0
    move(5, 10)
    page.mouse.down()
    move(30, 10)
    page.mouse.up()
    painted = mask()
    assert (painted[10, 5:30] == 255).all()
    assert ((painted != before).nonzero()[0] < 20).all()
    page.get_by_label("Erase").check()
    move(70, 60)
    page.mouse.down()
    page.mouse.up()
    assert mask()[60, 70] == 0
    page.get_by_role("button", name="Undo").click()
    assert (mask() == painted).all()
    page.locator(".pane").focus()
    page.keyboard.press("b")
    for _ in range(3):
        page.keyboard.press("ArrowUp")
    page.keyboard.press("Space")
    page.keyboard.press("Control+z")
    assert (mask() == painted).all()
    page.keyboard.press("Control+z")
    assert (mask() == before).all()


def test_a_volume_is_scrolled_windowed_masked_and_jumped_in(visit, volume):
    page = visit()
    open_file(page, volume)
    ask(page, "liver")
    slider = page.get_by_role("slider", name="Slice")
    expect(page.locator("#slice-text")).to_have_text("6 of 10")
    until(page, lambda: coloured(pixels_of(page)) > 0.02)
    seen = pixels_of(page)
    rows, columns = (np.ptp(seen, axis=2) > 40).nonzero()
    # The affine's first axis points to the left: low columns of the file are at the patient's right, shown at the left.
    assert columns.mean() < seen.shape[1] / 2
    assert rows.mean() < seen.shape[0] / 2
    slider.fill("10")
    expect(page.locator("#slice-text")).to_have_text("10 of 10")
    until(page, lambda: (np.ptp(pixels_of(page), axis=2) > 60).mean() < 0.01)
    page.get_by_role("button", name="slices 4–7").click()
    expect(page.locator("#slice-text")).to_have_text("6 of 10")

    page.get_by_role("button", name="Name it").click()
    page.get_by_role("button", name="abdomen, slices 1 to 5, probability 0.90: go there").click()
    expect(page.locator("#slice-text")).to_have_text("3 of 10")
    page.locator(".pane").focus()
    page.keyboard.press("PageUp")
    expect(page.locator("#slice-text")).to_have_text("4 of 10")
    window = page.locator("#window-text").inner_text()
    box = page.locator(".pane canvas").bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down(button="right")
    page.mouse.move(box["x"] + 180, box["y"] + 140, steps=3)
    page.mouse.up(button="right")
    expect(page.locator("#window-text")).not_to_have_text(window)
    page.get_by_text("Outline", exact=True).click()
    until(page, lambda: 0.001 < coloured(pixels_of(page)) < 0.05)
    page.get_by_label("Plane").select_option("coronal")
    expect(page.locator("#slice-text")).to_contain_text("of 48")


def test_a_mask_of_a_volume_is_corrected_on_the_file_s_grid(visit, volume, tmp_path):
    import nibabel as nib

    page = visit()
    open_file(page, volume)
    ask(page, "liver")
    sent = hear_corrections(page)
    page.get_by_text("Correct a mask").click()
    page.get_by_role("button", name="Start").click()
    page.get_by_label("Size").fill("1")

    def mask() -> np.ndarray:
        with page.expect_download():
            page.get_by_role("button", name="Download for training").click()
        body = sent[-1]
        start = body.index(b"\r\n\r\n") + 4
        path = tmp_path / "mask.nii"
        path.write_bytes(body[start : body.index(b"\r\n------", start)])
        image = nib.load(path)
        np.testing.assert_allclose(image.affine, np.diag([-2.0, 2.0, 5.0, 1.0]))
        return np.asarray(image.dataobj).copy()  # the next mask has the same file

    before = mask()
    assert before.shape == (40, 48, 10)
    assert before[10, 35, 5] == 1
    assert before.sum() == before[:20, 24:, 3:7].sum()
    page.locator(".pane").focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    painted = mask()
    changed = np.argwhere(painted != before)
    assert 0 < len(changed) < 20
    assert set(changed[:, 2]) == {5}
    page.keyboard.press("Control+z")
    assert (mask() == before).all()


def test_a_clip_stands_upright_and_claims_no_sides(visit, tmp_path):
    frames = [Image.fromarray(np.pad(np.full((20, 20), 230, np.uint8), ((0, 60), (0, 80)), constant_values=30))] * 4
    frames[0].save(tmp_path / "clip.tif", save_all=True, append_images=frames[1:])
    page = visit()
    open_file(page, tmp_path / "clip.tif")
    until(page, lambda: pixels_of(page).max() > 150)
    shown = pixels_of(page).max(axis=2) > 150
    rows, columns = shown.nonzero()
    assert rows.mean() < shown.shape[0] / 2
    assert columns.mean() < shown.shape[1] / 2
    page.locator(".pane canvas").hover()
    expect(page.locator("#position")).to_contain_text("Voxel")
    expect(page.locator("#position")).not_to_contain_text("mm")


def test_a_phrase_stays_for_the_next_image_and_is_suggested(visit, picture, volume):
    page = visit()
    page.get_by_label("What to outline").press_sequentially("liv")
    expect(page.get_by_role("option")).to_have_count(1)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    chip = page.locator(".chip")
    expect(chip).to_contain_text("waits for an image")
    asked = []
    page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
    open_file(page, picture)
    expect(chip).to_contain_text("existence 0.95")
    assert asked.index("image") < asked.index("segment")  # nobody looks at nothing while the model works
    open_file(page, volume)
    expect(chip).to_contain_text("ml")


def test_one_of_several_series_is_chosen_and_had_as_dicom_and_zip(visit, picture):
    page = visit()
    scan = Path(get_testdata_file("CT_small.dcm", download=False))
    page.set_input_files("#files", [picture, scan])
    series = page.locator("#series")
    expect(series.locator("option")).to_have_count(2)
    dicom = page.get_by_role("button", name="DICOM segmentation")
    page.get_by_text("Download", exact=True).first.click()
    names = [f"{picture.name} and 1 more: {each} (1)" for each in ("scan_one.png", "series · CT")]
    assert sorted(series.locator("option").all_inner_texts()) == names
    series.select_option(label=names[1])
    expect(page.locator("#facts")).to_contain_text("CT")
    expect(dicom).to_be_visible()
    ask(page, "liver")

    def download(name: str) -> io.BytesIO:
        with page.expect_download() as downloaded:
            page.get_by_role("button", name=name).click()
        return io.BytesIO(Path(downloaded.value.path()).read_bytes())

    shown = dcmread(scan)
    for name, modality in (("DICOM segmentation", "SEG"), ("DICOM report", "SR")):
        made = dcmread(download(name))
        assert (made.Modality, made.StudyInstanceUID) == (modality, shown.StudyInstanceUID)
    with zipfile.ZipFile(download("All results (zip)")) as archive:
        assert "results.json" in archive.namelist()
    series.select_option(label=names[0])
    expect(page.locator(".pane canvas[aria-label*='scan_one.png']")).to_be_visible()
    expect(dicom).to_be_hidden()


def test_a_phrase_that_was_removed_is_in_no_download(visit, picture):
    page = visit()
    open_file(page, picture)
    for phrase in ("liver", "polyp"):
        ask(page, phrase)
    page.get_by_role("button", name="Remove liver").click()
    page.get_by_text("Download", exact=True).first.click()
    with page.expect_download() as downloaded:
        page.get_by_role("button", name="All results (zip)").click()
    with zipfile.ZipFile(downloaded.value.path()) as archive:
        told = json.loads(archive.read("results.json"))
    assert [each["phrase"] for each in told["results"]] == ["polyp"]
    page.get_by_role("button", name="Remove polyp").click()
    page.get_by_role("button", name="All results (zip)").click()
    expect(page.get_by_text("There are no results; type what to outline.")).to_be_visible()


def test_folders_are_sent_with_their_names(visit, tmp_path):
    page = visit()
    for home in ("p1", "p2"):
        (tmp_path / "study" / home).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (40, 30), (9 * number,) * 3).save(tmp_path / "study" / home / f"{number:03d}.png")
    page.set_input_files("#folder", tmp_path / "study")
    options = page.locator("#series option")
    expect(options).to_have_count(2)
    assert sorted(each.rpartition(": ")[2] for each in options.all_inner_texts()) == ["study/p1 (4)", "study/p2 (4)"]


def test_a_busy_service_is_asked_again_when_it_says_so(visit, picture):
    page = visit(expected=["status of 429"])
    open_file(page, picture)
    refused = []

    def refuse_once(route) -> None:
        if refused:
            route.continue_()
            return
        refused.append(route.request.url)
        route.fulfill(status=429, headers={"Retry-After": "1"}, json={"error": {"what": "The queue is full"}})

    page.route("**/segment", refuse_once)
    page.get_by_label("What to outline").fill("polyp")
    page.keyboard.press("Enter")
    progress = page.get_by_role("progressbar", name="Progress")
    expect(progress).to_be_visible()
    expect(page.locator(".chip[data-state=answered]")).to_be_visible()
    expect(progress).to_be_hidden()
    assert len(refused) == 1
    expect(page.get_by_role("alert")).to_be_empty()


def test_an_image_that_arrives_late_does_not_replace_a_newer_one(visit, picture, volume):
    page = visit()
    held = []

    def hold_first(route) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    page.route("**/image", hold_first)
    page.set_input_files("#files", picture)
    until(page, lambda: bool(held))
    open_file(page, volume)
    with page.expect_response("**/image"):
        held[0].continue_()
    page.wait_for_timeout(500)
    expect(page.locator(".pane")).to_have_count(1)
    expect(page.locator(f".pane canvas[aria-label^='{volume.name}']")).to_be_visible()


def test_names_of_files_and_phrases_are_only_text(visit, picture):
    page = visit()
    name = "<img src=x onerror=alert(1)>.png"
    page.set_input_files("#files", {"name": name, "mimeType": "image/png", "buffer": picture.read_bytes()})
    expect(page.locator("#facts")).to_contain_text(name)
    page.get_by_label("What to outline").fill("<b>a</b>\u202eb")
    page.keyboard.press("Enter")
    expect(page.locator(".chip")).to_contain_text("<b>a</b>\\u202eb")
    assert page.locator("main img, main b").count() == 0


def test_what_cannot_be_read_is_said_in_words_wherever_one_looks(visit, picture):
    page = visit(PHONE, expected=["status of 4"])
    open_file(page, picture)
    page.locator("footer").scroll_into_view_if_needed()
    page.set_input_files("#files", {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no image"})
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("notes.txt")
    expect(alert.get_by_text("notes.txt").first).to_be_in_viewport()
    alert.get_by_role("button", name="Close").click()
    expect(alert).to_be_empty()


def test_a_service_with_a_token_is_told_it_once(visit, picture):
    page = visit(expected=["status of 401"], token="a secret of some length")
    alert = page.get_by_role("alert")
    page.get_by_label("Token").fill("another of some length")
    page.get_by_role("button", name="Continue").click()
    expect(alert).to_contain_text("not the token")
    page.get_by_label("Token").fill("a secret of some length")
    page.get_by_role("button", name="Continue").click()
    expect(page.locator("#model")).to_have_text("pocket, 2 targets")
    expect(alert).to_be_empty()
    open_file(page, picture)
    page.reload()
    expect(page.locator("#model")).to_have_text("pocket, 2 targets")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_everybody_can_use_it(visit, picture, volume, theme, viewport):
    if not AXE.is_file():
        pytest.skip("needs axe-core: make web")
    page = visit(viewport, theme)
    check_access(page)
    open_file(page, picture)
    ask(page, "polyp", "kidney stone")
    for title in ("Correct a mask", "Download", "Compare two phrases"):
        page.get_by_text(title, exact=True).first.click()
    page.get_by_role("button", name="Start").click()
    check_access(page)
    open_file(page, volume)
    page.get_by_role("button", name="Name it").click()
    expect(page.locator(".strip")).to_have_count(2)
    check_access(page)
    page.get_by_role("button", name="Keys").click()
    check_access(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    expect(page.locator(".notice")).to_be_in_viewport()


def check_access(page) -> None:
    """No serious finding of axe."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run()")["violations"]
    assert [
        (each["id"], [node["html"] for node in each["nodes"]])
        for each in found
        if each["impact"] in ("serious", "critical")
    ] == []


def test_the_theme_is_switched_and_kept(visit):
    page = visit(theme="dark")
    paper = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(paper)
    page.get_by_role("button", name="Dark").click()
    light = page.evaluate(paper)
    assert light != dark
    page.reload()
    assert page.evaluate(paper) == light


def test_it_is_used_by_keyboard_alone(visit, picture):
    page = visit()
    page.keyboard.press("/")
    page.keyboard.type("polyp")
    page.keyboard.press("Enter")
    open_file(page, picture)
    expect(page.locator(".chip")).to_contain_text("existence")
    page.keyboard.press("Escape")
    page.locator(".pane").focus()
    page.keyboard.press("1")
    expect(page.get_by_role("checkbox", name="polyp")).not_to_be_checked()
    page.keyboard.press("m")
    expect(page.get_by_role("checkbox", name="polyp")).to_be_checked()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("all masks, or none")
    page.get_by_label("Letters work as keys").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    expect(page.get_by_role("checkbox", name="polyp")).to_be_checked()
