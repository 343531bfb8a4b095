"""Volumes on the page."""

import nibabel as nib
import numpy as np
from page_client import NEEDED, ask, coloured, expect, open_file, pixels_of, until
from PIL import Image

pytestmark = NEEDED


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


def test_of_an_even_number_of_slices_one_is_shown_from_the_start(visit, tmp_path):
    values = np.full((60, 60, 4), 100, np.int16)
    for index in range(4):
        values[15 * index : 15 * index + 6, 25:35, index] = 1000
    nib.save(nib.Nifti1Image(values, np.diag([-1.0, 1.0, 5.0, 1.0])), tmp_path / "four.nii.gz")
    page = visit()
    open_file(page, tmp_path / "four.nii.gz")

    def blocks() -> list[int]:
        """How bright the place of each slice's block is."""
        shown = pixels_of(page).max(axis=2)
        columns = shown.shape[1] // 2 + (np.arange(4) * 15 + 3 - 30) * shown.shape[0] // 60
        return sorted(int(shown[shown.shape[0] * 45 // 100, each]) for each in columns)

    until(page, lambda: blocks()[-1] > 200)
    assert blocks()[-2] < 100
    page.locator(".pane canvas").click()
    axial = pixels_of(page)
    page.get_by_label("Plane").select_option("sagittal")
    until(page, lambda: not np.array_equal(pixels_of(page), axial))
    page.get_by_label("Plane").select_option("axial")
    until(page, lambda: blocks()[-1] > 200)
    assert blocks()[-2] < 100


def test_a_volume_too_large_to_draw_is_refused_but_asked(visit, tmp_path):
    values = np.full((2100, 64, 4), 30, np.uint8)
    values[700:1400] = 230
    nib.save(nib.Nifti1Image(values, np.diag([-1.0, -1.0, 1.0, 1.0])), tmp_path / "wide.nii.gz")
    page = visit()
    page.set_input_files("#files", tmp_path / "wide.nii.gz")
    expect(page.get_by_role("alert")).to_contain_text("2100 × 64 × 4 voxels is too large for this browser")
    expect(page.locator(".pane")).to_have_count(0)
    ask(page, "liver")
    page.get_by_role("button", name="slices 1–4").click()
    with page.expect_download():
        page.get_by_role("button", name="Download the mask of liver").click()
    page.get_by_text("Correct a mask").click()
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("alert")).to_contain_text("is not drawn")


def test_what_lies_under_the_pointer_stays_there_when_it_zooms(visit, volume):
    page = visit()
    open_file(page, volume)
    position = page.locator("#position")
    expect(position).to_contain_text("Voxel")
    crosshair = position.inner_text()
    box = page.locator(".pane canvas").bounding_box()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.3 * box["height"])
    expect(position).not_to_have_text(crosshair)
    voxel = position.inner_text().partition(":")[0]
    seen = pixels_of(page)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -400)
    page.keyboard.up("Control")
    until(page, lambda: not np.array_equal(pixels_of(page), seen))
    page.mouse.move(box["x"] + 0.6 * box["width"] + 1, box["y"] + 0.3 * box["height"])
    expect(position).to_contain_text(f"{voxel}:")


def test_a_window_without_width_is_refused(visit, volume):
    page = visit()
    open_file(page, volume)
    page.locator("#window-choice summary").click()
    width = page.get_by_label("Width")
    before = width.input_value()
    for typed in ("-500", ""):
        width.fill(typed)
        page.keyboard.press("Enter")
        expect(width).to_have_value(before)
