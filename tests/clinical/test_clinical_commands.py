"""`vesalius segment --out result.dcm` and `vesalius name --sr report.dcm`, as a user calls them."""

import json
import sys

import numpy as np
import pydicom
import pytest
from highdicom.seg import segread
from highdicom.sr import srread
from pydicom.data import get_testdata_file

from vesalius.errors import OutputError
from vesalius.imaging import write_rgb


@pytest.fixture
def scan(tmp_path):
    """A slice of a CT, which pydicom brings."""
    dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False))
    path = tmp_path / "scan.dcm"
    dataset.save_as(path)
    return path


@pytest.mark.slow
def test_segment_writes_a_segmentation_a_report_and_an_overlay(run, scan, tmp_path):
    arguments = ["segment", scan, "-p", "liver", "-p", "fracture", "--out", "out/result.dcm", "--sr", "out/report.dcm"]
    code, told, said = run(*arguments, "--sc", "out/overlay.dcm", "--json")
    assert (code, said) == (0, "")
    content = json.loads(told)
    liver, fracture = content["results"]
    assert (liver["segment"], liver["code"]["scheme"], liver["code"]["value"]) == (1, "SCT", "10200004")
    assert fracture["known"] is False
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == ["overlay.dcm", "report.dcm", "result.dcm"]
    assert content["files"]["segmentation"] == "out/result.dcm"
    source, result = pydicom.dcmread(scan), segread(tmp_path / "out/result.dcm")
    assert result.PatientID == source.PatientID
    assert result.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    code, told, said = run(*arguments)
    assert code == 2
    assert "there already" in said
    code, told, said = run(*arguments, "--overwrite")
    assert code == 0
    assert "not learnt" in told
    assert "Written: out/result.dcm, out/report.dcm" in said


@pytest.mark.slow
@pytest.mark.filterwarnings("default::vesalius.errors.ImageNotice")
def test_what_a_segmentation_cannot_say_is_listed(run, scan):
    dataset = pydicom.dcmread(scan)
    del dataset.FrameOfReferenceUID
    dataset.save_as(scan)
    code, told, said = run("segment", scan, "-p", "liver", "--out", "result.dcm", "--json")
    (notice,) = json.loads(told)["notices"]
    assert code == 0
    assert "no place in the patient is written" in notice["message"]
    assert "no place in the patient is written" in said


@pytest.mark.slow
def test_name_writes_a_report(run, scan, tmp_path):
    code, told, _ = run("name", scan, "--sr", "report.dcm")
    assert code == 0
    assert "modality" in told
    groups = srread(tmp_path / "report.dcm").content.get_image_measurement_groups()
    assert len({group.tracking_identifier for group in groups}) >= 26  # every station and organ, found or not
    assert run("name", scan, "--sr", "report.dcm")[0] == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["segment", "picture.png", "polyp", "--out", "result.dcm"], "picture.png: is no DICOM image"),
        (["segment", "scan.dcm", "fracture", "--out", "result.dcm"], "add --sr report.dcm"),
        (["segment", "scan.dcm", "liver", "--sr", "report.dcm"], "go with --out result.dcm"),
        (["segment", "scan.dcm", "liver", "--fractional"], "go with --out result.dcm"),
        (["segment", "scan.dcm", "liver", "--out", "liver.png"], "liver.png: expected a folder"),
        (["segment", "scan.dcm", "-p", "liver", "--jobs", "2", "--out", "result.dcm"], "holds one image or series"),
        (["segment", "scan.dcm", "picture.png", "-p", "liver", "--out", "result.dcm"], "holds one image or series"),
        (["segment", "scan.dcm", "liver", "--out", "scan.dcm", "--overwrite"], "a result would replace it"),
        (["segment", "scan.dcm", "liver", "--out", "a.dcm", "--sr", "a.dcm"], "stands for several results"),
        (["segment", "scan.dcm", "liver", "--out", "a.dcm", "--sr", "a.txt"], "ends in .dcm"),
        (["name", "picture.png", "--sr", "report.dcm"], "picture.png: is no DICOM image"),
        (["name", ".", "--sr", "report.dcm"], "there are 2; choose one"),
        (["name", "scan.dcm", "--sr", "scan.dcm", "--overwrite"], "a result would replace it"),
        (["name", "scan.dcm", "--sr", "report.txt"], "ends in .dcm"),
    ],
)
def test_what_cannot_be_written_is_refused_with_the_reason(run, scan, tmp_path, arguments, told):
    write_rgb(tmp_path / "picture.png", np.random.default_rng(0).random((40, 40, 3)))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    code, _, said = run(*arguments)
    assert code == 2
    assert told in " ".join(said.split())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("arguments", [["segment", "liver", "--out", "r.dcm"], ["name", "--sr", "r.dcm"]])
def test_without_highdicom_the_remedy_is_named(run, scan, monkeypatch, arguments):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    code, _, said = run(arguments[0], scan, *arguments[1:])
    assert code == 2
    assert "pip install 'vesalius[clinical]'" in said


@pytest.mark.slow
def test_results_can_be_made_from_deidentified_copies(run, scan, tmp_path):
    code, told, said = run("deidentify", scan, "--out", "copies", "--json")
    assert (code, said) == (0, "")
    content = json.loads(told)
    assert (content["files"], content["left_out"]) == (1, [])
    assert {"tag": "(0010,0010)", "attribute": "PatientName", "change": "emptied", "count": 1} in content["changes"]
    code, _, said = run("segment", scan, "liver", "--out", "seg.dcm", "--sr", "sr.dcm", "--deidentify", "own")
    assert (code, "De-identified copies (1) are in own" in said) == (0, True)
    assert run("name", scan, "--sr", "names.dcm", "--deidentify", "named")[0] == 0
    source = pydicom.dcmread(scan)
    for result, copies in (("seg.dcm", "own"), ("sr.dcm", "own"), ("names.dcm", "named")):
        (copy,) = (pydicom.dcmread(path) for path in (tmp_path / copies).rglob("*.dcm"))
        content = (tmp_path / result).read_bytes()
        assert copy.SOPInstanceUID.encode() in content
        assert not any(str(source[each].value).encode() in content for each in ("PatientID", "StudyInstanceUID"))


@pytest.mark.slow
def test_copies_are_removed_if_the_command_fails(run, scan, tmp_path, monkeypatch):
    before = sorted(tmp_path.iterdir())
    arguments = ["segment", scan, "--out", "seg.dcm", "--deidentify", "copies", "-p"]
    code, _, said = run(*arguments, "unicorn")
    assert (code, "copies" in said, sorted(tmp_path.iterdir())) == (2, False, before)
    assert run(*arguments, "liver")[0] == 0

    def refuse(path, *_, **__):
        raise OutputError(f"{path}: cannot be written")

    monkeypatch.setattr("vesalius.clinical.work.report_names", refuse)
    code, _, said = run("name", scan, "--sr", "names.dcm", "--deidentify", "named")
    assert (code, "names.dcm: cannot be written" in said, (tmp_path / "named").exists()) == (2, True, False)


@pytest.mark.slow
def test_files_that_cannot_be_deidentified_are_listed_and_the_others_written(run, scan, tmp_path):
    run("segment", scan, "liver", "--out", "study/result.dcm")
    scan.rename(tmp_path / "study" / "scan.dcm")
    code, told, said = run("deidentify", "study", "--out", "copies")
    assert code == 2
    assert "PatientName" in told
    assert "1 files were left out: study/result.dcm" in said
    assert len(list((tmp_path / "copies").rglob("*.dcm"))) == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["segment", "scan.dcm", "liver", "--deidentify", "copies"], "go with --out result.dcm"),
        (["segment", "scan.dcm", "liver", "--out", "r.dcm", "--deidentify", "."], "there already"),
        (["segment", "picture.png", "polyp", "--out", "r.dcm", "--deidentify", "copies"], "is no DICOM image"),
        (["name", "scan.dcm", "--deidentify", "copies"], "goes with --sr report.dcm"),
        (["name", "picture.png", "--sr", "r.dcm", "--deidentify", "copies"], "is no DICOM image"),
        (["deidentify", "scan.dcm", "--out", "."], "there already"),
        (["deidentify", "none", "--out", "copies"], "no such file"),
        (["deidentify", "picture.png", "--out", "copies"], "is not DICOM"),
        (["deidentify", "empty", "--out", "copies"], "holds no DICOM image"),
    ],
)
def test_deidentification_that_cannot_be_is_refused_with_the_reason(run, scan, tmp_path, arguments, told):
    write_rgb(tmp_path / "picture.png", np.random.default_rng(0).random((40, 40, 3)))
    (tmp_path / "empty").mkdir()
    before = sorted(tmp_path.iterdir())
    code, _, said = run(*arguments)
    assert code == 2
    assert told in " ".join(said.split())
    assert sorted(tmp_path.iterdir()) == before
