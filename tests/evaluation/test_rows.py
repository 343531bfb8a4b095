import re
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vesalius.errors import DataError, OutputError
from vesalius.evaluation import rows
from vesalius.evaluation.rows import METRICS, SCHEMA, Row, read_rows, write_rows

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
