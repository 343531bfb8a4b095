"""`vesalius segment`, of one image and of many, called as a user would."""

import csv
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from vesalius.cli import models
from vesalius.imaging import write_rgb
from vesalius.models import list_encoders, list_models
from vesalius.models.checkpoints import load_model, save_model


@pytest.fixture(scope="module")
def weights(build_tiny, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "pocket.safetensors"
    save_model(build_tiny("pocket"), path)
    return path


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "scan.png"
    write_rgb(path, np.random.default_rng(0).random((40, 48, 3)))
    return path


def test_segment_writes_what_it_says(run, picture, weights, tmp_path):
    code, out, _ = run("segment", picture, "polyp", "lungs", "--model", weights, "--out", tmp_path / "o", "--json")
    assert code == 0
    results = json.loads(out)["results"]
    assert [each["prompt"] for each in results] == ["polyp", "lungs"]
    assert all(Path(each[kind]).is_file() for each in results for kind in ("mask", "overlay"))
    names = {path.name for path in (tmp_path / "o").iterdir() if not path.name.startswith(".")}
    assert len(names) == 5
    (row, _) = json.loads((tmp_path / "o" / "segmentation.json").read_text())["results"]
    assert (row["image"], row["mask"], row["model"]) == (str(picture), "scan.lungs.mask.png", str(weights))
    assert (row["answer"], results[0]["answer"], row["precision"]) == ("asked", "asked", "32")


@pytest.mark.slow
def test_segment_replaces_nothing_unless_asked(run, picture, weights, tmp_path):
    command = ["segment", picture, "polyp", "--model", weights, "--out", tmp_path]
    assert run(*command)[0] == 0
    mask = tmp_path / "scan.polyp.mask.png"
    mask.write_bytes(b"mine")
    code, out, err = run(*command)
    assert (code, out, mask.read_bytes()) == (2, "", b"mine")
    assert "scan.polyp.mask.png: is there already" in err
    assert "--overwrite" in err
    assert run(*command, "--overwrite")[0] == 0
    assert mask.read_bytes() != b"mine"


@pytest.mark.parametrize(
    ("command", "place"),
    [
        (["name", ""], "PATH"),
        (["segment", "", "polyp"], "IMAGE"),
        (["segment", "", "-p", "polyp"], "IMAGE"),
        (["segment", "a", "", "-p", "b"], "PATH"),
        (["segment", "a", "polyp", "--out="], "--out"),
    ],
)
def test_an_empty_path_is_not_the_current_folder(run, command, place, picture, weights, tmp_path):
    shutil.copy(picture, tmp_path / "a")
    code, out, err = run(*command, "--model", weights)
    assert code == 2
    assert f"{place}: is empty" in err
    assert "scan.png" not in out


@pytest.mark.parametrize("command", [["name"], ["segment", "polyp"]])
def test_a_path_that_is_too_long_is_none(run, command, weights):
    code, out, err = run(command[0], "a" * 300, *command[1:], "--model", weights)
    assert (code, out) == (2, "")
    assert "no such file or folder" in err


@pytest.mark.slow
def test_segment_refuses_a_picture_with_too_long_a_name(run, picture, weights, tmp_path):
    long = shutil.copy(picture, tmp_path / f"{'a' * 240}.png")
    code, out, err = run("segment", long, "polyp", "--model", weights, "--out", "o")
    assert (code, out) == (2, "")
    assert "the name of this result is too long; give the image a shorter name" in err
    assert not (tmp_path / "o").exists()
    write_rgb(tmp_path / "b.png", np.zeros((40, 48, 3)))
    code, _, err = run("segment", tmp_path, "-p", "polyp", "--model", weights, "--out", "o")
    assert code == 2
    assert "1 segmented, 1 failed" in err
    assert (tmp_path / "o" / "b.polyp.mask.png").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("default::vesalius.errors.ImageNotice")
def test_segment_tells_what_was_guessed_and_takes_the_chosen_volume(run, weights, tmp_path):
    series = np.random.default_rng(0).integers(0, 90, (6, 7, 8, 3)).astype(np.int16)
    nib.save(nib.Nifti1Image(series, np.eye(4)), tmp_path / "bold.nii.gz")
    code, out, err = run("segment", tmp_path / "bold.nii.gz", "brain", "--model", weights, "--json")
    assert code == 0
    assert "2 of 3 volumes left out" in err
    told = json.loads(out, parse_constant=pytest.fail)
    assert told["notices"][0]["count"] == 2
    assert len(told["results"][0]["slice_existence"]) == 8
    command = ["segment", tmp_path / "bold.nii.gz", "brain", "--model", weights, "--volume", 3, "-o", "third"]
    assert run(*command)[0::2] == (0, "")


def test_segment_prints_a_table(run, picture, weights):
    code, out, _ = run("segment", picture, "polyp", "--model", weights)
    assert code == 0
    assert "polyp" in out
    assert "%" in out


@pytest.mark.slow
def test_name_answers_in_one_json_object(run, picture, weights):
    code, out, _ = run("name", picture, "--model", weights, "--json")
    assert code == 0
    (answer,) = json.loads(out)["series"]
    assert answer["modality"]["source"] == "pixels"
    assert len(answer["slices"]) == 1


def test_name_prints_tables(run, picture, weights):
    code, out, _ = run("name", picture, "--model", weights)
    assert code == 0
    assert "modality" in out
    assert "station" in out


@pytest.mark.slow
def test_train_leaves_weights_that_load(run, tiny_dataset, weights, tmp_path):
    code, out, err = run(
        "train", "--model", weights, "--data", tiny_dataset, "--max-epochs", 1, "--batch-size", 2,
        "--out", tmp_path / "run", "--json",
    )  # fmt: skip
    assert code == 0
    assert "trained weights" in err
    result = json.loads(out)
    assert load_model(Path(result["checkpoint"]).parent).recipe.name == "pocket"


@pytest.mark.slow
@pytest.mark.usefixtures("_published_unet")
def test_models_lists_all_with_their_sizes(run):
    code, out, _ = run("models", "--json")
    assert code == 0
    rows = {each["name"]: each for each in json.loads(out)["models"]}
    assert [name for name, row in rows.items() if row["kind"] == "segmenter"] == list_models()
    assert [name for name, row in rows.items() if row["kind"] == "encoder"] == list_encoders()
    assert [name for name, row in rows.items() if row["weights"]] == ["pocket"]
    assert rows["unet_d"]["parameters"] == rows["unet_d"]["trainable"] == 11_833_593
    assert rows["clip_vit_b32"]["parameters"] == 151_277_313  # as OpenAI's
    assert rows["clipseg"]["trainable"] == 1_127_009


def test_models_prints_a_table(run, monkeypatch):
    monkeypatch.setattr(models, "_count", lambda name: {"parameters": 11_833_593, "trainable": 11_833_593})
    code, out, _ = run("models")
    assert code == 0
    assert all(name in out for name in list_models())
    assert "11.8" in out


WRONG = {
    "a missing file": (["segment", "none.png", "polyp"], "none.png: no such file"),
    "no image": (["segment", "text.png", "polyp"], "text.png"),
    "no prompt": (["segment", "scan.png"], "A prompt is needed"),
    "an empty prompt": (["segment", "scan.png", ""], "A prompt is needed"),
    "a prompt twice": (["segment", "scan.png", "polyp", " Polyp"], "phrases: 'polyp' stands twice"),
    "a prompt twice for DICOM": (["segment", "scan.png", "-p", "polyp", "-p", "polyp", "-o", "o.dcm"], "stands twice"),
    "an unknown model": (["segment", "scan.png", "polyp", "--model", "pokcet"], "Did you mean 'pocket'?"),
    "a model without weights": (
        ["segment", "scan.png", "polyp", "--model", "clipseg"],
        "carries no weights of clipseg",
    ),
    "an unknown window": (["segment", "scan.png", "polyp", "--window", "a,b"], "CENTER,WIDTH"),
    "a window that is no number": (["segment", "scan.png", "polyp", "--window", "nan,400"], "two finite numbers"),
    "a window of no end": (["segment", "scan.png", "polyp", "--window", "40,inf"], "two finite numbers"),
    "a window of negative width": (["segment", "scan.png", "polyp", "--window", "40,-400"], "a width above 0"),
    "a second image for a prompt": (
        ["segment", "scan.png", "text.png", "polyp"],
        "'text.png' is a file where a phrase",
    ),
    "an unknown command": (["segmnt", "scan.png"], 'Did you mean "segment"?'),
    "an unknown option": (["segment", "scan.png", "polyp", "--modle", "x"], "--modle"),
    "a missing data folder": (["evaluate", "pocket", "--data", "none"], "none: no such data folder"),
    "a missing recipe": (["train", "--model", "unet_d", "--data", "none", "--recipe", "r.toml"], "r.toml: no such"),
    "an unknown architecture": (["train", "--model", "unet_e", "--data", "none"], "Did you mean 'unet_d'?"),
    "nothing to name": (["name", "none"], "none: no such file"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_gets_one_line_and_exit_code_2_and_writes_nothing(run, case, tmp_path):
    arguments, message = WRONG[case]
    write_rgb(tmp_path / "scan.png", np.zeros((8, 8, 3)))
    (tmp_path / "text.png").write_text("no picture")
    before = sorted(tmp_path.iterdir())
    code, out, err = run(*arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_a_phrase_of_other_bytes_than_text_is_refused(run, picture, weights):
    for phrases in (["poly\udcffp"], ["-p", "poly\udcffp"]):
        code, _, told = run("segment", picture, *phrases, "--model", weights)
        assert (code, "the prompt is not valid text (UTF-8); type it anew." in " ".join(told.split())) == (2, True)


def test_a_truncated_dicom_is_named(run, tmp_path):
    from pydicom.data import get_testdata_file

    whole = Path(get_testdata_file("CT_small.dcm", download=False)).read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[: len(whole) // 2])
    code, _, err = run("segment", "cut.dcm", "brain")
    assert code == 2
    assert "cut.dcm" in err


def test_a_mask_of_another_size_is_named(run, write_dataset, weights):
    root = write_dataset("sizes")
    write_rgb(root / "images" / "test_1.png", np.zeros((30, 30, 3)))
    code, _, err = run("evaluate", weights, "--data", root)
    assert code == 2
    assert "masks/test_1.png: a mask of another size" in err


def test_annotations_that_lack_a_field_are_named(run, write_dataset, weights):
    root = write_dataset("fields")
    (root / "anns" / "test.json").write_text(json.dumps([{"img_name": "test_0.png", "prompts": {"p1": "polyp"}}]))
    code, _, err = run("evaluate", weights, "--data", root)
    assert code == 2
    assert "test.json, record 0: lacks 'mask_name'" in err


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


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_what_a_folder_holds_beside_images_is_told(call, options):
    Path("x.nrrd").write_bytes(b"NRRD0004")
    code, out, err = call(".", "-p", "polyp", *options)
    notice = "1 of 4 files passed over: they are not taken for images (1 .nrrd). Name one alone to try it."
    assert (code, f".: {notice}" in err.splitlines()) == (0, True)
    if options:
        assert [each["message"] for each in json.loads(out)["notices"]] == [notice]


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


@pytest.mark.slow
def test_one_image_without_them_gets_no_table(call):
    assert call("a.png", "polyp")[0] == 0
    names = {path.name for path in Path("out").iterdir() if not path.name.startswith(".")}
    assert names == {"a.polyp.mask.png", "a.polyp.overlay.png", "segmentation.json"}
    code, _, err = call("a.png", "b.png", "-p", "polyp")
    assert code == 2
    assert "a.polyp.mask.png: is there already, made one by one" in err


@pytest.mark.slow
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


def test_what_one_image_was_not_asked_is_recorded_and_stands_in_no_ones_way(run, call, build_tiny):
    polyps = Path("polyps.safetensors")
    save_model(build_tiny("pocket"), polyps, {"targets": {"polyp": {"modalities": ["endoscopy"], "pictures": 9}}})
    ask = ("segment", "a.png", "--model", polyps, "-o", "out")
    assert run(*ask, "kidney stone")[0] == 0
    (row,) = json.loads(Path("out/segmentation.json").read_text())["results"]
    assert (row["prompt"], row["known"], row["answer"], row["mask"]) == ("kidney stone", False, "not learnt", None)
    many = (*ask, "-p", "polyp", "-p", "kidney stone")
    assert "1 segmented" in run(*many)[2]
    assert run(*ask, "bone fracture")[0] == 0  # named by no file, so the run over many is done all the same
    assert run(*ask, "kidney stone")[0] == 0  # told by the run over many
    assert "1 done before" in run(*many)[2]
    with Path("out/results.csv").open(encoding="utf-8", newline="") as file:
        rows = [(each["phrase"], each["known"], each["answer"]) for each in csv.DictReader(file)]
    assert sorted(rows) == [
        ("bone fracture", "False", "not learnt"),
        ("kidney stone", "False", "not learnt"),
        ("polyp", "True", "asked"),
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["a.png", "-p", ""], "A prompt is needed"),
        (["a.png", "-p", "polyp", "-p", "POLYP"], "'polyp' stands twice"),
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
