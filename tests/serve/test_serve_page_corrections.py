"""Masks are corrected by hand on the page."""

import io

import numpy as np
from page_client import FRAMES, NEEDED, ask, coloured, correct, expect, hear_corrections, open_file, pixels_of, until
from PIL import Image

pytestmark = NEEDED

HOLD_ONE_MASK = """() => {
    const read = Blob.prototype.arrayBuffer;
    Blob.prototype.arrayBuffer = async function () {
        Blob.prototype.arrayBuffer = read;
        await new Promise((goOn) => { window.goOn = goOn; });
        return read.call(this);
    };
}"""
"""The mask that is read next is there once ``goOn`` is called."""


def test_a_mask_is_corrected_with_the_brush_and_by_keyboard(visit, picture, tmp_path):
    page = visit()
    open_file(page, picture)
    ask(page, "polyp")
    page.get_by_text("Correct a mask").click()
    correct(page)

    def move(column: float, row: float) -> None:
        box = page.locator(".pane canvas").bounding_box()
        scale = min(box["width"] / 160, box["height"] / 120)
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


def test_a_mask_of_a_volume_is_corrected_on_the_file_s_grid(visit, volume, tmp_path):
    import nibabel as nib

    page = visit()
    open_file(page, volume)
    ask(page, "liver")
    sent = hear_corrections(page)
    page.get_by_text("Correct a mask").click()
    correct(page)
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


def dab(page, times: int = 1) -> None:
    page.locator(".pane").focus()
    for _ in range(times):
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Space")


def test_strokes_are_kept_and_lost_only_when_that_is_agreed_to(visit, picture, volume):
    page = visit(expected=["The corrected mask of polyp"])
    open_file(page, picture)
    ask(page, "polyp", "liver")
    page.get_by_text("Correct a mask").click()
    correct(page)
    page.locator(".pane").focus()
    page.keyboard.press("e")
    dab(page)
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#status")).to_contain_text("is kept")
    assert page.evaluate("!dispatchEvent(new Event('beforeunload', { cancelable: true }))")
    page.set_input_files("#files", volume)
    page.get_by_role("button", name="Remove polyp").click()
    expect(page.locator(".chip")).to_have_count(2)
    expect(page.locator("#facts")).to_contain_text(picture.name)

    sent = hear_corrections(page)
    correct(page, "Continue")
    with page.expect_download():
        page.get_by_role("button", name="Download for training").click()
    mask = np.asarray(Image.open(io.BytesIO(sent[-1][sent[-1].index(b"\x89PNG") :])).convert("L"))
    assert 0 < (mask[32:88, 42:98] == 0).sum() < 400
    page.get_by_role("button", name="Remove polyp").click()
    expect(page.locator(".chip")).to_have_count(1)
    expect(page.get_by_role("button", name="Start")).to_be_enabled()
    expect(page.locator("#corrected")).to_have_value("liver")
    open_file(page, volume)


def test_no_brush_is_taken_up_on_an_image_that_is_opened_meanwhile(visit, picture, volume):
    page = visit()
    open_file(page, volume)
    ask(page, "liver")
    page.get_by_text("Correct a mask").click()
    page.evaluate(HOLD_ONE_MASK)
    page.get_by_role("button", name="Start").click()
    until(page, lambda: page.evaluate("window.goOn !== undefined"))
    open_file(page, picture)
    page.evaluate("window.goOn()")
    page.evaluate(FRAMES)
    correct(page)


def test_a_corrected_volume_is_gone_on_with_and_says_how_far_back_it_goes(visit, volume):
    page = visit()
    open_file(page, volume)
    ask(page, "liver")
    page.get_by_text("Correct a mask").click()
    correct(page)
    before = coloured(pixels_of(page))
    dab(page, 16)
    after = coloured(pixels_of(page))
    assert after > 1.05 * before
    page.get_by_role("button", name="Stop").click()
    correct(page, "Continue")
    until(page, lambda: coloured(pixels_of(page)) > 0.98 * after)
    dab(page, 16)
    for _ in range(16):
        page.keyboard.press("Control+z")
    expect(page.locator("#status")).to_have_text("Nothing more to take back; the last 15 strokes are kept.")


def test_the_first_phrase_is_offered_first_whichever_mask_comes_first(visit, picture):
    page = visit()
    held = []
    page.route("**/results/1.png", lambda route: held.append(route))
    for phrase in ("polyp", "liver"):
        page.get_by_label("What to outline").fill(phrase)
        page.keyboard.press("Enter")
    page.set_input_files("#files", picture)
    expect(page.locator("#corrected option")).to_have_count(1)
    until(page, lambda: bool(held))
    held[0].continue_()
    expect(page.locator("#corrected option")).to_have_count(2)
    expect(page.locator("#corrected")).to_have_value("polyp")
