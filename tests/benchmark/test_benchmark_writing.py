import csv
import dataclasses
import json

import pytest

from vesalius.benchmark.report import BenchmarkReport, build_report, write_benchmark
from vesalius.evaluation.statistics import Interval


@pytest.fixture
def report(run_tiny) -> BenchmarkReport:
    return build_report(run_tiny.recipe, run_tiny.outcomes)


def write_text(report, folder) -> str:
    write_benchmark(report, folder)
    return (folder / "table.md").read_text(encoding="utf-8")


def test_the_page_has_numbers_notes_captions_and_how_each_was_made(report, tmp_path):
    text = write_text(report, tmp_path)
    assert text.startswith("# Tiny\n\n| model | Kvasir-SEG | paper |\n| --- | --- | --- |\n| unet_d | 0.")
    assert "| unet_from_weights | –¹ ² | 0.602 |" in text
    assert "\n1. unet_from_weights on kvasir_polyp, seed 0: unet_d: no public weights" in text
    assert all(line in text.replace("\\", "") for line in report.explain())
    assert text.count("| unet_d | Kvasir-SEG |") == 2
    assert f"on: {report.runs[0].machine}." in text
    assert "show something" not in text


def test_the_page_has_a_second_table_where_some_images_show_nothing(report, tmp_path):
    good, bad = report.scores
    changed = dataclasses.replace(report, scores=(dataclasses.replace(good, present=Interval(0.25, 0.2, 0.3, 1)), bad))
    text = write_text(changed, tmp_path)
    assert "show something alone:\n\n| model | Kvasir-SEG |\n| --- | --- |\n| unet_d | 0.250 [0.200, 0.300] |" in text


def test_a_page_without_any_number_is_written_too(report, tmp_path):
    text = write_text(dataclasses.replace(report, scores=report.scores[1:], runs=()), tmp_path)
    assert "| unet_from_weights | –¹ ² | 0.602 |" in text
    assert "How each was made" not in text


def test_what_a_message_says_cannot_break_the_page(report, tmp_path):
    failed = dataclasses.replace(report.scores[1], failures=("a | b\n<script>",))
    assert r"1. a \| b\\n&lt;script>" in write_text(dataclasses.replace(report, scores=(failed,)), tmp_path)


def test_the_sheet_has_a_line_for_each_score(report, tmp_path):
    write_benchmark(report, tmp_path)
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as file:
        good, bad = csv.DictReader(file)
    assert (good["data"], good["model"], good["seeds"], good["published"]) == ("kvasir_polyp", "unet_d", "2", "0.60215")
    assert float(good["low"]) <= float(good["dice"]) <= float(good["high"])
    assert (bad["dice"], bad["low"], bad["seeds"]) == ("", "", "0")


def test_the_object_is_the_report(report, tmp_path):
    write_benchmark(report, tmp_path)
    written = json.loads((tmp_path / "table.json").read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(report.to_dict()))
