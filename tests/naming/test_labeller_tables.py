import csv
import json

import pyarrow.parquet as pq
import pytest

from vesalius.errors import ConfigError
from vesalius.naming.labels import write_table


@pytest.fixture
def series(labeller, make_volume):
    header = {"SeriesInstanceUID": "1.2.3", "BodyPartExamined": "CHEST"}
    placed = labeller.label(make_volume("abdomen", "chest", header=header))
    return [placed, labeller.label(make_volume("head", affine=None, plane=None))]


def test_csv_has_a_row_a_slice_and_a_row_a_series(series, tmp_path):
    paths = write_table(tmp_path / "found.csv", series, {})
    slices, whole = (list(csv.DictReader(path.read_text(encoding="utf-8").splitlines())) for path in paths)
    assert [path.name for path in paths] == ["found.csv", "found.series.csv"]
    assert [(row["slice"], row["stations"], row["position_mm"]) for row in slices] == [
        ("0", "abdomen", "0.0"), ("1", "chest", "20.0"), ("0", "head", ""),
    ]  # fmt: skip
    assert float(slices[1]["p(chest)"]) > 0.9
    assert whole[0]["body_part"] == "CHESTABDOMEN"
    assert whole[0]["header_body_part"] == "CHEST"
    assert whole[0]["ihe_regions"] == "67734004;63337009"


def test_parquet_keeps_types_even_where_everything_is_missing(series, tmp_path):
    tables = [pq.read_table(path) for path in write_table(tmp_path / "found.parquet", series[1:], {})]
    assert str(tables[0].schema.field("position_mm").type) == "double"
    assert str(tables[0].schema.field("slice").type) == "int64"
    assert str(tables[0].schema.field("series_uid").type) == "string"
    assert str(tables[1].schema.field("obliquity").type) == "double"
    assert tables[0].column("stations").to_pylist() == ["head"]


def test_json_holds_everything(series, tmp_path):
    content = {"series": [each.to_dict() for each in series]}
    assert write_table(tmp_path / "found.json", series, content) == [tmp_path / "found.json"]
    found = json.loads((tmp_path / "found.json").read_text())["series"]
    assert found[0]["stations"][1]["label"] == "chest"


def test_another_suffix_is_refused(series, tmp_path):
    with pytest.raises(ConfigError, match=r"ends in \.csv, \.json, \.parquet"):
        write_table(tmp_path / "found.xlsx", series, {})
