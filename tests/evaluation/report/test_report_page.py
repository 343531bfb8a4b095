import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from vesalius.evaluation.report.builders import build_report
from vesalius.evaluation.report.content import Number, Table
from vesalius.evaluation.report.gallery import KINDS, MOST, SIDE, Shown, choose_examples, draw_tiles
from vesalius.evaluation.report.page import render_markdown, render_page

NASTY = '"><script>alert(1)</script>&amp; `x`'
VOID = {"meta", "img", "br", "line", "circle", "rect", "polyline"}


class Reader(HTMLParser):
    """Collects elements, their attributes and texts, and complains of what is not closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def gallery(make_evaluation):
    tiles = draw_tiles(np.zeros((8, 8, 3), np.float32), np.eye(8, dtype=bool), np.ones((8, 8), bool))
    return [Shown(each, tiles) for each in choose_examples(make_evaluation().rows, 2)]


def test_the_page_is_well_formed_and_shows_every_part(make_evaluation, gallery):
    page = Reader(render_page(build_report(make_evaluation(), {"command": "vesalius evaluate"}, gallery)))
    for words in (
        "Scores",
        "Prompt by prompt",
        "not there",
        "Worst",
        "In the middle",
        "Best",
        "False positives",
        "missed",
    ):
        assert words in page.text
    pictures = [attributes["src"] for tag, attributes in page.found if tag == "img"]
    assert len(pictures) == 4 * len(gallery)
    assert base64.b64decode(pictures[0].split(",")[1]) == gallery[0].tiles["image"]
    assert all(attributes["alt"] for tag, attributes in page.found if tag == "img")


def test_nothing_is_loaded_from_elsewhere(make_evaluation, gallery):
    text = render_page(build_report(make_evaluation(), {}, gallery))
    assert "default-src 'none'" in text
    for _, attributes in Reader(text).found:
        assert all(
            attributes[name].startswith("data:image/jpeg;base64,") for name in ("src", "href") if name in attributes
        )
    assert not re.search(r"url\(|@import|<script|<link", text)


def test_words_from_files_stay_words(make_evaluation, make_row):
    evaluation = make_evaluation()
    rows = tuple(replace(row, image=NASTY + row.image, family=NASTY, prompt=NASTY) for row in evaluation.rows)
    nasty = replace(evaluation, name=NASTY, model=NASTY, data=NASTY, rule=NASTY, rows=rows)
    gallery = [Shown(each, {"image": b"x"}) for each in choose_examples(rows, 1)]
    page = Reader(render_page(build_report(nasty, {NASTY: NASTY}, gallery)))
    assert "script" not in {tag for tag, _ in page.found}
    assert page.text.count("alert(1)") > 10


def test_a_page_without_pictures_says_so(report):
    page = Reader(render_page(report))
    assert "img" not in {tag for tag, _ in page.found}
    assert "No pictures: rows hold no masks." in page.text


def test_the_fullest_page_stays_below_three_megabytes(make_evaluation):
    noise = np.random.default_rng(0).random((SIDE, SIDE, 3), dtype=np.float32)  # hardly compresses
    tiles = draw_tiles(noise, noise[..., 0] > 0.5, noise[..., 0] < 0.5)
    evaluation = make_evaluation()
    shown = Shown(choose_examples(evaluation.rows, 1)[0], tiles)
    page = render_page(build_report(evaluation, {}, [shown] * len(KINDS) * MOST))
    assert 1_000_000 < len(page) < 3_000_000


def test_tables_have_a_line_for_each_row(report):
    lines = render_markdown(report).splitlines()
    assert lines[0] == "# model of one on kvasir, test"
    assert "| prompt | Dice | IoU | Precision | Recall | NSD | HD95 (px) |" in lines
    assert sum(line.startswith("| p0 |") for line in lines) == 3
    assert "- **command**: vesalius evaluate" in lines
    assert "- **machine**: threads 2" in lines


def test_numbers_have_their_intervals_and_gaps_a_dash(report):
    table = Table("T", ("a", "b"), [["x", Number("0.5", "0.4–0.6")], ["y", Number("0.5")], ["z", None]])
    text = render_markdown(replace(report, tables=[table]))
    assert "| x | 0.5 (0.4–0.6) |\n| y | 0.5 |\n| z | – |" in text


def test_words_cannot_change_the_text_around_them(report):
    text = render_markdown(replace(report, title="a|b <script> *c* [d](e)\n# f"))
    assert text.splitlines()[0] == r"# a\|b &lt;script> \*c\* [d\](e)\\n\# f"
