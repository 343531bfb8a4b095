import csv
import dataclasses
import json

import numpy as np
import pytest

from vesalius.benchmark.recipe import Publication
from vesalius.benchmark.report import (
    BenchmarkReport,
    Score,
    build_benchmark_report,
    collect_scores,
    tabulate_scores,
    write_benchmark,
)
from vesalius.benchmark.running import CellOutcome
from vesalius.evaluation.rows import write_rows
from vesalius.evaluation.statistics import Interval
from vesalius.evaluation.stored import read_evaluation

pytestmark = pytest.mark.slow


def test_seeds_of_a_model_and_data_set_become_one_score(run_tiny):
    told = []
    scores = collect_scores(run_tiny.outcomes, run_tiny.recipe.publication, on_score=lambda: told.append(1))
    assert len(scores) == len(told) == 2
    good, bad = scores
    assert (good.label, good.data, list(good.seeds)) == ("unet_d", "kvasir_polyp", [0, 1])
    assert (good.published, good.failures, good.present) == (0.60215, (), None)
    assert (bad.mean, bad.present, bad.seeds, bad.published) == (None, None, {}, 0.60215)
    assert [failure.split(": ")[0] for failure in bad.failures] == [
        "unet_from_weights on kvasir_polyp, seed 0",
        "unet_from_weights on kvasir_polyp, seed 1",
    ]


def test_the_mean_is_that_of_images_means_over_seeds_and_families(run_tiny):
    (score, _) = collect_scores(run_tiny.outcomes)
    by_image = {}
    for cell in run_tiny.cells[:2]:
        for row in read_evaluation(cell.folder).rows:
            by_image.setdefault((row.image, row.family), []).append(row.dice)
    expected = np.mean([np.mean(values) for values in by_image.values()])
    assert score.mean.value == pytest.approx(expected)
    assert score.mean.n == 2
    assert score.mean.low <= score.mean.value <= score.mean.high
    assert score.mean.value == pytest.approx(np.mean(list(score.seeds.values())))


def test_a_seed_that_fails_leaves_the_mean_of_the_others(run_tiny):
    first, second = run_tiny.outcomes[:2]
    (score,) = collect_scores([first, CellOutcome(second.cell, "gone")])
    assert list(score.seeds) == [0]
    assert score.mean.value == score.seeds[0]
    assert score.failures == ("unet_d on kvasir_polyp, seed 1: gone",)


def test_images_without_anything_to_find_are_left_out_of_a_second_mean(run_tiny, tmp_path):
    done = run_tiny.cells[0]
    rows = read_evaluation(done.folder).rows
    nothing = rows[0].image
    empty = {"true_pixels": 0, "predicted_pixels": 0, "dice": 1.0}
    changed = [dataclasses.replace(row, **empty) if row.image == nothing else row for row in rows]
    write_rows(changed, tmp_path / "rows.parquet")
    (tmp_path / "evaluation.json").write_bytes((done.folder / "evaluation.json").read_bytes())
    (score,) = collect_scores([CellOutcome(dataclasses.replace(done, folder=tmp_path))])
    kept = [row.dice for row in rows if row.image != nothing]
    assert (score.mean.n, score.present.n) == (2, 1)
    assert score.present.value == pytest.approx(np.mean(kept))
    assert score.mean.value == pytest.approx((1 + np.mean(kept)) / 2)


PAPER = Publication("paper", "Them", "mean Dice", {})


def score(label, data, value=0.5, **changes):
    mean = Interval(value, value - 0.1, value + 0.1, 9)
    return Score(**{
        "label": label, "model": label, "data": data, "mean": mean, "present": None, "seeds": {0: value},
        "published": None, "failures": (), **changes,
    })  # fmt: skip


def test_a_row_a_model_and_two_columns_a_data_set():
    table = tabulate_scores(
        [score("a", "busi", published=0.75), score("b", "busi", 0.6), score("a", "x"), score("b", "x")], PAPER
    )
    assert table.columns == ("model", "Breast Ultrasound Images (BUSI)", "paper", "x", "paper")
    assert table.rows == (
        ("a", "0.500 [0.400, 0.600]", "0.750", "0.500 [0.400, 0.600]", "–"),
        ("b", "0.600 [0.500, 0.700]", "–", "0.500 [0.400, 0.600]", "–"),
    )
    assert table.notes == ()


def test_without_a_publication_there_is_no_column_for_it():
    assert tabulate_scores([score("a", "x")]).columns == ("model", "x")


def test_several_seeds_show_how_far_they_lie_apart():
    (row,) = tabulate_scores([score("a", "x", seeds={0: 0.45, 1: 0.55})]).rows
    assert row[1] == "0.500 [0.400, 0.600]; seeds 0.450 to 0.550"


def test_what_is_missing_is_a_dash_with_a_note():
    failed = [score("a", "x", mean=None, seeds={}, failures=("s0", "s1")), score("b", "x", failures=("s2",))]
    table = tabulate_scores(failed, PAPER)
    assert table.rows == (("a", "–¹ ²", "–"), ("b", "0.500 [0.400, 0.600]³", "–"))
    assert table.notes == ("s0", "s1", "s2")


def test_the_second_table_has_means_over_images_that_show_something():
    table = tabulate_scores([score("a", "x", present=Interval(0.3, None, None, 1))], present_only=True)
    assert table.rows == (("a", "0.300 [–]"),)


@pytest.fixture
def report(run_tiny) -> BenchmarkReport:
    return build_benchmark_report(run_tiny.recipe, run_tiny.outcomes)


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


def test_captions_say_where_seeds_failed(report):
    good = dataclasses.replace(report.scores[0], seeds={0: 0.5}, failures=("seed 1: gone",))
    about = dataclasses.replace(report, scores=(good,)).explain()[0]
    assert "each with its mean over the finished of 2 seeds, the prompt families" in about


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


def test_each_table_has_the_notes_that_it_numbers(report, tmp_path):
    good, bad = report.scores
    shown = dataclasses.replace(good, data="busi", present=Interval(0.25, 0.2, 0.3, 1))
    lost = dataclasses.replace(bad, data="busi")
    text = write_text(dataclasses.replace(report, scores=(good, bad, shown, lost)), tmp_path)
    first, second = text.split("Images that show something alone:")
    assert "\n1. " in first
    assert "\n1. " in second


def test_it_can_be_json(report):
    content = json.loads(json.dumps(report.to_dict()))
    assert content["title"] == "Tiny"
    assert content["scores"][0]["mean"]["n"] == 2
    assert [cell["seed"] for cell in content["cells"]] == [0, 1]


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
    assert (bad["dice"], bad["low"], bad["seeds"], bad["seed_low"]) == ("", "", "0", "")


def test_the_sheet_has_the_ends_that_the_page_shows(report, tmp_path):
    good = dataclasses.replace(report.scores[0], present=Interval(0.25, 0.2, 0.3, 1), seeds={0: 0.5, 1: 0.75})
    write_benchmark(dataclasses.replace(report, scores=(good,)), tmp_path)
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as file:
        (line,) = csv.DictReader(file)
    ends = {"low_present": "0.2", "high_present": "0.3", "seed_low": "0.5", "seed_high": "0.75"}
    assert ends.items() <= line.items()


def test_the_object_is_the_report(report, tmp_path):
    write_benchmark(report, tmp_path)
    written = json.loads((tmp_path / "table.json").read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(report.to_dict()))
