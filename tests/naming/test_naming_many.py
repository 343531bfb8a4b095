"""Many series: the record, going on after a stop, processes, and what lies in memory."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom.data import get_testdata_file

from vesalius.errors import ModelError, OutputError
from vesalius.files import sha256_of
from vesalius.imaging import write_rgb
from vesalius.imaging.read import NO_CHOICES, Choices
from vesalius.imaging.search import find_series
from vesalius.journal import ResultsJournal, alone
from vesalius.models.checkpoint_file import find_checkpoint
from vesalius.models.checkpoints import save_model
from vesalius.naming import many
from vesalius.naming.many import NamingRequest, name_many
from vesalius.records import NAMES, SEGMENTATIONS, write_record


@pytest.fixture(scope="module")
def tiny_model(build_tiny, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("weights") / "pocket.safetensors"
    save_model(build_tiny("pocket"), path, {"naming": {"threshold": 0.0}})
    return str(path)


@pytest.fixture
def pictures(tmp_path) -> Path:
    for place, name in enumerate(("red", "green", "blue")):
        write_rgb(tmp_path / "in" / f"{name}.png", np.random.default_rng(place).random((24, 30, 3)))
    return tmp_path / "in"


@pytest.fixture
def ask(tiny_model, pictures, tmp_path):
    """Name the folder's pictures."""

    def ask(folder=pictures, strip=None, model=tiny_model, choices=NO_CHOICES, **options):
        weights = sha256_of(find_checkpoint(model, "name"))
        request = NamingRequest(folder, model, strip=strip, weights=weights, choices=choices)
        out = options.pop("out", tmp_path / "names.record")
        return name_many(find_series(folder, request.choices), request, out, **options)

    return ask


@pytest.mark.slow
def test_each_series_has_a_file_and_stands_in_the_record(ask, tmp_path):
    run = ask()
    assert (run.done, run.skipped, run.failures, len(run.series)) == (3, 0, [], 3)
    files = {path.name for path in (tmp_path / "names.record").glob("*.json")}
    assert files == {"red.json", "green.json", "blue.json", NAMES.name}
    assert [each.source.name for each in run.series] == ["blue.png", "green.png", "red.png"]
    assert list(run.series)[0].to_dict() == list(run.series)[0].to_dict()  # it may be gone through again


@pytest.mark.parametrize("name", ["../victim.txt", "away/victim.txt", "."])
def test_a_record_that_names_a_file_outside_deletes_nothing_there(tmp_path, name):
    folder, victim = tmp_path / "out", tmp_path / "victim.txt"
    folder.mkdir()
    (folder / "away").symlink_to(tmp_path)
    victim.write_text("precious")
    for own in ("a.json", "b.json"):
        (folder / own).touch()
    names = ["a.json", name, "b.json"]
    write_record(folder, {"results": [{"image": "a.png", "names": each} for each in names]}, NAMES)
    ResultsJournal(folder, NAMES).clear()
    assert victim.read_text() == "precious"
    assert not (folder / "a.json").exists()
    assert not (folder / "b.json").exists()


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_and_ends_as_one_that_was_not(ask, tmp_path, monkeypatch):
    whole = [each.to_dict() for each in ask(out=tmp_path / "whole").series]
    with monkeypatch.context() as patch:  # as a kill does: a file is there that no row tells of
        add, left = ResultsJournal.add, [1]
        patch.setattr(ResultsJournal, "add", lambda self, rows: add(self, rows) if left and left.pop() else None)
        patch.setattr(ResultsJournal, "end", ResultsJournal._write)
        ask()
    (tmp_path / "names.record" / f".{'0' * 32}.red.json").write_text("half")
    run = ask()
    assert (run.done, run.skipped, run.failures) == (2, 1, [])
    assert not list((tmp_path / "names.record").glob(".*.red.json"))
    assert [each.to_dict() for each in run.series] == whole


def test_a_series_with_too_long_a_name_is_told_and_stops_no_other(ask, pictures, tmp_path):
    long = shutil.copy(pictures / "red.png", pictures / f"{'a' * 236}.png")
    run = ask(strip=tmp_path / "a-strip-of-slices.png")
    assert run.done == 3
    (failure,) = run.failures
    assert failure["source"] == str(long)
    assert failure["reason"].endswith("the name of this result is too long; give the image a shorter name.")
    run = ask(out=tmp_path / "others.record")
    assert (run.done, run.failures) == (4, [])


def test_a_series_that_changed_is_named_anew(ask, pictures):
    ask()
    write_rgb(pictures / "red.png", np.random.default_rng(9).random((30, 30, 3)))
    run = ask()
    assert (run.done, run.skipped, run.failures) == (1, 2, [])


def test_names_of_a_chosen_series_are_not_taken_for_those_of_another(ask, tmp_path):
    for name in ("CT_small.dcm", "MR_small.dcm"):
        (tmp_path / "two").mkdir(exist_ok=True)
        shutil.copy(get_testdata_file(name, download=False), tmp_path / "two" / name)
    run = ask(tmp_path / "two", choices=Choices("1"))
    assert [each.modality.label for each in run.series] == ["CT"]
    assert ask(tmp_path / "two", choices=Choices("1")).skipped == 1
    with pytest.raises(OutputError, match='series was "1", is "2"'):
        ask(tmp_path / "two", choices=Choices("2"))
    with pytest.raises(OutputError, match='series was "1", is not given'):
        ask(tmp_path / "two")


def test_a_missing_or_damaged_file_is_told_or_made_again(ask, tmp_path):
    ask()
    (tmp_path / "names.record" / "red.json").unlink()
    assert ask().done == 1
    (tmp_path / "names.record" / "red.json").write_text('{"source": "x"}')
    with pytest.raises(OutputError, match=r"red\.json: holds no names of ours; remove it"):
        list(ask().series)


@pytest.mark.slow
def test_strips_are_drawn_once_and_are_no_series(ask, pictures):
    strip = pictures / "strip.png"
    assert [path.name for path in ask(strip=strip).written] == ["strip.blue.png", "strip.green.png", "strip.red.png"]
    again = ask(strip=strip)
    assert (again.done, again.skipped, again.written) == (0, 3, [])
    (pictures / "strip.red.png").unlink()
    assert [path.name for path in ask(strip=strip).written] == ["strip.red.png"]


def test_what_earlier_runs_wrote_into_the_folder_is_no_series(ask, pictures, tmp_path):
    ask(out=pictures / "names.record", strip=pictures / "strip.png")
    write_rgb(pictures / "seg/red.polyp.mask.png", np.zeros((24, 30, 3)))
    write_record(
        pictures / "seg",
        {"results": [{"image": "red.png", "prompt": "a", "mask": "red.polyp.mask.png"}]},
        SEGMENTATIONS,
    )
    assert len(list(pictures.rglob("*.png"))) == 7
    run = ask(out=tmp_path / "other.record")
    assert [each.source.name for each in run.series] == ["blue.png", "green.png", "red.png"]


def test_the_same_folder_by_another_spelling_goes_on(ask, pictures):
    ask()
    assert ask(folder=pictures / "../in").skipped == 3


def test_a_header_that_was_added_or_changed_counts_as_a_change_of_its_volume(ask, tmp_path):
    folder = tmp_path / "volumes"
    folder.mkdir()
    for name in "ab":
        nib.save(nib.Nifti1Image(np.zeros((8, 8, 3), np.int16), np.eye(4)), folder / f"{name}.nii.gz")
    ask(folder)
    for modality in ("MR", "PT", "CT"):
        (folder / "b.json").write_text(f'{{"Modality": "{modality}"}}')
        run = ask(folder)
        assert (run.done, run.skipped) == (1, 1)
    assert [each.modality.label for each in run.series][1] == "CT"


def test_a_series_that_joins_another_in_its_folder_leaves_the_names_of_that(ask, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    shutil.copy(get_testdata_file("CT_small.dcm", download=False), flat / "b.dcm")
    record = tmp_path / "names.record"
    write_rgb(flat / "z.png", np.zeros((24, 30, 3)))
    ask(flat)
    shutil.copy(get_testdata_file("MR_small.dcm", download=False), flat / "a.dcm")
    run = ask(flat)
    assert (run.done, run.skipped, len(run.series)) == (1, 2, 3)
    assert sorted(path.name for path in record.glob("*.json")) == ["a.json", "flat.json", NAMES.name, "z.json"]


@pytest.mark.slow
def test_strips_asked_for_later_are_drawn(ask, tmp_path):
    ask()
    run = ask(strip=tmp_path / "s.png")
    assert (run.done, len(run.written)) == (3, 3)


@pytest.mark.slow
def test_a_strip_of_unknown_origin_is_not_replaced(ask, tmp_path):
    (tmp_path / "s.red.png").write_bytes(b"precious")
    with pytest.raises(OutputError, match=r"s\.red\.png: there already"):
        ask(strip=tmp_path / "s.png")
    ask(strip=tmp_path / "s.png", overwrite=True)
    assert (tmp_path / "s.red.png").read_bytes() != b"precious"


@pytest.mark.slow
def test_overwriting_removes_no_file_outside_the_record(ask, tmp_path):
    ask(strip=tmp_path / "s.png")
    ask(overwrite=True)
    assert (tmp_path / "s.red.png").exists()


def test_one_that_fails_stops_no_other_and_is_tried_again(ask, pictures):
    (pictures / "green.png").write_bytes(b"no picture")
    run = ask()
    assert [each["source"] for each in run.failures] == [str(pictures / "green.png")]
    assert [each.source.name for each in run.series] == ["blue.png", "red.png"]
    write_rgb(pictures / "green.png", np.random.default_rng(4).random((24, 30, 3)))
    run = ask()
    assert (run.done, run.skipped, run.failures) == (1, 2, [])


def test_one_that_fails_after_it_was_named_leaves_no_stale_names(ask, pictures):
    ask()
    (pictures / "green.png").write_bytes(b"no picture")
    run = ask()
    assert [each.source.name for each in run.series] == ["blue.png", "red.png"]
    assert len(run.failures) == 1


def test_two_runs_do_not_write_one_record_at_once(ask, tmp_path):
    with (
        alone(tmp_path / "names.record", "name", NAMES.lock),
        pytest.raises(OutputError, match="another vesalius name writes there"),
    ):
        ask()


def test_no_model_is_told_before_anything_is_written(ask, tmp_path):
    with pytest.raises(ModelError, match="Did you mean 'pocket'"):
        ask(model="pokcet")
    assert not (tmp_path / "names.record").exists()


def test_names_are_not_kept_in_memory(ask, monkeypatch):
    """Each is read from its file when its turn comes."""
    reads = []
    monkeypatch.setattr(many, "read_json", lambda path: reads.append(path.name) or json.loads(path.read_text()))
    series = iter(ask().series)
    next(series)
    assert reads == ["blue.json"]


def test_names_are_told_of_the_path_that_was_given_now(ask, pictures, monkeypatch):
    ask()
    monkeypatch.chdir(pictures.parent)
    request = NamingRequest(pictures, "", weights="")
    run = ask(folder=Path("in"))
    assert [str(each.source) for each in run.series] == ["in/blue.png", "in/green.png", "in/red.png"]
    assert replace(request, strip=Path("s.png")).strip_of("a") == pictures.parent / "s.a.png"


@pytest.mark.slow
def test_several_processes_name_what_one_does(ask, tmp_path):
    one = [each.to_dict() for each in ask(out=tmp_path / "one").series]
    run = ask(out=tmp_path / "two", jobs=2)
    assert (run.done, [each.to_dict() for each in run.series]) == (3, one)
