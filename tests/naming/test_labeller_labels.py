"""Names, codes and tables."""

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vesalius.errors import ConfigError, MissingPackageError
from vesalius.naming import AuditRule, NamingResult, audit_series, write_table
from vesalius.naming.labels import SeriesName, code_series, find_ranges
from vesalius.naming.studies import facts_of, group_studies
from vesalius.naming.tables import AUDIT_COLUMNS, LANDMARK_COLUMNS, SERIES_COLUMNS, SLICE_COLUMNS, check_names_table
from vesalius.prompts.anatomy import ORGANS, STATIONS

FAILURE = {"source": "in/b.dcm", "reason": "in/b.dcm: is damaged."}


def test_neighbouring_slices_of_a_station_form_a_range(labeller, make_volume):
    slices = labeller.label(make_volume("head", "chest", "head"), smooth=False).slices
    ranges = find_ranges(slices, [True, False, True], "head")
    assert [(each.first, each.last, each.first_mm) for each in ranges] == [(0, 0, 0.0), (2, 2, 40.0)]
    assert ranges[0].probability > 0.9


def test_all_that_is_named_is_ready_for_json(labeller, make_volume):
    header = {"BodyPartExamined": "CHEST", "Manufacturer": "X"}
    named = labeller.label(make_volume("abdomen", "chest", header=header))
    content = json.loads(json.dumps(named.to_dict()))
    assert [each["label"] for each in content["stations"]] == ["abdomen", "chest"]
    assert content["codes"]["body_part"] == "CHESTABDOMEN"
    assert content["header"] == {"BodyPartExamined": "CHEST"}
    assert content["slices"][0]["organs"] == ["liver"]


def test_a_series_is_told_in_a_line_and_shown_as_a_table(labeller, make_volume):
    named = labeller.label(make_volume("abdomen", "chest"))
    assert repr(named).startswith(f"SeriesName({named.source.name!r}: {named.modality.label}, axial, ")
    assert "2 slices; abdomen, chest" in repr(named)
    assert repr(named.slices[0]).startswith("SliceName(0, ")
    assert max(len(repr(named)), len(repr(named.slices[0]))) < 200
    table = replace(named, source=Path("<script>.nii"))._repr_html_()
    assert "<td>station</td><td>chest</td>" in table
    assert "&lt;script&gt;.nii" in table
    assert "<script>" not in table


def test_arrays_and_pictures_in_memory_are_named(labeller):
    levels = np.full((8, 8), 64, np.uint8)
    levels[0, 0] += 2
    named = [labeller.label(image) for image in (levels, Image.fromarray(levels), np.dstack([levels] * 3))]
    assert {each.modality.label for each in named} == {"CT"}
    assert repr(labeller).startswith("AnatomyLabeller('")


def test_codes_say_what_a_series_shows():
    codes = code_series({"abdomen", "chest"}, {"liver"}, "axial")
    assert codes.body_part == "CHESTABDOMEN"
    assert [each.value for each in codes.ihe_regions] == ["67734004", "63337009"]
    assert codes.sct["liver"][0].value == "10200004"
    assert codes.sct["axial"][0].value == "24422004"


def test_stations_without_a_common_term_have_none():
    codes = code_series({"head", "abdomen"}, (), None)
    assert (codes.body_part, codes.region) == (None, None)
    assert code_series((), (), None).ihe_regions == ()


@pytest.fixture
def series(labeller, make_volume):
    header = {"SeriesInstanceUID": "1.2.3", "BodyPartExamined": "CHEST"}
    placed = labeller.label(make_volume("abdomen", "chest", header=header))
    return [placed, labeller.label(make_volume("head", affine=None, plane=None))]


def test_csv_has_a_row_a_slice_and_a_row_a_series(series, tmp_path):
    studies = group_studies(map(facts_of, series))
    paths = write_table(tmp_path / "found.csv", NamingResult(series, studies=studies, failures=[FAILURE]))
    slices, whole, marks = (list(csv.DictReader(path.read_text(encoding="utf-8").splitlines())) for path in paths)
    assert [path.name for path in paths] == ["found.csv", "found.series.csv", "found.landmarks.csv"]
    assert [(row["slice"], row["stations"], row["position_mm"]) for row in slices] == [
        ("0", "abdomen", "0.0"), ("1", "chest", "20.0"), ("0", "head", ""),
    ]  # fmt: skip
    assert float(slices[1]["p(chest)"]) > 0.9
    assert whole[0]["body_part"] == "CHESTABDOMEN"
    assert whole[0]["header_body_part"] == "CHEST"
    assert whole[0]["ihe_regions"] == "67734004;63337009"
    assert whole[0]["study_summary"] == whole[1]["study_summary"] == studies[0].summary
    assert (whole[2]["source"], whole[2]["failure"], whole[2]["slices"]) == ("in/b.dcm", "in/b.dcm: is damaged.", "")
    assert [(row["kind"], row["label"], row["low_edge"], row["first_slice"]) for row in marks[:2]] == [
        ("station", "abdomen", "series ends", "0"), ("station", "chest", "crosses", "1"),
    ]  # fmt: skip
    assert float(marks[1]["low_mm"]) == pytest.approx(10, abs=0.1)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_what_headers_say_is_no_formula_in_a_spreadsheet(series, tmp_path, start):
    text = f'{start}HYPERLINK("http://x","KNEE")'
    told = NamingResult([replace(series[0], header={"BodyPartExamined": text})])
    with write_table(tmp_path / "found.csv", told)[1].open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["header_body_part"] == f"'{text}"
    (row,) = pq.read_table(write_table(tmp_path / "found.parquet", told)[1]).to_pylist()
    assert row["header_body_part"] == text


def test_the_audit_stands_in_the_table_with_its_error_rate(series, tmp_path):
    rule = AuditRule(0.2, -0.5, 2, 32, 0.05, 0.04, 0.7, 0.36)
    audit = [audit_series(replace(each, header={"BodyPartExamined": "FOOT"}), rule) for each in series]
    path = write_table(tmp_path / "found.csv", NamingResult(series, audit=audit, rule=rule))[1]
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    assert [row["audit_verdict"] for row in rows] == ["contradicts", "not judged"]
    assert (rows[0]["audit_wrong_share"], rows[1]["audit_error_rate"]) == ("0.1", "")
    assert rows[0]["audit_error_rate"].startswith("wrong in about 1 of 10 such findings (32 held-out people")


def test_names_come_back_from_json(series):
    for each in series:
        again = SeriesName.from_dict(json.loads(json.dumps(each.to_dict())))
        assert again.to_dict() == each.to_dict()
        assert (again.stations, again.landmarks, again.codes) == (each.stations, each.landmarks, each.codes)


def test_parquet_keeps_types_even_where_everything_is_missing(series, tmp_path):
    tables = [pq.read_table(path) for path in write_table(tmp_path / "found.parquet", NamingResult(series[1:]))]
    assert str(tables[0].schema.field("position_mm").type) == "double"
    assert str(tables[0].schema.field("slice").type) == "int64"
    assert str(tables[0].schema.field("series_uid").type) == "string"
    assert str(tables[1].schema.field("obliquity").type) == "double"
    assert (str(tables[2].schema.field("low_within_mm").type), tables[2].num_rows) == ("double", 0)
    assert tables[0].column("stations").to_pylist() == ["head"]


def test_json_holds_everything(series, tmp_path):
    assert write_table(tmp_path / "found.json", NamingResult(series)) == [tmp_path / "found.json"]
    found = json.loads((tmp_path / "found.json").read_text())["series"]
    assert found[0]["stations"][1]["label"] == "chest"


def test_another_suffix_is_refused(series, tmp_path):
    with pytest.raises(ConfigError, match=r"ends in \.csv, \.json, \.parquet"):
        write_table(tmp_path / "found.xlsx", NamingResult(series))


def test_parquet_without_pyarrow_is_refused_before_anything_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'vesalius\[archive\]'"):
        check_names_table(tmp_path / "found.parquet")
    check_names_table(tmp_path / "found.csv")


def test_every_column_is_described():
    page = (Path(__file__).parents[2] / "docs" / "naming.md").read_text(encoding="utf-8")
    columns = {*SERIES_COLUMNS, *AUDIT_COLUMNS, *LANDMARK_COLUMNS, *SLICE_COLUMNS}
    parts = ("modality_", "protocol_", "plane_", "p(")
    assert [name for name in sorted(columns) if f"`{name}`" not in page and not name.startswith(parts)] == []
    assert all(f"`p({label})`" in page for label in (STATIONS[0], ORGANS[-1]))
