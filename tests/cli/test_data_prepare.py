import json

import numpy as np
import pytest

from vesalius.data.datasets import SegmentationDataset
from vesalius.imaging import write_mask, write_rgb


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


WRONG = {
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


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_gets_one_line_and_exit_code_2_and_writes_nothing(run, case, kvasir, tmp_path):
    arguments, message = WRONG[case]
    code, out, err = run("data", "prepare", *arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()
