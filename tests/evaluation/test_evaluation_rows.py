import re
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vesalius.errors import ConfigError, DataError, OutputError
from vesalius.evaluation import rows
from vesalius.evaluation.rows import (
    METRICS,
    SCHEMA,
    TITLES,
    Row,
    name_clusters,
    read_rows,
    select,
    tabulate,
    write_rows,
)

ROW = Row("a.png", "p6", 1, "one “small” polyp, 3 µm", 0.5, 1 / 3, 0.25, 1.0, 2.5, 0.75, "px", 4, 16, 0.9)
FALSE_ALARM = replace(ROW, image="b.png", dice=0.0, hd95=None, true_pixels=0, existence=None)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "evaluation" / "rows.parquet"


def test_rows_come_back_as_they_were(path):
    write_rows([ROW, FALSE_ALARM], path)
    assert read_rows(path) == [ROW, FALSE_ALARM]
    assert [each.name for each in path.parent.iterdir()] == ["rows.parquet"]


def test_no_rows_come_back_as_none(path):
    write_rows([], path)
    assert read_rows(path) == []


def test_every_metric_is_a_column(path):
    assert set(METRICS) <= set(SCHEMA.names)
    assert [field.name for field in SCHEMA if field.nullable] == ["hd95", "existence"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file/rows\.parquet: cannot be written"):
        write_rows([ROW], tmp_path / "file" / "rows.parquet")


def test_a_missing_file_is_named_with_the_command_that_writes_it(path):
    with pytest.raises(DataError, match=r"rows\.parquet: no such file; `vesalius evaluate"):
        read_rows(path)


@pytest.mark.parametrize("keep", [0, 3, 100, -9])
def test_a_damaged_file_is_named(path, keep):
    write_rows([ROW, FALSE_ALARM], path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"rows\.parquet: not a Parquet file, or a damaged one"):
        read_rows(path)


OTHERS = {
    "other columns": pa.table({"image": ["a"], "score": [1.0]}),
    "another type": pa.Table.from_pylist([asdict(ROW)]).set_column(4, "dice", pa.array(["good"])),
    "a hole": pa.Table.from_pylist([asdict(replace(ROW, hd95=2.0)) | {"dice": None}]),
}


@pytest.mark.parametrize("case", OTHERS)
def test_a_table_of_something_else_is_refused(tmp_path, case):
    pq.write_table(OTHERS[case], tmp_path / "other.parquet")
    with pytest.raises(
        DataError, match=r"other\.parquet: not the rows of an evaluation; expected columns image string"
    ):
        read_rows(tmp_path / "other.parquet")


def test_a_file_of_too_many_rows_is_refused(path, monkeypatch):
    write_rows([ROW] * 3, path)
    monkeypatch.setattr(rows, "LARGEST", 2)
    with pytest.raises(DataError, match=re.escape("rows.parquet: expected 2 rows at most, got 3.")):
        read_rows(path)


def test_without_an_expression_every_image_stands_for_itself():
    assert name_clusters(["a.png", "b.png"], None) == ["a.png", "b.png"]


def test_the_first_bracket_names_the_cluster_else_the_whole_match():
    images = ["patient1_view2.png", "patient1_view3.png", "patient2_view1.png"]
    assert name_clusters(images, r"patient(\d+)_view(\d)") == ["1", "1", "2"]
    assert name_clusters(images, r"patient\d+") == ["patient1", "patient1", "patient2"]


@pytest.mark.parametrize(
    ("regex", "message"),
    [("(", r"--group-regex: '\(' is no regular expression"), (r"^a", r"1 of 2 are not matched, the first is 'b\.png'")],
)
def test_an_expression_that_does_not_fit_is_refused(regex, message):
    with pytest.raises(ConfigError, match=message):
        name_clusters(["a.png", "b.png"], regex)


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
