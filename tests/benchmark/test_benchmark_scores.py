import dataclasses

import numpy as np
import pytest

from vesalius.benchmark.report import collect_scores
from vesalius.benchmark.running import CellOutcome
from vesalius.evaluation.rows import write_rows
from vesalius.evaluation.stored import read_evaluation


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
