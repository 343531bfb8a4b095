import html
import re

import numpy as np
import pytest
from PIL import Image

from vesalius.imaging import MedicalImage
from vesalius.imaging.mask_volumes import PackedMasks, choose_shown_slices
from vesalius.segmenting.page import COLOURS, colour_of, write_overview, write_results_page


def packed(*planes: np.ndarray) -> PackedMasks:
    masks = PackedMasks(planes[0].shape)
    for plane in planes:
        masks.append(plane)
    return masks


def square(size: tuple[int, int] = (64, 80)) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[20:50, 20:60] = True
    return mask


def draw(path, pixels, masks) -> np.ndarray:
    image = MedicalImage(pixels, source=path)
    write_overview(path, image.slices(), masks)
    return np.asarray(Image.open(path)).astype(int)


@pytest.mark.parametrize("place", range(len(COLOURS)))
@pytest.mark.parametrize("ground", [(0, 0, 0), (128, 128, 128), (255, 255, 255), (196, 120, 106)])
def test_every_outline_is_seen_on_grey_on_white_and_on_mucosa(tmp_path, place, ground):
    pixels = np.broadcast_to(np.array(ground, np.uint8), (1, 64, 80, 3)).copy()
    drawn = draw(tmp_path / "a.jpg", pixels, {place: packed(square())})
    line, rim, far = drawn[35, 20], drawn[35, 19], drawn[5, 5]
    brightest = max(np.abs(line - rim).max(), np.abs(line - far).max(), np.abs(rim - far).max())
    assert brightest > 90
    assert np.abs(line - np.array(colour_of(place))).max() < 40


def test_a_picture_without_a_mark_is_drawn_as_it_is(tmp_path):
    drawn = draw(tmp_path / "a.jpg", np.full((1, 64, 80), 90, np.uint8), {0: packed(np.zeros((64, 80), bool))})
    assert drawn.shape == (64, 80, 3)
    assert np.abs(drawn - 90).max() <= 2


def test_large_pictures_are_drawn_small_and_thin_marks_stay(tmp_path):
    mask = np.zeros((1500, 2000), bool)
    mask[700:703] = True
    drawn = draw(tmp_path / "a.jpg", np.zeros((1, 1500, 2000), np.uint8), {0: packed(mask)})
    assert max(drawn.shape) == 640
    assert drawn[220:230, 300].max() > 100


def test_a_series_shows_its_marked_slices_with_their_numbers(tmp_path):
    masks = packed(*(square() if 10 <= place < 14 else np.zeros((64, 80), bool) for place in range(30)))
    empty = packed(*np.zeros((30, 64, 80), bool))
    assert choose_shown_slices(masks.marked) == [10, 11, 12, 13]
    assert len(choose_shown_slices(empty.marked)) == 12
    for of_all in ({}, {0: empty}):
        assert draw(tmp_path / "b.jpg", np.zeros((30, 64, 80), np.uint8), of_all).shape == (3 * 192, 4 * 240, 3)
    drawn = draw(tmp_path / "a.jpg", np.zeros((30, 64, 80), np.uint8), {0: masks, 3: empty})
    assert drawn.shape == (192, 4 * 240, 3)
    assert drawn[2:14, 4:40].min(axis=2).max() > 150  # the number, where the slice is black


def row(**told) -> dict[str, object]:
    usual = {"image": "/in/a.png", "prompt": "polyp", "mask": "a.polyp.mask.png", "overlay": "a.overlay.jpg"}
    numbers = {"share": 0.5, "existence": 0.9, "slices": 1, "notices": []}
    return usual | numbers | {"settings": {"prompts": ["polyp", "lungs"]}} | told


def test_the_page_says_what_is_empty_and_what_was_never_learnt(tmp_path):
    unknown = row(prompt="fracture", mask=None, answer="not learnt", remark="'fracture' is not among what was learnt.")
    rows = [row(area_mm2=12.5), row(prompt="lungs", share=0.0, existence=0.02), unknown]
    volume = row(
        image="/in/v.nii.gz", slices=30, slices_marked=4, volume_ml=3.0, label=2, notices=["9 slices left out."]
    )
    write_results_page(tmp_path / "index.html", [*rows, volume], [], [tmp_path / "results.csv"])
    text = html.unescape(re.sub(r"<[^>]+>", "", (tmp_path / "index.html").read_text()))
    for told in (
        "polyp: existence 0.90; 50.00 % marked; 12.5 mm²; mask",
        "lungs: existence 0.02; nothing marked; mask",
        "fracture: not learnt",
        "'fracture' is not among what was learnt.",
        "50.00 % marked; 3.0 ml; on 4 of 30 slices; label 2",
        "9 slices left out.",
        "2 images, 3 phrases",
        "results.csv. The slices of a series",
    ):
        assert told in text


def test_the_page_needs_no_network_and_no_script_and_escapes_what_comes_from_outside(tmp_path):
    name = '<script>alert("x")</script> #1%.png'
    odd = row(image=f"/in/{name}", prompt='<b onclick="x">', mask=name, overlay=name, notices=["<i>"], remark="<u>")
    write_results_page(
        tmp_path / "index.html", [odd], [{"source": "<s>", "reason": "\x1b[31m"}], [tmp_path / "results.csv"]
    )
    text = (tmp_path / "index.html").read_text()
    assert not re.search(r"<script|<b onclick|<u>|<s>|https?:|\x1b", text)
    (target,) = set(re.findall(r'src="([^"]+)"', text))
    assert target == "%3Cscript%3Ealert%28%22x%22%29%3C/script%3E%20%231%25.png"


def test_colours_on_the_page_are_those_of_the_pictures(tmp_path):
    write_results_page(tmp_path / "index.html", [row(), row(prompt="lungs")], [], [])
    legend = (tmp_path / "index.html").read_text().split('<div class="legend">')[1]
    assert legend.index(f"rgb{colour_of(0)}") < legend.index("polyp") < legend.index(f"rgb{colour_of(1)}")
