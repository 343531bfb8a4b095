import re
from xml.etree import ElementTree

import pytest

from vesalius.evaluation.report.content import NamedCurve, Strip
from vesalius.evaluation.report.existence import ExistenceCurve
from vesalius.evaluation.report.figures import draw_curves, draw_strip
from vesalius.evaluation.report.page import render_page
from vesalius.evaluation.statistics import Interval
from vesalius.imaging.slices import PALETTE, series_colour

SVG = "{http://www.w3.org/2000/svg}"


def elements(svg: str, tag: str) -> list[dict[str, str]]:
    return [each.attrib for each in ElementTree.fromstring(svg).iter(tag)]


@pytest.fixture
def strip():
    return Strip("a <b> & c", 0, (0.0, 0.5, 0.5, 1.0), Interval(0.5, 0.25, 0.75, n=4), 0.5)


def test_a_strip_has_its_mean_interval_and_bars_where_they_belong(strip):
    svg = draw_strip(strip)
    (dot,) = elements(svg, "circle")
    assert dot["cx"] == "50.00%"
    assert [(line["x1"], line["x2"]) for line in elements(svg, "line") if line.get("stroke") == series_colour(0)] == [
        ("25.00%", "75.00%")
    ]
    bars = elements(svg, "rect")
    assert [bar["x"] for bar in bars] == ["0.00%", "50.00%", "97.50%"]  # 1.0 falls in the last bin
    assert float(bars[1]["height"]) == 2 * float(bars[0]["height"])


def test_names_cannot_leave_their_attribute(strip):
    (svg,) = elements(draw_strip(strip), "svg")
    assert svg["aria-label"] == "a <b> & c: mean Dice 0.500 [0.250, 0.750], median 0.500, 4 images"


def test_a_mean_of_one_image_has_no_interval():
    svg = draw_strip(Strip("a", 0, (0.5,), Interval(0.5, None, None, n=1), 0.5))
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
    (axis,) = re.findall(r'<svg class="axis".*?</svg>', render_page(report), re.DOTALL)
    assert [each["x"] for each in elements(axis, "text")] == ["0%", "25%", "50%", "75%", "100%"]


def test_colours_repeat_after_the_last():
    assert series_colour(len(PALETTE)) == series_colour(0)
