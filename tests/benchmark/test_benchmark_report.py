import dataclasses
import json

import pytest

from vesalius.benchmark.report import BenchmarkReport, build_report
from vesalius.evaluation.statistics import Interval


@pytest.fixture
def report(run_tiny) -> BenchmarkReport:
    return build_report(run_tiny.recipe, run_tiny.outcomes)


def test_it_has_a_score_for_each_place_in_the_table_and_a_making_for_each_finished_cell(report):
    assert [score.label for score in report.scores] == ["unet_d", "unet_from_weights"]
    assert [run.seed for run in report.runs] == [0, 1]


def test_captions_say_what_the_numbers_are(report):
    about, interval, ours, paper = report.explain()
    assert about.startswith(
        "Mean Dice over the test images (Kvasir-SEG 2), each with its mean over 2 seeds, the prompt families p0, p2 "
        "and all wordings; threshold 0.5"
    )
    assert "95 % bootstrap interval, drawing images" in interval
    assert ours.startswith(
        "Ours: training began with untrained weights; 32 px, 2 epochs, batches of 2, learning rate 0.001;"
    )
    assert paper.startswith("paper: Dietlmeier et al., VLSM-Ensemble, MIDL 2025; mean Dice over all text prompts")
    assert paper.endswith("only where both models were trained alike.")


def test_what_began_in_different_ways_is_said(report):
    first, second = report.runs
    mixed = dataclasses.replace(report, runs=(first, dataclasses.replace(second, weights="public", image_size=224)))
    assert "began with untrained or public weights; 32 to 224 px" in mixed.explain()[2]


def test_where_nothing_was_finished_captions_say_so(report):
    recipe = dataclasses.replace(report.recipe, prompts=None, seeds=(0,), publication=None)
    nothing = BenchmarkReport(recipe, report.scores[1:], ())
    about, interval = nothing.explain()
    assert "test images (none scored), each with its mean over all prompt families and all wordings" in about
    assert "interval" in interval


def test_a_second_table_is_there_only_for_data_sets_with_empty_truths(report):
    assert report.present_table is None
    good, bad = report.scores
    some = dataclasses.replace(good, present=Interval(0.25, 0.2, 0.3, 1))
    other = dataclasses.replace(good, data="busi")
    table = dataclasses.replace(report, scores=(some, bad, other)).present_table
    assert table.columns == ("model", "Kvasir-SEG")
    assert table.rows[0] == ("unet_d", "0.250 [0.200, 0.300]")


def test_it_can_be_json(report):
    content = json.loads(json.dumps(report.to_dict()))
    assert content["title"] == "Tiny"
    assert content["scores"][0]["mean"]["n"] == 2
    assert [cell["seed"] for cell in content["cells"]] == [0, 1]
