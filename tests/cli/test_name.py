import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file

from vesalius.imaging import write_rgb
from vesalius.models.checkpoints import save_model


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


def test_every_series_of_a_folder_is_named_and_the_broken_one_told_at_the_end(run, folder, weights, tmp_path):
    code, out, err = run("name", folder, "--model", weights, "--out", tmp_path / "o" / "found.csv", "--json")
    assert code == 2
    assert "1 of 3 series could not be named" in err
    content = json.loads(out)
    assert [each["modality"]["label"] for each in content["series"]][0] == "CT"
    assert content["failed"][0]["source"].endswith("b.dcm")
    rows = (tmp_path / "o" / "found.series.csv").read_text(encoding="utf-8").splitlines()
    assert len(list(csv.DictReader(rows))) == 2


def test_many_series_make_one_table(run, folder, weights):
    code, out, _ = run("name", folder, "--model", weights)
    assert code == 2
    assert "a.dcm" in out.replace("\n", "")
    assert "modality" in out


def test_a_strip_is_drawn_of_each_series(run, folder, weights, tmp_path):
    code, _, _ = run("name", folder / "a.dcm", "--model", weights, "--strip", tmp_path / "s.png", "--no-smoothing")
    assert code == 0
    with Image.open(tmp_path / "s.png") as drawn:
        assert drawn.width > 1000
    run("name", folder, "--model", weights, "--strip", tmp_path / "all.png")
    assert sorted(path.name for path in tmp_path.glob("all*")) == ["all-1.png", "all-2.png"]


def test_the_audit_lays_header_and_pixels_side_by_side(run, folder, weights, tmp_path):
    dataset = dcmread(folder / "a.dcm")
    dataset.BodyPartExamined = "HEAD"
    dataset.save_as(tmp_path / "head.dcm")
    code, out, _ = run("name", tmp_path / "head.dcm", "--model", weights, "--audit", "--json")
    assert code == 0
    (line,) = json.loads(out)["audit"]
    assert (line["body_part"], line["verdict"]) == ("HEAD", "unsure")
    code, out, _ = run("name", tmp_path / "head.dcm", "--model", weights, "--audit")
    assert code == 0
    assert "verdict" in out


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
