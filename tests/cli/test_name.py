import csv
import json
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file

from vesalius.errors import ImageError
from vesalius.imaging import write_rgb
from vesalius.imaging.safeguards import Notice
from vesalius.models.checkpoints import save_model
from vesalius.naming import AuditRule

RULE = AuditRule(0.1, -0.7, 3, 32, 0.05, 0.04, 0.7, 0.3)


@pytest.fixture(scope="module")
def weights(build_tiny, tmp_path_factory):
    """Weights of a model that is sure of nothing and so names everything from probability 0 on."""
    path = tmp_path_factory.mktemp("weights") / "pocket.safetensors"
    save_model(build_tiny("pocket"), path, {"naming": {"threshold": 0.0}})
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A CT, a file that was cut off, and a picture."""
    root = tmp_path_factory.mktemp("many")
    shutil.copy(get_testdata_file("CT_small.dcm", download=False), root / "a.dcm")
    (root / "b.dcm").write_bytes((root / "a.dcm").read_bytes()[:3000])
    write_rgb(root / "c.png", np.random.default_rng(0).random((40, 48, 3)))
    return root


@pytest.mark.slow
def test_every_series_of_a_folder_is_named_and_the_broken_one_told_at_the_end(run, folder, weights, tmp_path):
    code, out, err = run("name", folder, "--model", weights, "--out", tmp_path / "o" / "found.csv", "--json")
    assert code == 2
    assert "1 of 3 series could not be named" in err
    content = json.loads(out)
    assert [each["modality"]["label"] for each in content["series"]][0] == "CT"
    (failure,) = content["failures"]
    assert failure["source"].endswith("b.dcm")
    assert failure["reason"].startswith(failure["source"])
    rows = (tmp_path / "o" / "found.series.csv").read_text(encoding="utf-8").splitlines()
    found = list(csv.DictReader(rows))
    assert [row["failure"] for row in found] == ["", "", failure["reason"]]


@pytest.mark.slow
def test_many_series_make_one_table(run, folder, weights):
    code, out, _ = run("name", folder, "--model", weights)
    assert code == 2
    assert "a.dcm" in out.replace("\n", "")
    assert "modality" in out


@pytest.mark.slow
def test_a_strip_is_drawn_of_each_series(run, folder, weights, tmp_path):
    code, _, _ = run("name", folder / "a.dcm", "--model", weights, "--strip", tmp_path / "s.png", "--no-smoothing")
    assert code == 0
    with Image.open(tmp_path / "s.png") as drawn:
        assert drawn.width > 1000
    run("name", folder, "--model", weights, "--strip", tmp_path / "all.png")
    assert sorted(path.name for path in tmp_path.glob("all*")) == ["all.a.png", "all.c.png"]


@pytest.mark.slow
@pytest.mark.parametrize("option", [("--strip", "s.png"), ("--out", "s.csv"), ("--out", "s.json")])
def test_results_are_replaced_only_when_asked(run, folder, weights, tmp_path, option):
    (tmp_path / option[1]).write_text("precious")
    code, _, err = run("name", folder / "c.png", "--model", weights, *option)
    assert code == 2
    assert f"{option[1]}: there already; choose another name, or replace with --overwrite." in err
    assert (tmp_path / option[1]).read_text() == "precious"
    code, _, _ = run("name", folder / "c.png", "--model", weights, *option, "--overwrite")
    assert code == 0
    assert (tmp_path / option[1]).read_bytes() != b"precious"


def test_a_table_of_series_is_not_replaced_either(run, folder, weights, tmp_path):
    (tmp_path / "s.series.csv").write_text("precious")
    code, _, err = run("name", folder / "c.png", "--model", weights, "--out", "s.csv")
    assert code == 2
    assert "s.series.csv: there already" in err


def test_a_result_never_replaces_what_is_read(run, weights, tmp_path):
    write_rgb(tmp_path / "c.png", np.zeros((8, 8, 3)))
    code, _, err = run("name", "c.png", "--model", weights, "--strip", "c.png", "--overwrite")
    assert code == 2
    assert "is an image that is read" in err


@pytest.mark.slow
def test_strips_of_equal_names_do_not_replace_each_other(run, weights, tmp_path):
    for place in ("p/1.2.1.png", "p/1.2.2.png", "q/1.2.2.png"):
        write_rgb(tmp_path / "in" / place, np.zeros((8, 8, 3)))
    code, _, err = run("name", "in", "--model", weights, "--strip", "s.png")
    assert code == 0
    assert sorted(path.name for path in tmp_path.glob("s.*")) == ["s.1.2.1.png", "s.p-1.2.2.png", "s.q-1.2.2.png"]


def fail_with(monkeypatch, *errors):
    """Reading fails with each of these in turn, and then works."""
    from vesalius.imaging.search import FoundSeries

    read, left = FoundSeries.read, list(errors)
    monkeypatch.setattr(FoundSeries, "read", lambda self: (_ for _ in ()).throw(left.pop(0)) if left else read(self))


def write_pictures(folder, *names):
    for name in names:
        write_rgb(folder / name, np.random.default_rng(0).random((40, 48, 3)))


def test_whatever_is_wrong_with_one_image_the_others_are_named(run, weights, tmp_path, monkeypatch):
    write_pictures(tmp_path / "in", "a.png", "b.png", "c.png")
    fail_with(monkeypatch, IndexError("list index out of range"), ImageError("in/b.png: is damaged."))
    code, out, err = run("name", "in", "--model", weights, "--json", "--out", "o.json")
    assert code == 2
    assert "2 of 3 series could not be named" in err
    assert "in/a.png: unexpected IndexError (list index out of range): a fault of Vesalius" in err
    content = json.loads(out)
    assert [each["source"] for each in content["failures"]] == ["in/a.png", "in/b.png"]
    assert [each["source"] for each in content["series"]] == ["in/c.png"]
    assert json.loads((tmp_path / "o.json").read_text())["failures"] == content["failures"]


def test_a_model_that_cannot_name_is_said_once(run, build_tiny, tmp_path):
    write_pictures(tmp_path / "in", "a.png", "b.png")
    save_model(build_tiny("unet_d"), tmp_path / "outlines.safetensors")
    code, _, err = run("name", "in", "--model", "outlines.safetensors")
    assert code == 2
    assert err.count("cannot name") == 1


@pytest.mark.slow
def test_a_strip_that_cannot_be_written_loses_no_name(run, weights, tmp_path):
    write_pictures(tmp_path / "in", "a.png", "b.png")
    (tmp_path / "full").write_text("no folder")
    code, out, err = run("name", "in", "--model", weights, "--strip", "full/s.png", "--json")
    assert code == 2
    content = json.loads(out)
    assert len(content["series"]) == 2
    assert [each["source"] for each in content["failures"]] == ["full/s.a.png", "full/s.b.png"]
    assert "full/s.a.png: cannot be written" in err


@pytest.mark.slow
def test_what_is_said_of_many_stays_short(run, weights, tmp_path):
    write_pictures(tmp_path / "in", *(f"{'abcdefghi'[place]}.png" for place in range(9)))
    code, _, err = run("name", "in", "--model", weights, "--strip", "s.png")
    assert code == 0
    assert "Written: s.a.png, s.b.png, s.c.png, s.d.png, s.e.png and 4 more" in err


@pytest.mark.slow
def test_what_the_reader_had_to_assume_is_told(run, weights, tmp_path, monkeypatch):
    from vesalius.imaging.search import FoundSeries

    write_pictures(tmp_path, "a.png")
    read, notice = FoundSeries.read, Notice("slices left out", "another echo", count=2, total=9)
    monkeypatch.setattr(FoundSeries, "read", lambda self: [replace(each, notices=(notice,)) for each in read(self)])
    _, out, told = run("name", "a.png", "--model", weights, "--json")
    assert [each["message"] for each in json.loads(out)["series"][0]["notices"]] == [str(notice)]
    _, _, err = run("name", "a.png", "--model", weights)
    for each in (told, err):
        assert "a.png: 2 of 9 slices left out: another echo." in each
    (tmp_path / "x.nrrd").write_bytes(b"NRRD0004")
    _, out, err = run("name", tmp_path, "--model", weights, "--json")
    (passed,) = json.loads(out)["notices"]
    assert passed["message"].startswith("1 of 2 files passed over: they are not taken for images (1 .nrrd).")
    assert f"{tmp_path}: {passed['message']}" in err.splitlines()


@pytest.mark.slow
def test_the_audit_lays_header_and_pixels_side_by_side(run, folder, weights, tmp_path):
    dataset = dcmread(folder / "a.dcm")
    dataset.BodyPartExamined = "HEAD"
    dataset.save_as(tmp_path / "head.dcm")
    code, out, _ = run("name", tmp_path / "head.dcm", "--model", weights, "--audit", "--json")
    assert code == 0
    (line,) = json.loads(out)["audit"]
    assert (line["body_part"], line["verdict"]) == ("HEAD", "not judged")
    code, out, _ = run("name", tmp_path / "head.dcm", "--model", weights, "--audit")
    assert code == 0
    assert "verdict" in out
    assert "modality" in out


@pytest.mark.slow
def test_the_audit_says_how_often_it_is_wrong(run, build_tiny, folder, tmp_path):
    notes = {"naming": {"threshold": 0.0, "audit": asdict(RULE)}}
    save_model(build_tiny("pocket"), tmp_path / "judge.safetensors", notes)
    code, out, err = run("name", folder / "a.dcm", "--model", tmp_path / "judge.safetensors", "--audit", "--json")
    assert code == 0
    assert json.loads(out)["audit_rule"]["wrongly_contradicts"] == 0.04
    code, _, err = run("name", folder / "a.dcm", "--model", tmp_path / "judge.safetensors", "--audit")
    assert code == 0
    assert "Of 32 patients the model never saw, 4% of right headers were contradicted" in err


@pytest.mark.slow
def test_of_a_folder_all_contradictions_stand_in_one_table_with_their_error_rate(
    run, build_tiny, folder, tmp_path, monkeypatch
):
    """By thresholds that contradict everything, since the model is untrained."""
    monkeypatch.setenv("COLUMNS", "250")
    rule = replace(RULE, agrees=1.0, contradicts=0.0, least_slices=1)
    save_model(build_tiny("pocket"), tmp_path / "judge.safetensors", {"naming": {"audit": asdict(rule)}})
    dataset = dcmread(folder / "a.dcm")
    for number, part in enumerate(("HEAD", "FOOT", "ARM", "CHEST", "PELVIS", "ABDOMEN", "")):
        dataset.BodyPartExamined = part
        dataset.SeriesInstanceUID = f"1.2.{number}"
        (tmp_path / "in").mkdir(exist_ok=True)
        dataset.save_as(tmp_path / "in" / f"{part or 'none'}.dcm")
    code, out, _ = run("name", "in", "--model", "judge.safetensors", "--audit", "--json", "-o", "o.csv")
    assert code == 0
    lines = json.loads(out)["audit"]
    told = {line["verdict"]: line["error_rate"] for line in lines}
    assert told["contradicts"] == "wrong in about 1 of 8 such findings (32 held-out people, half of the headers wrong)"
    rows = list(csv.DictReader((tmp_path / "o.series.csv").read_text().splitlines()))
    assert [row["audit_error_rate"] for row in rows] == [line["error_rate"] for line in lines]
    code, out, err = run("name", "in", "--model", "judge.safetensors", "--audit")
    assert code == 0
    assert "Where BodyPartExamined contradicts the pixels" in out
    assert out.count("wrong in about 1 of 8") == sum(line["verdict"] == "contradicts" for line in lines)
    assert "missing: 1" in err
    assert "4.0% of right headers are contradicted (32 held-out people): if all 6 judged headers were right" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--out", "found.xlsx"), "--out found.xlsx: expected a name that ends in"),
        (("--strip", "strip.svg"), "--strip strip.svg: expected a name that ends in"),
        (("--model", "pubmedclip"), "vesalius weights fetch pubmedclip-vit32"),
        (("--model", "clip_vit_b32"), "vesalius weights list"),
    ],
)
def test_wrong_options_are_told_in_one_line(run, folder, monkeypatch, tmp_path, arguments, message):
    monkeypatch.setenv("VESALIUS_WEIGHTS", str(tmp_path / "none"))
    code, out, err = run("name", folder / "a.dcm", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.slow
def test_numbered_pictures_are_one_stack_with_one_line(run, weights, tmp_path):
    write_pictures(tmp_path / "in", *(f"slice-{place:03}.png" for place in range(12)))
    code, out, err = run("name", "in", "--model", weights, "--strip", "s.png", "--json")
    assert code == 0
    (series,) = json.loads(out)["series"]
    assert len(series["slices"]) == 12
    assert "taken for the slices of one stack" in series["notices"][0]["message"]
    assert [path.name for path in tmp_path.glob("s*.png")] == ["s.png"]
    _, _, err = run("name", "in", "--model", weights)
    assert err.count("taken for the slices of one stack") == 1


@pytest.mark.slow
def test_numbered_pictures_are_named_one_by_one_when_asked(run, weights, tmp_path):
    write_pictures(tmp_path / "in", *(f"slice-{place}.png" for place in range(7)))
    code, out, err = run("name", "in", "--model", weights, "--each", "--out", "o.csv", "--strip", "s.png")
    assert code == 0
    assert "slice-6.png" in out
    assert "Written: o.csv, o.series.csv, o.landmarks.csv, s.slice-0.png, s.slice-1.png and 5 more" in err


@pytest.fixture
def archive(tmp_path):
    """Two studies: two series of one StudyInstanceUID, one of another."""
    dataset = dcmread(get_testdata_file("CT_small.dcm", download=False))
    for number, study in enumerate(("1.2.3", "1.2.3", "1.2.4")):
        (tmp_path / "in" / f"s{number}").mkdir(parents=True)
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, f"1.9.{number}"
        dataset.save_as(tmp_path / "in" / f"s{number}" / "1.dcm")
    return tmp_path / "in"


@pytest.mark.slow
def test_a_study_is_told_in_one_line(run, weights, archive, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    code, out, _ = run("name", archive, "--model", weights)
    assert code == 0
    assert "2 series (axial 1 slice, axial 1)" in " ".join(out.split())
    _, out, _ = run("name", archive, "--model", weights, "--json")
    assert [(each["study"], len(each["series"])) for each in json.loads(out)["studies"]] == [("1.2.3", 2), ("1.2.4", 1)]


@pytest.mark.slow
def test_the_same_command_again_does_what_is_left(run, weights, archive, tmp_path):
    command = ("name", archive, "--model", weights, "-o", "o.csv")
    code, _, err = run(*command)
    assert code == 0
    assert "skipped" not in err
    tables = {path.name: path.read_bytes() for path in tmp_path.glob("o.*.csv")} | {
        "o.csv": (tmp_path / "o.csv").read_bytes()
    }
    code, _, err = run(*command)
    assert code == 0
    assert "Series: 0 named, 3 named before and skipped." in err
    assert {name: (tmp_path / name).read_bytes() for name in tables} == tables
    shutil.copytree(archive / "s0", archive / "s3")
    dataset = dcmread(archive / "s3" / "1.dcm")
    dataset.SeriesInstanceUID = "1.9.3"
    dataset.save_as(archive / "s3" / "1.dcm")
    _, _, err = run(*command)
    assert "Series: 1 named, 3 named before and skipped." in err
    assert len((tmp_path / "o.series.csv").read_text().splitlines()) == 5


@pytest.mark.slow
def test_a_record_of_other_settings_or_another_folder_is_not_replaced_unasked(run, weights, archive, tmp_path):
    run("name", archive, "--model", weights, "-o", "o.csv")
    before = (tmp_path / "o.csv").read_bytes()
    code, _, err = run("name", archive, "--model", weights, "-o", "o.csv", "--no-smoothing")
    assert code == 2
    assert "o.record: holds names that were made otherwise: smoothing was true, is false." in err
    code, _, err = run("name", archive / "s0", "--model", weights, "-o", "o.csv")
    assert code == 2
    assert "path was" in err
    assert (tmp_path / "o.csv").read_bytes() == before
    code, _, _ = run("name", archive, "--model", weights, "-o", "o.csv", "--no-smoothing", "--overwrite")
    assert code == 0


@pytest.mark.parametrize("jobs", ["0", "-1"])
def test_a_number_of_processes_below_one_is_refused(run, weights, archive, jobs):
    code, _, err = run("name", archive, "--model", weights, "--jobs", jobs)
    assert code == 2
    assert "--jobs: expected a number of processes, 1 or more" in err
