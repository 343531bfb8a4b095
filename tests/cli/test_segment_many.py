import json
from pathlib import Path

import numpy as np
import pytest

from vesalius.imaging import write_rgb
from vesalius.models.checkpoints import save_model


@pytest.fixture(scope="module")
def weights(build_tiny, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "pocket.safetensors"
    save_model(build_tiny("pocket"), path)
    return path


@pytest.fixture
def call(run, weights, tmp_path):
    """Segment, in a folder with the pictures a, b and c."""
    for place, name in enumerate("abc"):
        write_rgb(tmp_path / f"{name}.png", np.random.default_rng(place).random((12, 16, 3)))
    return lambda *arguments: run("segment", *arguments, "--model", weights, "-o", "out")


def test_with_prompts_all_else_are_paths(call):
    code, out, err = call("a.png", "b.png", "-p", "polyp", "--prompt", "lungs")
    assert code == 0
    assert "Images: 2 segmented." in err
    assert "index.html" in err
    assert [line.split()[1:4:2] for line in out.splitlines() if "│ polyp" in line or "│ lungs" in line] == [
        ["polyp", "2"],
        ["lungs", "2"],
    ]
    assert {path.name for path in Path("out").glob("*.mask.png")} == {
        f"{image}.{phrase}.mask.png" for image in "ab" for phrase in ("polyp", "lungs")
    }


def test_failures_are_listed_at_the_end_and_in_the_json(call):
    Path("c.png").write_bytes(b"no picture")
    code, out, err = call(".", "-p", "polyp", "--json")
    assert code == 2
    assert err.startswith("error: ")
    assert "c.png" in err
    told = json.loads(out, parse_constant=pytest.fail)
    assert (told["done"], told["skipped"], len(told["results"])) == (2, 0, 2)
    assert [Path(each["source"]).name for each in told["failures"]] == ["c.png"]
    assert all(Path(each).is_file() for each in (told["page"], told["table"], told["results"][0]["mask"]))
    code, _, err = call(".", "-p", "polyp")
    assert code == 2
    assert "Images: 0 segmented, 2 done before and skipped, 1 failed." in err


def test_many_failures_are_told_in_short(call):
    names = [f"missing{number}.png" for number in range(7)]
    code, _, err = call("a.png", *names, "-p", "polyp")
    assert code == 2
    assert "7 of 8 images failed: " in err
    assert "; and 2 more, which --json and " in err


@pytest.mark.parametrize(
    "options", [["--labels"], ["--threshold", "0.3"], ["--existence", "0.5"], ["--keep-largest"], ["--min-size", "9"]]
)
def test_one_image_with_rules_for_masks_takes_phrases_as_before(call, options):
    code, _, err = call("a.png", "polyp", "lungs", *options)
    assert (code, "Images: 1 segmented." in err) == (0, True)
    masks = {path.name for path in Path("out").glob("a.*.png")}
    assert masks == ({"a.labels.png"} if options == ["--labels"] else {"a.polyp.mask.png", "a.lungs.mask.png"})


def test_one_image_without_them_gets_no_table(call):
    assert call("a.png", "polyp")[0] == 0
    names = {path.name for path in Path("out").iterdir() if not path.name.startswith(".")}
    assert names == {"a.polyp.mask.png", "a.polyp.overlay.png", "segmentation.json"}
    code, _, err = call("a.png", "b.png", "-p", "polyp")
    assert code == 2
    assert "a.polyp.mask.png: is there already, made one by one" in err


def test_a_single_image_leaves_the_rows_of_many_alone(call):
    assert call("a.png", "-p", "polyp", "-p", "lungs", "--labels")[0] == 0
    assert call("b.png", "polyp")[0] == 0
    rows = json.loads(Path("out/segmentation.json").read_text())["results"]
    assert sorted((row["mask"], row["prompt"]) for row in rows) == [
        ("a.labels.png", "lungs"),
        ("a.labels.png", "polyp"),
        ("b.polyp.mask.png", "polyp"),
    ]
    assert call("a.png", "-p", "polyp", "-p", "lungs", "--labels")[2].count("done before") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["a.png", "-p", ""], "A prompt is needed"),
        (["a.png", "-p", "polyp", "-p", "polyp"], "a phrase stands twice"),
        (["none.png", "-p", "polyp"], "none.png: no such file"),
        ([".", "polyp"], "With the phrases after --prompt all images of a folder are segmented"),
        (["a.png", "b.png", "polyp", "--labels"], "--prompt polyp"),
        (["a.png", "-p", "polyp", "--table", "t.xls"], ".csv or .parquet"),
        (["a.png", "-p", "polyp", "--window", "a,b"], "CENTER,WIDTH"),
    ],
)
def test_what_is_wrong_is_one_line(call, arguments, told):
    code, out, err = call(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert told in err
    assert not Path("out").exists()
