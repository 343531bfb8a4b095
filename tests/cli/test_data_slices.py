import json

import nibabel as nib
import numpy as np
import pytest

from vesalius.data.slices.dataset import AnatomySlices

pytestmark = pytest.mark.filterwarnings("ignore::vesalius.errors.ImageNotice")  # units of CT are guessed


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


def test_the_summary_is_one_json_object(run, subject):
    code, out, _ = run("data", "slices", subject, "out", "--json")
    content = json.loads(out)
    assert code == 0
    assert content["slices"] == sum(each["slices"] for each in content["splits"].values())
    assert content["organs"]["liver"]["present"] > 0
    assert content["problems"] == []


def test_a_series_without_outlines_is_labelled_on_the_command_line(run, subject, tmp_path):
    arguments = ("--modality", "CT", "--stations", "abdomen", "--stations", "chest", "--organs", "liver")
    code, out, _ = run("data", "slices", subject / "ct.nii.gz", "out", *arguments)
    assert code == 0
    label = AnatomySlices(tmp_path / "out")[0].label
    assert label.stations == {"abdomen", "chest"}
    assert label.organs == {"liver"}


WRONG = {
    "a missing source": (["none", "out"], "none: no such file or folder"),
    "no outlines": (["patient7/ct.nii.gz", "out"], "say what it shows: --stations head"),
    "an unknown station": (["patient7/ct.nii.gz", "out", "--stations", "chst"], "Did you mean 'chest'?"),
    "an unknown window": (["patient7", "out", "--windows", "lungs"], "Did you mean 'lung'?"),
    "no slices": (["patient7", "out", "--per-plane", "0"], "--per-plane must be 1 or more"),
    "the source as the result": (["patient7", "patient7"], "holds files that are no slices"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_gets_one_line_and_exit_code_2(run, subject, case):
    arguments, message = WRONG[case]
    code, out, err = run("data", "slices", *arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1
