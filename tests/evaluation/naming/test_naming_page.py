import json
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from vesalius.errors import ConfigError
from vesalius.evaluation.naming.evaluate import evaluate_naming, evaluate_prevalence, evaluate_probe
from vesalius.evaluation.naming.figures import draw_preferences, draw_roc, draw_trust
from vesalius.evaluation.naming.page import FILES, write_naming_page
from vesalius.imaging.slices import series_colour

pytestmark = pytest.mark.slow

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def systems(build_tiny, make_slices, few):
    train, val, test = (make_slices(seed=seed, who=who) for seed, who in enumerate("tvx"))
    model = evaluate_naming(build_tiny("clip_vit_b32"), val, test, "tiny <CLIP>", few)
    return [model, evaluate_probe(train, val, test, "probe", few), evaluate_prevalence(train, val, test, few)]


def texts(svg: str) -> list[str]:
    return [each.text for each in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def lines_of(svg: str, series: int) -> int:
    style = f"fill: none; stroke: {series_colour(series)}"
    return sum(each.get("style", "").startswith(style) for each in ElementTree.fromstring(svg).iter(f"{SVG}path"))


def test_roc_curves_have_a_panel_a_label_of_both_kinds_and_a_line_a_system(systems):
    svg = draw_roc(systems, "stations")
    assert {"head", "chest", "abdomen", "pelvis"} <= set(texts(svg))
    assert "upper limb" not in texts(svg)
    assert [lines_of(svg, series) for series in range(4)] == [4, 4, 4, 0]
    assert texts(svg).count("0.50") >= 4  # prevalence


def test_labels_of_few_patients_show_how_many(systems, few):
    rare = replace(systems[0], label_kinds={"stations": replace_counted(systems[0].label_kinds["stations"])})
    assert "head (n = 6)" in texts(draw_roc([rare], "stations"))


def replace_counted(result):
    return replace(result, labels=tuple(replace(label, counted=False) for label in result.labels))


def test_preferences_have_a_strip_for_each_system_that_reads_captions(systems):
    svg = draw_preferences(systems)
    assert sum(text.startswith("wins ") for text in texts(svg)) == 2
    assert "right organ, wrong station" in texts(svg)
    assert draw_preferences(systems[1:]) is None


def test_trust_has_two_panels_with_every_system(systems):
    svg = draw_trust(systems, "organs")
    assert [lines_of(svg, series) for series in range(3)] == [2, 2, 2]


def test_a_figure_stands_alone_and_says_what_it_shows(systems):
    root = ElementTree.fromstring(draw_roc(systems, "organs"))
    assert root.tag == f"{SVG}svg"
    assert "tiny <CLIP>, probe, prevalence" in root.get("aria-label")
    assert float(root.get("width")) > 0


def test_figures_are_the_same_bytes_each_time_whatever_the_names(systems):
    named = [replace(each, name=name) for each, name in zip(systems, ("$a$", "_b", "日本"), strict=True)]
    svg = draw_trust(named, "organs")
    assert {"$a$", "_b", "日本"} <= set(texts(svg))
    assert draw_trust(named, "organs") == svg


def test_the_page_has_every_system_in_every_table_and_its_figures_beside_it(systems, tmp_path):
    write_naming_page(systems, tmp_path, "Naming", "Made-up vectors.")
    text = (tmp_path / "naming.md").read_text(encoding="utf-8")
    assert text.startswith("# Naming\n\nMade-up vectors.\n\n24 test slices (16 CT, 8 MR) of 6 patients.")
    figures = re.findall(r"\]\((.+?\.svg)\)", text)
    assert len(figures) == 5
    assert {path.name for path in tmp_path.iterdir()} == {"naming.md", "naming.json", *figures} == set(FILES)
    for name in ("tiny &lt;CLIP>", "probe", "prevalence"):
        assert text.count(f"\n| {name} |") >= 8
    assert "difference from tiny &lt;CLIP>" in text
    content = json.loads((tmp_path / "naming.json").read_text(encoding="utf-8"))
    assert [each["name"] for each in content["systems"]] == ["tiny <CLIP>", "probe", "prevalence"]
    tables = [block for block in text.split("\n\n") if block.startswith("|")]
    assert tables
    for table in tables:  # every row has as many cells as the head
        assert len({line.count(" | ") for line in table.splitlines()}) == 1


def test_systems_need_different_names(systems, tmp_path):
    with pytest.raises(ConfigError, match="different names, got probe, probe"):
        write_naming_page([systems[1], systems[1]], tmp_path, "Naming", "")
    with pytest.raises(ConfigError, match="got none"):
        write_naming_page([], tmp_path, "Naming", "")
