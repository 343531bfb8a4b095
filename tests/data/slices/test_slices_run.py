import json
import shutil

import pytest
import torch
from tiny_body import write_meta

from vesalius.data.prepare.splitting import SplitConfig
from vesalius.data.slices import CutSettings, cut_slices, find_volumes
from vesalius.data.slices.dataset import AnatomySlices
from vesalius.data.slices.table import read_slice_table
from vesalius.errors import DataError, OutputError, VesaliusError

pytestmark = pytest.mark.filterwarnings("ignore::vesalius.errors.ImageNotice")  # units of CT are guessed

SMALL = CutSettings(per_plane=2, size=32)


@pytest.fixture
def source(write_subject):
    """Two subjects, one for training and one for testing."""
    folder = write_subject()
    write_subject("s0002")
    write_meta(folder, "s0001;60;train", "s0002;61;test")
    return folder


def make(source, dest, settings=SMALL, split=None, **options):
    return cut_slices(find_volumes(source), dest, settings, split or SplitConfig(), **options)


@pytest.mark.slow
def test_the_folder_reads_back_as_tensors_labels_and_patients(source, tmp_path):
    report = make(source, tmp_path / "out")
    assert (report.volumes, report.resumed, len(report.rows)) == (2, 0, 12)
    train = AnatomySlices(tmp_path / "out", "train")
    assert len(train) == 6
    sample = train[0]
    assert sample.image.shape == (3, 32, 32)
    assert sample.image.dtype == torch.float32
    assert 0 <= sample.image.min() < sample.image.max() <= 1
    assert sample.patient == "s0001"
    assert sample.label == report.rows[0].label
    assert len(AnatomySlices(tmp_path / "out")) == 12
    assert {row.patient for row in AnatomySlices(tmp_path / "out", "test").rows} == {"s0002"}


def test_no_patient_is_in_two_splits(source, tmp_path):
    splits: dict[str, set[str]] = {}
    for row in make(source, tmp_path / "out").rows:
        splits.setdefault(row.patient, set()).add(row.split)
    assert all(len(each) == 1 for each in splits.values())


def test_a_second_run_does_nothing_and_gives_the_same(source, tmp_path):
    first = make(source, tmp_path / "out")
    table = (tmp_path / "out/slices.jsonl").read_bytes()
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/slices").iterdir()}
    again = make(source, tmp_path / "out")
    assert again.resumed == 2
    assert again.rows == first.rows
    assert (tmp_path / "out/slices.jsonl").read_bytes() == table
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out/slices").iterdir()} == times


@pytest.mark.slow
def test_a_lost_picture_a_changed_file_or_other_settings_are_cut_again(source, tmp_path):
    out = tmp_path / "out"
    first = make(source, out)
    (out / first.rows[0].file).unlink()
    assert make(source, out).resumed == 1
    mask = source / "s0002/segmentations/liver.nii.gz"
    mask.write_bytes(mask.read_bytes() + b"\0")
    assert make(source, out).resumed == 1
    with pytest.raises(OutputError, match=r"settings\.per_plane was 2, is 1.*--overwrite"):
        make(source, out, CutSettings(per_plane=1, size=32))
    fewer = make(source, out, CutSettings(per_plane=1, size=32), overwrite=True)
    assert fewer.resumed == 0
    assert len(list((out / "slices").iterdir())) == len(fewer.rows) == 6, "what is not wanted any more is gone"


def test_a_header_that_is_corrected_is_noticed(source, tmp_path):
    (source / "series.toml").write_text('[[series]]\npath = "s0001/ct.nii.gz"\nstations = ["chest"]\n')
    header = source / "s0001/ct.json"
    for label in ("CT", "MR"):
        header.write_text(json.dumps({"Modality": label}))
        report = make(source / "series.toml", tmp_path / "out")
        assert {row.label.modality for row in report.rows} == {label}
    assert make(source / "series.toml", tmp_path / "out").resumed == 1
    header.unlink()
    assert {row.label.modality for row in make(source / "series.toml", tmp_path / "out").rows} == {"CT"}


@pytest.mark.slow
def test_a_second_volume_is_added_and_the_first_one_stays(source, tmp_path):
    out, other = tmp_path / "out", tmp_path / "more"
    first = make(source, out)
    shutil.copytree(source / "s0001", other / "t0001")
    both = make(other, out)
    assert (both.volumes, both.kept, len(both.rows)) == (1, 12, 18)
    assert {row.volume for row in AnatomySlices(out).rows} == {"s0001", "s0002", "t0001"}
    assert all((out / row.file).is_file() for row in both.rows)
    assert [row for row in both.rows if row.volume != "t0001"] == list(first.rows)
    assert make(other, out).resumed == 1
    assert make(source, out).kept == 6
    assert make(other, out, overwrite=True).kept == 0
    assert {row.volume for row in AnatomySlices(out).rows} == {"t0001"}
    assert len(list((out / "slices").iterdir())) == 6


def test_a_run_that_ended_before_its_first_volume_goes_on(source, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("vesalius.data.slices.run._cut_volume", stop)
        with pytest.raises(KeyboardInterrupt):
            make(source, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["made.json"]
    assert make(source, tmp_path / "out").volumes == 2


def test_a_volume_does_not_take_the_place_of_another_of_its_name(source, tmp_path):
    make(source, tmp_path / "out")
    shutil.copytree(source / "s0001", tmp_path / "more/s0001")
    with pytest.raises(DataError, match=r"more/s0001/ct.nii.gz would take the place of .*s0001/ct.nii.gz"):
        make(tmp_path / "more", tmp_path / "out")


def test_a_patient_added_to_another_split_is_refused(source, tmp_path):
    make(source, tmp_path / "out")
    shutil.copytree(source / "s0001", tmp_path / "more/t0001")
    (tmp_path / "more/meta.csv").write_text("image_id;patient_id;split\nt0001;s0001;test\n")
    with pytest.raises(DataError, match="patient s0001 is in two splits"):
        make(tmp_path / "more", tmp_path / "out")


def test_a_subject_that_cannot_be_read_is_left_out_and_named(source, tmp_path):
    (source / "s0001/ct.nii.gz").write_bytes(b"no volume")
    report = make(source, tmp_path / "out")
    assert report.volumes == 1
    assert "s0001" in str(report.problems[0])
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["splits"]["test"] == {"slices": 6, "patients": 1}
    assert len(summary["problems"]) == 1
    (source / "s0002/ct.nii.gz").write_bytes(b"no volume")
    with pytest.raises(DataError, match="nothing could be cut. The first of 2 problems"):
        make(source, tmp_path / "other")


def test_a_folder_that_is_used_otherwise_is_not_touched(source, tmp_path):
    with pytest.raises(DataError, match="holds files that are no slices"):
        make(source, source)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is a file"):
        make(source, tmp_path / "file")


DAMAGED = {
    "no JSON": ("{", "line 1: is not JSON"),
    "a list": ("[]", "expected an object, got list"),
    "a field missing": ('{"file": "a.png"}', "line 1: is no row of slices.jsonl"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_table_is_named_with_its_line(tmp_path, case):
    text, message = DAMAGED[case]
    (tmp_path / "slices.jsonl").write_text(text)
    with pytest.raises(DataError, match=message):
        read_slice_table(tmp_path)


def test_wrong_rows_unknown_labels_and_paths_outside_are_refused(source, tmp_path):
    row = make(source, tmp_path / "out").rows[0].to_dict()
    changes = [{"file": "../a.png"}, {"file": "/a.png"}, {"organs": ["nose"]}, {"organs": "liver"}, {"plane": 3}]
    for change in changes:
        (tmp_path / "slices.jsonl").write_text(json.dumps({**row, **change}))
        with pytest.raises(VesaliusError, match="line 1: "):
            read_slice_table(tmp_path)


def test_a_missing_table_and_a_split_without_slices_are_told(source, tmp_path):
    with pytest.raises(DataError, match="expected what 'vesalius data slices' writes"):
        AnatomySlices(tmp_path)
    make(source, tmp_path / "out")
    with pytest.raises(DataError, match="has no slice of split 'val'; there is test, train"):
        AnatomySlices(tmp_path / "out", "val")
