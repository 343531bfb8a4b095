import numpy as np
import pytest

from vesalius.errors import ConfigError, DataError
from vesalius.evaluation.rows import METRICS, TITLES, select, tabulate


def test_wordings_count_once_an_image(make_row):
    rows = [make_row("a", "p2", 0.2), make_row("a", "p2", 0.4), make_row("a", "p10", 1.0), make_row("b", "p2", 0.9)]
    table = tabulate(rows)
    assert (table.images, table.families) == (("a", "b"), ("p2", "p10"))
    np.testing.assert_allclose(table.scores, [[0.3, 1.0], [0.9, np.nan]])
    np.testing.assert_allclose(table.overall(), [0.65, 0.9])


def test_images_without_the_target_can_be_left_out(make_row):
    rows = [make_row("a", "p1", 0.5), make_row("normal", "p1", 1.0, true_pixels=0)]
    assert tabulate(rows).images == ("a", "normal")
    assert tabulate(rows, present_only=True).images == ("a",)


def test_images_without_a_distance_are_left_out_of_it(make_row):
    rows = [make_row("a", "p1", 0.5, hd95=3.0), make_row("b", "p1", 0.0, hd95=None)]
    assert tabulate(rows, "hd95").images == ("a",)


def test_no_rows_make_an_empty_table():
    table = tabulate([])
    assert table.images == ()
    assert table.cluster_count == 0


def test_images_of_a_patient_share_a_cluster(make_row):
    rows = [make_row(image, "p1", 0.5) for image in ("b_1", "a_1", "b_2")]
    table = tabulate(rows, group_regex="^.")
    assert table.clusters.tolist() == [1, 0, 1]
    assert table.cluster_count == 2
    assert tabulate(rows).cluster_count == 3


def test_pixels_and_millimetres_are_not_averaged(make_row):
    rows = [make_row("a", "p1", 0.5, hd95=1.0), make_row("b", "p1", 0.5, hd95=1.0, distance_unit="mm")]
    with pytest.raises(DataError, match="hd95 cannot be averaged: some images have distances in mm and some in px"):
        tabulate(rows, "hd95")
    assert tabulate(rows).images == ("a", "b")


def test_an_unknown_metric_is_named(make_row):
    with pytest.raises(ConfigError, match="No metric named 'dicee'. Did you mean 'dice'?"):
        tabulate([make_row("a", "p1", 0.5)], "dicee")


def test_every_metric_has_a_title():
    assert TITLES.keys() == set(METRICS)


def test_a_choice_keeps_scores_with_their_names(make_row):
    rows = [make_row(image, family, 0.5) for image in ("a_1", "b_1", "b_2") for family in ("p0", "p1")]
    table = tabulate(rows, group_regex="^.")
    table.scores[:] = [[1, 2], [3, 4], [5, 6]]
    chosen = select(table, ["b_2", "b_1"], ["p1"])
    assert chosen.scores.tolist() == [[6], [4]]
    assert chosen.clusters.tolist() == [0, 0]
