from xml.etree import ElementTree

import pytest

from vesalius.evaluation.report.content import NamedCurve, Strip
from vesalius.evaluation.report.existence import ExistenceCurve
from vesalius.evaluation.report.figures import PALETTE, SQUARE, colour, draw_axis, draw_curves, draw_strip
from vesalius.evaluation.statistics import Interval


def elements(svg: str, tag: str) -> list[dict[str, str]]:
    return [each.attrib for each in ElementTree.fromstring(svg).iter(tag)]


@pytest.fixture
def strip():
    return Strip("a <b> & c", 0, (0.0, 0.5, 0.5, 1.0), Interval(0.5, 0.25, 0.75, n=4), 0.5)


def test_a_strip_has_its_mean_interval_and_bars_where_they_belong(strip):
    svg = draw_strip(strip)
    (dot,) = elements(svg, "circle")
    assert dot["cx"] == "50.00%"
    assert [(line["x1"], line["x2"]) for line in elements(svg, "line") if line["stroke"] == colour(0)] == [
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
    assert [line["x1"] == line["x2"] for line in elements(svg, "line") if line["stroke"] == colour(0)] == [True]


def test_a_curve_runs_from_corner_to_corner():
    curve = ExistenceCurve(None, (0.0, 0.5, 1.0), (0.0, 1.0, 1.0), Interval(0.75, 0.5, 1.0, n=4), 2, 2, False)
    svg = draw_curves([NamedCurve("pocket", 1, curve)])
    (line,) = elements(svg, "polyline")
    assert line["points"] == f"0.0,{SQUARE}.0 {SQUARE / 2},0.0 {SQUARE}.0,0.0"
    assert line["stroke"] == PALETTE[1]
    assert elements(svg, "svg")[0]["aria-label"] == "pocket, all prompts: area 0.750"


def test_the_axis_is_well_formed():
    assert [each["x"] for each in elements(draw_axis(), "text")] == ["0%", "25%", "50%", "75%", "100%"]


def test_colours_repeat_after_the_last():
    assert colour(len(PALETTE)) == colour(0)
