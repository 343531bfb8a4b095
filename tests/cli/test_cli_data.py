"""`vesalius data prepare`, `data check` and `data slices`, called as a user would."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from vesalius.data.check import checking
from vesalius.data.datasets import SegmentationDataset
from vesalius.data.slices.dataset import AnatomySlices
from vesalius.imaging import write_mask, write_rgb


@pytest.fixture
def good(write_dataset, tmp_path):
    """A data set of its own that a test may spoil."""
    return shutil.copytree(write_dataset("ellipses"), tmp_path / "ellipses")


def test_a_good_set_passes(run, good):
    code, out, err = run("data", "check", good, "--jobs", 1)
    assert code == 0
    assert out == ""
    assert "Nothing is wrong. 8 images" in err


def test_a_bad_set_gives_1_a_table_and_examples_with_split_and_record(run, good):
    shutil.copy(good / "images/train_1.png", good / "images/test_0.png")
    (good / "masks/val_1.png").unlink()
    code, out, err = run("data", "check", good)
    assert code == 1
    assert "Files that records name" in out
    assert "error: masks/val_1.png is not there. (val 1)" in err
    assert "in train and test: images/train_1.png, images/test_0.png. (train 1, test 0)" in err
    assert "1 of 2 test images resemble a train image." in err
    assert "Something is wrong." in err


def test_by_default_a_process_reads_for_each_core_that_may_be_used(run, good, monkeypatch):
    asked = []
    read = checking.examine_files
    monkeypatch.setattr(
        checking, "examine_files", lambda *args, jobs, bar: (asked.append(jobs), read(*args, jobs=1, bar=bar))[1]
    )
    monkeypatch.setattr("vesalius.processes.count_cores", lambda: 3)
    run("data", "check", good)
    assert asked == [3]


def test_json_and_both_files_say_the_same(run, good, tmp_path):
    (good / "images/val_0.png").write_bytes(b"")
    code, out, _ = run("data", "check", good, "--out", tmp_path / "report", "--json")
    content = json.loads(out)
    assert code == 1
    assert json.loads((tmp_path / "report/check.json").read_text(encoding="utf-8")) == content
    assert content["findings"][0]["message"].startswith("images/val_0.png: is empty")
    assert "images/val_0.png: is empty" in (tmp_path / "report/check.html").read_text(encoding="utf-8")


def test_many_findings_of_a_kind_are_cut_on_the_terminal(run, good):
    for path in (good / "masks").glob("*.png"):
        path.unlink()
    _, _, err = run("data", "check", good)
    assert err.count("is not there") == 3
    assert "… 5 more: Files that records name and that are not there" in err


WRONG_CHECK = {
    "a missing folder": (["none"], "none: no such data folder"),
    "a folder of something else": (["."], "no images/ in it"),
    "a similarity out of range": (["ellipses", "--similarity", "2"], "--similarity: expected 0.5 to 1, got 2.0"),
    "no process": (["ellipses", "--jobs", "0"], "--jobs: expected a number of processes, 1 or more"),
    "groups told twice": (["ellipses", "--group-regex", "a", "--group-field", "b"], "choose one"),
    "a field that nobody has": (["ellipses", "--group-field", "patient"], "no record has a field 'patient'"),
    "a bad pattern": (["ellipses", "--group-regex", "("], "is no regular expression"),
}


@pytest.mark.parametrize("case", WRONG_CHECK)
def test_a_check_that_cannot_be_made_gives_2_and_one_line(run, good, case):
    arguments, message = WRONG_CHECK[case]
    code, out, err = run("data", "check", *arguments, "--out", "report")
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert message in err
    assert not (good.parent / "report").exists()


@pytest.fixture
def kvasir(tmp_path):
    """Eight pictures as Kvasir-SEG has them, one mask lacking."""
    rng = np.random.default_rng(0)
    for number in range(9):
        mask = np.zeros((16, 16), bool)
        mask[number : number + 4, 4:9] = True
        for folder in ("images", "masks"):
            (tmp_path / "kvasir" / folder).mkdir(parents=True, exist_ok=True)
        write_rgb(tmp_path / f"kvasir/images/c{number}.png", rng.random((16, 16, 3)))
        write_mask(tmp_path / f"kvasir/masks/c{number}.png", mask)
    (tmp_path / "kvasir/masks/c8.png").unlink()
    return tmp_path / "kvasir"


def test_a_data_set_of_the_catalog_is_prepared_and_its_target_known(run, kvasir, tmp_path):
    code, out, err = run("data", "prepare", "kvasir_polyp", kvasir, "kvasir_polyp", "--val", 0.25, "--test", 0.25)
    assert code == 0
    assert [line.split() for line in out.splitlines() if "train" in line][0][3] == "4"
    assert "Prepared kvasir_polyp in kvasir_polyp: 8 images, 0 empty masks." in err
    assert "left out: " in err
    assert "c8.png: has no mask" in err
    assert "vesalius prompts generate kvasir_polyp" in err
    dataset = SegmentationDataset(tmp_path / "kvasir_polyp", "train")
    assert dataset.target == "polyp"
    assert dataset[0].mask.any()


def test_the_summary_is_one_json_object_and_goes_on_where_it_stopped(run, kvasir):
    command = ("data", "prepare", "kvasir_polyp", kvasir, "out", "--json")
    code, out, _ = run(*command)
    assert code == 0
    first = json.loads(out)
    assert sum(first["records"].values()) == 8
    assert first["problems"][0]["message"].startswith("has no mask")
    second = json.loads(run(*command)[1])
    assert second == first | {"resumed": 8}


def test_own_folders_are_prepared(run, kvasir, tmp_path):
    code, _, err = run(
        "data", "prepare", "custom", "--images", kvasir / "images", "--masks", kvasir / "masks", "--phrase", "polyp",
        "mine",
    )  # fmt: skip
    assert code == 0
    assert "Prepared custom in mine: 8 images" in err
    rows = json.loads((tmp_path / "mine/anns/train.json").read_text())
    assert rows[0]["prompts"] == {"p0": "", "p1": "polyp"}


def test_many_problems_are_cut_short_but_all_are_in_the_summary(run, kvasir, tmp_path):
    for number in range(30):
        write_rgb(kvasir / f"images/lone{number}.png", np.zeros((4, 4, 3)))
    code, _, err = run("data", "prepare", "kvasir_polyp", kvasir, "out")
    assert code == 0
    assert err.count("has no mask") == 20
    assert "left out: 11 more, listed in out/prepare.json" in err
    assert len(json.loads((tmp_path / "out/prepare.json").read_text())["problems"]) == 31


WRONG_PREPARE = {
    "an unknown data set": (["kvasir", "kvasir", "out"], "Did you mean 'kvasir_polyp'?"),
    "no destination": (["kvasir_polyp", "kvasir"], "expected vesalius data prepare kvasir_polyp SOURCE DEST, got 1"),
    "no paths": (["kvasir_polyp"], "got 0 paths: none"),
    "a missing source": (["kvasir_polyp", "none", "out"], "none: no such folder or zip archive"),
    "another data set": (["busi", "kvasir", "out"], "holds no image of Breast Ultrasound"),
    "own options for another's data": (
        ["busi", "kvasir", "out", "--phrase", "x"],
        "--phrase belongs to 'prepare custom'",
    ),
    "custom with a source": (["custom", "kvasir", "out"], "expected vesalius data prepare custom DEST, got 2 paths"),
    "custom without folders": (["custom", "out"], "needs --images DIR and --masks DIR"),
    "no phrase": (["custom", "--images", "kvasir/images", "--masks", "kvasir/masks", "out"], "give --phrase polyp"),
    "parts above one": (["kvasir_polyp", "kvasir", "out", "--val", "0.9", "--test", "0.2"], "a sum below 1"),
    "no annotations": (
        ["kvasir_polyp", "kvasir", "out", "--annotations", "x"],
        "x/train.json: no such file",
    ),
    "every zeroth slice": (
        ["camus", "kvasir", "out", "--every", "0"],
        "--every and --smallest must be 1",
    ),
}


@pytest.mark.parametrize("case", WRONG_PREPARE)
def test_wrong_input_gets_one_line_and_exit_code_2_and_writes_nothing(run, case, kvasir, tmp_path):
    arguments, message = WRONG_PREPARE[case]
    code, out, err = run("data", "prepare", *arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


units_guessed = pytest.mark.filterwarnings("ignore::vesalius.errors.ImageNotice")  # of CT


@pytest.fixture
def subject(tmp_path):
    """A CT of one block of tissue that is half liver, half lung, as a label map."""
    folder = tmp_path / "patient7"
    folder.mkdir()
    labels = np.ones((30, 30, 30), np.uint8)
    labels[:, :, 15:] = 2
    affine = np.diag([5.0, 5, 5, 1])
    nib.save(nib.Nifti1Image(np.where(labels == 1, 60, -700).astype(np.int16), affine), folder / "ct.nii.gz")
    nib.save(nib.Nifti1Image(labels, affine), folder / "segmentation.nii.gz")
    (folder / "labels.json").write_text('{"1": "liver", "2": "lung_left"}')
    return folder


@units_guessed
def test_a_volume_becomes_a_folder_of_labelled_slices(run, subject, tmp_path):
    command = ("data", "slices", subject, "out", "--per-plane", 2, "--size", 64, "--windows", "wide")
    code, out, err = run(*command)
    assert code == 0
    assert "liver" in out
    assert "Cut 1 volume into 6 slices in out." in err
    assert "organs that nothing here tells: elbow, forearm" in err
    slices = AnatomySlices(tmp_path / "out")
    assert slices[0].label.organs == {"liver"}
    assert "Cut 1 volume (1 in an earlier run) into 6 slices" in run(*command)[2]


@units_guessed
def test_the_summary_is_one_json_object(run, subject):
    code, out, _ = run("data", "slices", subject, "out", "--json")
    content = json.loads(out)
    assert code == 0
    assert content["slices"] == sum(each["slices"] for each in content["splits"].values())
    assert content["organs"]["liver"]["present"] > 0
    assert content["problems"] == []


@units_guessed
def test_a_series_without_outlines_is_labelled_on_the_command_line(run, subject, tmp_path):
    arguments = ("--modality", "CT", "--stations", "abdomen", "--stations", "chest", "--organs", "liver")
    code, out, _ = run("data", "slices", subject / "ct.nii.gz", "out", *arguments)
    assert code == 0
    label = AnatomySlices(tmp_path / "out")[0].label
    assert label.stations == {"abdomen", "chest"}
    assert label.organs == {"liver"}


WRONG_SLICES = {
    "a missing source": (["none", "out"], "none: no such file or folder"),
    "no outlines": (["patient7/ct.nii.gz", "out"], "say what it shows: --stations head"),
    "an unknown station": (["patient7/ct.nii.gz", "out", "--stations", "chst"], "Did you mean 'chest'?"),
    "an unknown window": (["patient7", "out", "--windows", "lungs"], "Did you mean 'lung'?"),
    "no slices": (["patient7", "out", "--per-plane", "0"], "--per-plane must be 1 or more"),
    "the source as the result": (["patient7", "patient7"], "holds files that are no slices"),
}


@units_guessed
@pytest.mark.parametrize("case", WRONG_SLICES)
def test_wrong_input_gets_one_line_and_exit_code_2(run, subject, case):
    arguments, message = WRONG_SLICES[case]
    code, out, err = run("data", "slices", *arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1
