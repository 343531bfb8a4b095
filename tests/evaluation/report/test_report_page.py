import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from vesalius.evaluation.ranking import ExistenceCurve
from vesalius.evaluation.report.builders import build_report
from vesalius.evaluation.report.content import NamedCurve, Number, Strip, Table
from vesalius.evaluation.report.gallery import KINDS, MOST, SIDE, Shown, choose_examples, draw_tiles
from vesalius.evaluation.report.page import draw_curves, draw_strip_plot, render_html, render_markdown
from vesalius.evaluation.segmentation import Evaluation
from vesalius.evaluation.statistics import Interval
from vesalius.imaging.slices import PALETTE, series_colour

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
    page = Reader(
        render_html(build_report(replace(make_evaluation(), manifest={"command": "vesalius evaluate"}), gallery))
    )
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


def test_commands_in_prose_are_code_and_no_visible_tags(make_evaluation):
    page = Reader(render_html(build_report(make_evaluation(absent=0))))
    assert "vesalius audit" in page.text
    assert "<code>" not in page.text


def test_nothing_is_loaded_from_elsewhere(make_evaluation, gallery):
    text = render_html(build_report(make_evaluation(), gallery))
    assert "default-src 'none'" in text
    for _, attributes in Reader(text).found:
        assert all(
            attributes[name].startswith("data:image/jpeg;base64,") for name in ("src", "href") if name in attributes
        )
    assert not re.search(r"url\(|@import|<script|<link", text)


def test_words_from_files_stay_words(make_evaluation, make_row):
    evaluation = make_evaluation()
    rows = tuple(replace(row, image=NASTY + row.image, family=NASTY, prompt=NASTY) for row in evaluation.rows)
    texts = {"name": NASTY, "model": NASTY, "data": NASTY, "rule": NASTY, "manifest": {NASTY: NASTY}}
    nasty = replace(evaluation, evaluation=Evaluation(tuple(rows)), **texts)
    gallery = [Shown(each, {"image": b"x"}) for each in choose_examples(rows, 1)]
    page = Reader(render_html(build_report(nasty, gallery)))
    assert "script" not in {tag for tag, _ in page.found}
    assert page.text.count("alert(1)") > 10


def test_a_page_without_pictures_says_so(report):
    page = Reader(render_html(report))
    assert "img" not in {tag for tag, _ in page.found}
    assert "No pictures: rows hold no masks." in page.text


@pytest.mark.slow
def test_the_fullest_page_stays_below_three_megabytes(make_evaluation):
    noise = np.random.default_rng(0).random((SIDE, SIDE, 3), dtype=np.float32)  # hardly compresses
    tiles = draw_tiles(noise, noise[..., 0] > 0.5, noise[..., 0] < 0.5)
    evaluation = make_evaluation()
    shown = Shown(choose_examples(evaluation.rows, 1)[0], tiles)
    page = render_html(build_report(evaluation, [shown] * len(KINDS) * MOST))
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


SVG = "{http://www.w3.org/2000/svg}"


def elements(svg: str, tag: str) -> list[dict[str, str]]:
    return [each.attrib for each in ElementTree.fromstring(svg).iter(tag)]


@pytest.fixture
def strip():
    return Strip("a <b> & c", 0, (0.0, 0.5, 0.5, 1.0), Interval(0.5, 0.25, 0.75, n=4), 0.5)


def test_a_strip_has_its_mean_interval_and_bars_where_they_belong(strip):
    svg = draw_strip_plot(strip)
    (dot,) = elements(svg, "circle")
    assert dot["cx"] == "50.00%"
    assert [(line["x1"], line["x2"]) for line in elements(svg, "line") if line.get("stroke") == series_colour(0)] == [
        ("25.00%", "75.00%")
    ]
    bars = elements(svg, "rect")
    assert [bar["x"] for bar in bars] == ["0.00%", "50.00%", "97.50%"]  # 1.0 falls in the last bin
    assert float(bars[1]["height"]) == 2 * float(bars[0]["height"])


def test_names_cannot_leave_their_attribute(strip):
    (svg,) = elements(draw_strip_plot(strip), "svg")
    assert svg["aria-label"] == "a <b> & c: mean Dice 0.500 [0.250, 0.750], median 0.500, 4 images"


def test_a_mean_of_one_image_has_no_interval():
    svg = draw_strip_plot(Strip("a", 0, (0.5,), Interval(0.5, None, None, n=1), 0.5))
    assert [line["x1"] == line["x2"] for line in elements(svg, "line") if line.get("stroke") == series_colour(0)] == [
        True
    ]


def test_a_curve_runs_from_corner_to_corner():
    curve = ExistenceCurve(None, (0.0, 0.5, 1.0), (0.0, 1.0, 1.0), Interval(0.75, 0.5, 1.0, n=4), 2, 2, False)
    root = ElementTree.fromstring(draw_curves([NamedCurve("pocket", 1, curve)]))
    paths = [(each.get("style", ""), each.get("d")) for each in root.iter(f"{SVG}path")]
    points = [
        [tuple(map(float, place.split())) for place in re.split("[ML]", path)[1:]]
        for style, path in paths if f"stroke: {PALETTE[1]}" in style or "stroke-dasharray" in style
    ]  # fmt: skip
    (corner, opposite), line = points  # the dashed diagonal tells where the corners are
    assert line == [corner, pytest.approx(((corner[0] + opposite[0]) / 2, opposite[1])), opposite]
    assert root.get("aria-label") == "pocket, all prompts: area 0.750"


def test_the_axis_is_well_formed(report):
    (axis,) = re.findall(r'<svg class="axis".*?</svg>', render_html(report), re.DOTALL)
    assert [each["x"] for each in elements(axis, "text")] == ["0%", "25%", "50%", "75%", "100%"]


def test_colours_repeat_after_the_last():
    assert series_colour(len(PALETTE)) == series_colour(0)
