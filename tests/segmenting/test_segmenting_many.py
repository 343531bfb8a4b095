import csv
import json
import os
import shutil
import sys
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom.data import get_testdata_file

from vesalius import processes
from vesalius.errors import ConfigError, ImageError, MissingPackageError, ModelError, OutputError
from vesalius.imaging import read_mask, write_rgb
from vesalius.imaging.read import NO_CHOICES, Choices
from vesalius.journal import ResultsJournal, alone
from vesalius.masks import MaskRules
from vesalius.records import SEGMENTATIONS
from vesalius.segmenting import run as many
from vesalius.segmenting.request import Request
from vesalius.segmenting.run import segment_many
from vesalius.segmenting.table import write_mask_table


@pytest.fixture
def ask(tiny_weights):
    """Segment paths by the tiny model."""

    def ask(paths, out, *prompts, rules=None, model=tiny_weights, choices=NO_CHOICES, **options):
        request = Request(prompts or ("polyp", "lungs"), model, rules=rules or MaskRules(), choices=choices)
        return segment_many(paths if isinstance(paths, list) else [paths], request, out, **options)

    return ask


def visible(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_a_folder_gets_masks_overviews_a_table_a_page_and_a_record(ask, pictures, tmp_path):
    summary = ask(pictures, tmp_path / "out")
    assert (summary.done, summary.skipped, summary.failures) == (3, 0, [])
    files = {f"{name}.{part}" for name in ("red", "green", "blue") for part in PARTS}
    assert visible(tmp_path / "out") == {*files, "index.html", "results.csv", SEGMENTATIONS.name}
    rows = read_rows(summary.table)
    assert [(Path(row["source"]).name, row["phrase"]) for row in rows[:2]] == [
        ("blue.png", "polyp"),
        ("blue.png", "lungs"),
    ]
    for row in rows:
        mask = read_mask(tmp_path / "out" / row["mask"])
        assert mask.shape == (24, 30)
        assert float(row["share_marked"]) == pytest.approx(mask.mean())
        assert (row["area_mm2"], row["volume_ml"], row["slices"]) == ("", "", "1")
    record = json.loads((tmp_path / "out" / SEGMENTATIONS.name).read_text())
    assert (len(record["results"]), "begun" in record) == (6, False)


PARTS = ("polyp.mask.png", "lungs.mask.png", "overlay.jpg")


@pytest.mark.parametrize("shape", [(24, 30), (24, 30, 1)])
def test_one_slice_in_a_volume_file_has_an_area(ask, tmp_path, shape):
    values = np.random.default_rng(0).random(shape).astype(np.float32)
    nib.save(nib.Nifti1Image(values, np.diag([2.0, 3.0, 5.0, 1.0])), tmp_path / "s.nii.gz")
    row, _ = ask(tmp_path / "s.nii.gz", tmp_path / "out", rules=MaskRules(1e-9)).rows
    assert (row["share"], row["area_mm2"], row["volume_ml"]) == (1.0, pytest.approx(24 * 30 * 6), None)
    assert nib.load(tmp_path / "out" / row["mask"]).get_fdata().shape == shape


def test_one_damaged_file_stops_no_other_and_is_on_the_page(ask, pictures, tmp_path):
    (pictures / "red.png").write_bytes(b"\x89PNG and no more")
    summary = ask([pictures, tmp_path / "none.png"], tmp_path / "out")
    assert summary.done == 2
    assert [Path(each["source"]).name for each in summary.failures] == ["none.png", "red.png"]
    page = summary.page.read_text()
    assert "Failed in the last run: 2" in page
    assert "red.png" in page


def test_where_everything_failed_the_page_lists_it(ask, tmp_path):
    places = [tmp_path / f"{number}.png" for number in range(7)]
    for each in places:
        each.write_bytes(b"\x89PNG and no more")
    summary = ask(places, tmp_path / "out")
    page = summary.page.read_text()
    assert "Failed in the last run: 7" in page
    assert all(each.name in page for each in places)
    assert "As a table" not in page
    assert not summary.table.exists()
    assert len(ask(places, tmp_path / "out").failures) == 7  # the page is its own, and made anew


def test_what_is_done_is_skipped_and_new_files_are_not(ask, pictures, tmp_path):
    ask(pictures, tmp_path / "out")
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.png")}
    write_rgb(pictures / "white.png", np.ones((8, 8, 3)))
    summary = ask(pictures, tmp_path / "out")
    assert (summary.done, summary.skipped, summary.failures) == (1, 3, [])
    assert len(read_rows(summary.table)) == 8
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.png")}
    assert before.items() <= after.items()


def test_results_of_earlier_runs_are_no_images(ask, pictures, tmp_path):
    ask(pictures, pictures / "seg")
    assert (pictures / "seg/red.overlay.jpg").is_file()
    summary = ask([pictures, str(pictures / "seg/*.jpg")], tmp_path / "other")
    assert {Path(str(row["image"])).name for row in summary.rows} == {"red.png", "green.png", "blue.png"}
    assert summary.notices == []
    with pytest.raises(ImageError, match="seg: holds no image but results of Vesalius; name"):
        ask(pictures / "seg", tmp_path / "third")
    overlay = pictures / "seg/red.overlay.jpg"
    assert ask(overlay, tmp_path / "named").done == 1
    assert ask([pictures, overlay], pictures / "seg").done == 0


def test_a_file_of_others_with_the_name_of_a_record_hides_nothing(ask, pictures, tmp_path):
    (pictures / SEGMENTATIONS.name).write_text('{"results": [["red.png"]]}')
    assert ask(pictures, tmp_path / "out").done == 3


@pytest.mark.slow
def test_other_settings_or_a_changed_file_are_refused_and_done_when_asked(ask, pictures, tmp_path):
    ask(pictures, tmp_path / "out")
    refused = ask(pictures, tmp_path / "out", rules=MaskRules(0.3))
    assert (refused.done, refused.skipped, len(refused.failures)) == (0, 0, 3)
    assert "made with other settings: threshold was not given, is 0.3" in refused.failures[0]["reason"]
    write_rgb(pictures / "red.png", np.zeros((24, 30, 3)))
    (failure,) = ask(pictures, tmp_path / "out").failures
    assert "was made before" in failure["reason"]
    assert ask(pictures, tmp_path / "out", overwrite=True).done == 3
    assert ask(pictures, tmp_path / "out").skipped == 3


def test_what_another_phrase_left_goes_when_all_is_done_anew(ask, pictures, tmp_path):
    ask(pictures, tmp_path / "out")
    ask(pictures, tmp_path / "out", "polyp", overwrite=True)
    assert not [name for name in visible(tmp_path / "out") if "lungs" in name]
    assert len(read_rows(tmp_path / "out" / "results.csv")) == 3


def test_other_weights_are_other_settings(ask, pictures, tmp_path, build_tiny):
    from vesalius.models.checkpoints import save_model

    ask(pictures, tmp_path / "out")
    save_model(build_tiny("pocket", seed=1), tmp_path / "other.safetensors")
    assert len(ask(pictures, tmp_path / "out", model=str(tmp_path / "other.safetensors")).failures) == 3


def test_two_images_of_one_name_get_names_of_their_own_and_keep_them(ask, pictures, tmp_path):
    write_rgb(tmp_path / "other" / "red.png", np.zeros((8, 8, 3)))
    ask(pictures / "red.png", tmp_path / "out")
    summary = ask([pictures, tmp_path / "other"], tmp_path / "out")
    assert (summary.done, summary.skipped, summary.failures) == (3, 1, [])
    assert {"red.polyp.mask.png", "other-red.polyp.mask.png"} <= visible(tmp_path / "out")


def test_results_of_another_image_are_refused_for_that_image_alone(ask, pictures, tmp_path):
    write_rgb(tmp_path / "other" / "red.png", np.zeros((8, 8, 3)))
    ask(tmp_path / "other", tmp_path / "out")
    summary = ask(pictures, tmp_path / "out")
    assert summary.done == 2
    (failure,) = summary.failures
    assert f"made from {tmp_path / 'other' / 'red.png'}" in failure["reason"]
    assert read_mask(tmp_path / "out" / "red.polyp.mask.png").shape == (8, 8)


def test_files_of_nobody_knows_whom_stay(ask, pictures, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "red.polyp.mask.png").write_bytes(b"mine")
    (failure,) = ask(pictures, tmp_path / "out").failures
    assert "is there already" in failure["reason"]
    assert (tmp_path / "out" / "red.polyp.mask.png").read_bytes() == b"mine"
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "results.csv").write_text("mine")
    with pytest.raises(OutputError, match=r"results\.csv: there already"):
        ask(pictures, tmp_path / "second")
    assert visible(tmp_path / "second") == {"results.csv"}


@pytest.mark.parametrize("out", ["in", "link"])
def test_an_image_is_never_replaced_by_a_result(ask, pictures, tmp_path, out):
    (tmp_path / "link").symlink_to(pictures)
    write_rgb(pictures / "red.polyp.mask.png", np.zeros((8, 8, 3)))
    summary = ask(pictures, pictures.with_name(out), overwrite=True)
    assert [Path(each["source"]).name for each in summary.failures] == ["red.png"]
    assert "is an image that is read" in summary.failures[0]["reason"]


def test_results_beside_the_images_are_no_images(ask, pictures):
    assert ask(pictures, pictures).done == 3
    again = ask(pictures, pictures)
    assert (again.done, again.skipped, again.failures) == (0, 3, [])


@pytest.mark.slow
def test_a_run_that_was_killed_leaves_what_the_next_one_finishes(ask, pictures, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:  # as a kill does: files are there that no row tells of
        patch.setattr(ResultsJournal, "add", lambda self, rows: None)
        patch.setattr(ResultsJournal, "end", lambda self: None)
        patch.setattr(many, "write_mask_table", lambda *_: None)
        ask(pictures, tmp_path / "out")
    (tmp_path / "out" / f".{'0' * 32}.red.polyp.mask.png").write_bytes(b"half")
    (tmp_path / "out" / f".{'0' * 32}.mine.png").write_bytes(b"mine")
    (tmp_path / "out" / "green.polyp.mask.png").unlink()
    summary = ask(pictures, tmp_path / "out")
    assert (summary.done, summary.failures) == (3, [])
    assert not (tmp_path / "out" / f".{'0' * 32}.red.polyp.mask.png").exists()
    assert (tmp_path / "out" / f".{'0' * 32}.mine.png").exists()
    assert ask(pictures, tmp_path / "out").skipped == 3


def test_an_image_with_too_long_a_name_is_told_and_stops_no_other(ask, pictures, tmp_path):
    long = shutil.copy(pictures / "red.png", pictures / f"{'a' * 236}.png")
    for options in ({}, {"overwrite": True}):
        summary = ask(pictures, tmp_path / "out", "left lung", **options)
        assert summary.done == 3
        (failure,) = summary.failures
        assert failure["source"] == str(long)
        assert failure["reason"].endswith("the name of this result is too long; give the image a shorter name.")
    fitting = long.rename(pictures / f"{'a' * 230}.png")
    assert ask(fitting, tmp_path / "out", "left lung").failures == []


def test_what_is_given_may_be_too_long_for_a_name(ask, pictures, tmp_path):
    summary = ask([pictures, "a" * 300], tmp_path / "out")
    assert (summary.done, [each["source"] for each in summary.failures]) == (3, ["a" * 300])
    assert "no such file or folder" in summary.failures[0]["reason"]


def test_a_missing_mask_is_made_again(ask, pictures, tmp_path):
    ask(pictures, tmp_path / "out")
    (tmp_path / "out" / "red.polyp.mask.png").unlink()
    summary = ask(pictures, tmp_path / "out")
    assert (summary.done, summary.skipped, summary.failures) == (1, 2, [])


def test_a_fault_of_ours_in_one_image_is_told_and_stops_no_other(ask, pictures, tmp_path, monkeypatch):
    from vesalius.segmenting import one_image

    def stumble(path, slices, masks):
        if "red" in path.name:
            raise ZeroDivisionError("no")
        path.write_bytes(b"drawn")

    monkeypatch.setattr(one_image, "write_overview", stumble)
    summary = ask(pictures, tmp_path / "out")
    assert summary.done == 2
    assert "unexpected ZeroDivisionError (no): a fault of Vesalius" in summary.failures[0]["reason"]
    monkeypatch.undo()
    assert ask(pictures, tmp_path / "out").done == 1  # its mask was written before the fault


def test_volumes_are_in_millilitres_and_label_maps_on_their_grid(ask, tmp_path):
    values = np.random.default_rng(0).random((10, 12, 4)).astype(np.float32)
    affine = np.array([[0, -2, 0, 9], [-2, 0, 0, 9], [0, 0, 5, 0], [0, 0, 0, 1.0]])
    nib.save(nib.Nifti1Image(values, affine), tmp_path / "v.nii.gz")
    summary = ask(tmp_path / "v.nii.gz", tmp_path / "out", rules=MaskRules(0.2, labels=True))
    labels = nib.load(tmp_path / "out" / "v.labels.nii.gz")
    np.testing.assert_allclose(labels.affine, affine)
    found = np.asarray(labels.dataobj)
    assert found.shape == (10, 12, 4)
    assert found.any()
    for row, number in zip(summary.rows, (1, 2), strict=True):
        assert (row["label"], row["mask"], row["slices"]) == (number, "v.labels.nii.gz", 4)
        assert row["volume_ml"] == pytest.approx((found == number).sum() * 20 / 1000)
        assert row["slices_marked"] == (found == number).any(axis=(0, 1)).sum()
    assert len(json.loads((tmp_path / "out" / SEGMENTATIONS.name).read_text())["results"]) == 2


@pytest.mark.slow
def test_numbered_pictures_are_one_series_unless_taken_one_by_one(ask, tmp_path):
    for number in range(4):
        write_rgb(tmp_path / "in" / f"{number}.png", np.random.default_rng(number).random((8, 8, 3)))
    (row, _) = ask(tmp_path / "in", tmp_path / "whole").rows
    assert (row["slices"], row["stem"]) == (4, "in")
    assert "--each takes all one by one" in row["notices"][0]
    assert ask(tmp_path / "in", tmp_path / "alone", each=True).done == 4


def test_other_stacks_of_a_series_are_told(ask, write_echoes, tmp_path):
    (row, _) = ask(write_echoes(tmp_path / "in" / "echoes").parent, tmp_path / "out").rows
    assert row["slices"] == 3
    assert "the largest of 2 stacks is taken: 1 (axial, 3 slices of 16×20" in row["notices"][0]


def test_a_chosen_series_is_done_however_its_results_lie_beside_it(ask, write_echoes, tmp_path):
    folder = write_echoes(tmp_path / "two" / "echoes").parent
    shutil.copy(get_testdata_file("MR_small.dcm", download=False), folder / "mr.dcm")
    for paths, done in ((folder, 1), (folder, 0), ([folder, folder], 0)):
        summary = ask(paths, folder / "out", choices=Choices("1.2.3"))
        assert (summary.done, summary.skipped, summary.failures) == (done, 1 - done, [])
    (folder / "echoes" / "1.dcm").unlink()
    (failure,) = ask(folder, folder / "out", choices=Choices("1.2.3")).failures
    assert "was made before" in failure["reason"]
    (failure,) = ask(folder, folder / "out", choices=Choices("7")).failures
    assert "other settings" in failure["reason"]


def test_patterns_are_taken_as_a_shell_does(ask, pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    summary = ask([f"in{os.sep}*e*.png", "in/red.png"], tmp_path / "out")
    assert summary.done == 3  # none twice
    with pytest.raises(ImageError, match="no file or folder has such a name"):
        ask("in/*.tif", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_table_may_be_elsewhere_and_parquet(ask, pictures, tmp_path):
    import pyarrow.parquet as pq

    table = tmp_path / "t.parquet"
    ask(pictures, tmp_path / "out", table=table)
    found = pq.read_table(table).to_pydict()
    assert (len(found["source"]), found["known"], found["label"]) == (6, [True] * 6, [None] * 6)
    assert ask(pictures, tmp_path / "out", table=table).skipped == 3  # ours may be written anew
    with pytest.raises(ConfigError, match=r"\.csv or \.parquet"):
        ask(pictures, tmp_path / "out", table=tmp_path / "t.xlsx")


def test_a_parquet_table_without_pyarrow_is_refused_before_anything_is_segmented(ask, pictures, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'vesalius\[archive\]'"):
        ask(pictures, tmp_path / "out", table=tmp_path / "t.parquet")
    assert not (tmp_path / "out").exists()


def test_what_users_and_files_say_is_no_formula_in_the_table(tmp_path):
    write_mask_table(tmp_path / "t.csv", [{"image": "@x.png", "prompt": "=1+1", "share": -0.5}])
    (row,) = read_rows(tmp_path / "t.csv")
    assert (row["source"], row["phrase"], row["share_marked"]) == ("'@x.png", "'=1+1", "-0.5")


def test_a_series_that_joins_another_in_its_folder_leaves_the_results_of_that(ask, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    shutil.copy(get_testdata_file("CT_small.dcm", download=False), flat / "b.dcm")
    ask(flat, tmp_path / "out")
    shutil.copy(get_testdata_file("MR_small.dcm", download=False), flat / "a.dcm")
    summary = ask(flat, tmp_path / "out")
    assert (summary.done, summary.skipped, summary.failures) == (1, 1, [])
    assert {row["source"] for row in read_rows(summary.table)} == {str(flat), str(flat / "a.dcm")}
    (flat / "b.dcm").unlink()
    summary = ask(flat, tmp_path / "out")
    assert (summary.done, summary.skipped) == (0, 1)
    assert {str(row["image"]) for row in summary.rows} == {str(flat / "a.dcm")}


def test_two_runs_do_not_write_one_folder_at_once(ask, pictures, tmp_path):
    with (
        alone(tmp_path / "out", "segment", SEGMENTATIONS.lock),
        pytest.raises(OutputError, match="another vesalius segment writes there"),
    ):
        ask(pictures, tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"jobs": 0}, ConfigError, "--jobs"),
        ({"rules": MaskRules(2)}, ConfigError, "--threshold"),
        ({"model": "pokcet"}, ModelError, "Did you mean 'pocket'"),
    ],
)
def test_what_is_wrong_for_all_images_is_told_before_anything_is_written(ask, pictures, tmp_path, options, error, told):
    with pytest.raises(error, match=told):
        ask(pictures, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


class Pool:
    """Breaks as one of processes does when it is given the image `red`."""

    def __init__(self, *_, **__):
        self.broken = False

    def submit(self, do, work, item, *_):
        if self.broken:
            raise BrokenProcessPool
        done: Future[processes.Outcome] = Future()
        self.broken = item.stem == "red"
        if self.broken:
            done.set_exception(BrokenProcessPool())
        else:
            done.set_result(do(work, item, *_))
        return done

    def shutdown(self, **_):
        pass


@pytest.mark.slow
def test_an_image_that_ends_its_process_fails_alone(ask, pictures, tmp_path, monkeypatch):
    for number in range(4):
        write_rgb(pictures / f"z{'abcd'[number]}.png", np.random.default_rng(number).random((8, 8, 3)))
    monkeypatch.setattr(processes, "ProcessPoolExecutor", Pool)
    summary = ask(pictures, tmp_path / "out", jobs=2)
    assert summary.done == 6
    (failure,) = summary.failures
    assert failure["source"].endswith("red.png")
    assert "its process was ended from outside" in failure["reason"]


@pytest.mark.slow
def test_several_processes_write_what_one_does(ask, pictures, tmp_path):
    ask(pictures, tmp_path / "one")
    assert ask(pictures, tmp_path / "two", jobs=2).done == 3
    for path in (tmp_path / "one").glob("*.png"):
        assert (tmp_path / "two" / path.name).read_bytes() == path.read_bytes()
