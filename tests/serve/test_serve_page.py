"""The page in a browser: what users see and do, with a model that marks what is bright."""

import io
import json
import zipfile
from pathlib import Path

import pytest
from page_client import (
    AXE,
    NEEDED,
    PHONE,
    WIDE,
    ask,
    check_access,
    coloured,
    correct,
    expect,
    open_file,
    pixels_of,
    until,
)
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file

from vesalius.prompts.bank import read_synonyms

pytestmark = NEEDED


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
    expect(page.locator("#status")).to_contain_text("liver: existence 0.95.")
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
    names = [f"{picture.name} (1)", "series · CT (1)"]
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
    expect(page.locator(".pane canvas[aria-label*='more: scan one.png']")).to_be_visible()
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
    assert sorted(options.all_inner_texts()) == ["p1 (4)", "p2 (4)"]
    expect(page.locator("#facts")).to_contain_text("study: p")


def test_a_busy_service_is_asked_again_when_it_says_so(visit, picture):
    page = visit(expected=["status of 429"])
    open_file(page, picture)
    asked = []

    def refuse_once(route) -> None:
        asked.append(route)
        if len(asked) == 1:
            route.fulfill(status=429, headers={"Retry-After": "1"}, json={"error": {"what": "The queue is full"}})

    page.route("**/segment", refuse_once)
    page.get_by_label("What to outline").fill("polyp")
    page.keyboard.press("Enter")
    progress = page.get_by_role("progressbar", name="Progress")
    until(page, lambda: len(asked) == 2)
    expect(progress).to_be_visible()
    asked[1].continue_()
    expect(page.locator(".chip[data-state=answered]")).to_be_visible()
    expect(progress).to_be_hidden()
    assert len(asked) == 2
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
    progress = page.get_by_role("progressbar", name="Progress")
    expect(progress).to_be_visible()  # until all that was begun is over
    with page.expect_response("**/image"):
        held[0].continue_()
    expect(progress).to_be_hidden()
    expect(page.locator(".pane")).to_have_count(1)
    expect(page.locator(f".pane canvas[aria-label^='{volume.name}']")).to_be_visible()


def test_a_model_that_is_told_late_takes_no_error_away_and_suggests_for_what_is_typed(visit, tmp_path):
    page = visit(expected=("415", "422", "400"))
    held = []
    page.route("**/api/model", lambda route: held.append(route))
    page.reload()
    until(page, lambda: bool(held))
    (tmp_path / "notes.txt").write_text("no image")
    page.set_input_files("#files", tmp_path / "notes.txt")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("notes.txt")
    page.get_by_label("What to outline").fill("pol")
    held[0].continue_()
    expect(page.get_by_role("option").first).to_contain_text("polyp")
    expect(alert).to_contain_text("notes.txt")


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
    page.get_by_label("Token").fill("“another” of some length")
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
    correct(page)
    check_access(page)
    open_file(page, volume)
    page.get_by_role("button", name="Name it").click()
    expect(page.locator(".strip")).to_have_count(2)
    check_access(page)
    page.get_by_role("button", name="Keys").click()
    check_access(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    expect(page.locator(".notice")).to_be_in_viewport()


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


def test_a_reload_finds_image_and_phrases_until_they_are_deleted(visit, picture):
    page = visit()
    open_file(page, picture)
    ask(page, "polyp")
    page.reload()
    expect(page.locator(".chip[data-state=answered]")).to_contain_text("polyp")
    expect(page.locator(f".pane canvas[aria-label^='{picture.name}']")).to_be_visible()
    with page.expect_response(lambda answer: answer.request.method == "DELETE") as deleted:
        page.get_by_role("button", name="Delete from the service").click()
    assert deleted.value.status == 204
    expect(page.get_by_role("button", name="Choose files …")).to_be_visible()
    page.reload()
    expect(page.locator(".chip")).to_contain_text("waits for an image")


def test_a_browser_that_keeps_nothing_has_a_page_all_the_same(visit, picture):
    page = visit()
    page.add_init_script(
        "for (const name of ['localStorage', 'sessionStorage'])"
        "Object.defineProperty(window, name, { get() { throw new DOMException('denied', 'SecurityError') } })"
    )
    page.reload()
    open_file(page, picture)
    page.get_by_role("button", name="Dark").click()
    expect(page.get_by_role("button", name="Dark")).to_have_attribute("aria-pressed", "true")


def test_a_picture_wider_than_a_canvas_is_refused_but_asked(visit, tmp_path):
    Image.new("RGB", (70_000, 8), (200, 200, 200)).save(tmp_path / "wide.png")
    page = visit()
    page.set_input_files("#files", tmp_path / "wide.png")
    expect(page.get_by_role("alert")).to_contain_text("70000 × 8 pixels is too large for this browser")
    ask(page, "polyp")
    with page.expect_download():
        page.get_by_role("button", name="Download the mask of polyp").click()
