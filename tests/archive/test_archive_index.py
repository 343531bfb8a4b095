"""An index follows its archive: what is new is encoded once, what left is gone, and a killed run loses nothing."""

import os
import shutil
import signal
import sqlite3
import sys
import warnings
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from filelock import FileLock

from vesalius.archive import encoding, indexing
from vesalius.archive.encoding import hash_slice
from vesalius.archive.facts import IndexFacts
from vesalius.archive.index import DATABASE, FILES, LABELS, VECTORS, ArchiveIndex
from vesalius.archive.indexing import LOCK, update_index
from vesalius.errors import ConfigError, DataError, ModelError, OutputError


def paths_of(folder):
    """Where each slice lies -> its vector's last number, which tells its brightness."""
    with ArchiveIndex.open(folder) as index:
        dead = set(index.holes().tolist())
        return {
            (each.place.file, each.place.stack, each.place.slice): level
            for row, level in enumerate(index.vectors()[:, -1].tolist())
            if row not in dead
            for each in index.places(row)
        }


def test_pictures_volumes_and_series_are_indexed_slice_by_slice(archive, write_picture, write_mr, reindex, namer):
    write_picture("a/hand.png", 40)
    volume = np.full((8, 8, 3), (50, 100, 150), np.int16)
    volume[:, 0], volume[:, -1] = 0, 200
    nib.save(nib.Nifti1Image(volume, np.diag([-1.0, -1.0, 1.0, 1.0])), archive / "volume.nii.gz")
    write_mr("knee/1.dcm", 160, 1)
    write_mr("knee/2.dcm", 164, 2)
    (archive / "notes.txt").write_text("not an image")
    report = reindex()
    assert (report.series, report.places, report.slices, report.files) == (3, 6, 6, 4)
    assert (report.read, report.encoded, report.not_images, report.failures) == (3, 6, 1, [])
    assert namer.seen == 6


def test_nothing_is_read_again_that_did_not_change(write_picture, reindex, namer):
    write_picture("hand.png", 40)
    reindex()
    report = reindex()
    assert (report.read, report.encoded, report.slices) == (0, 0, 1)
    assert namer.seen == 1


def test_a_changed_file_is_encoded_and_a_removed_one_leaves(write_picture, reindex, folder, namer):
    changed, removed = write_picture("changed.png", 40), write_picture("removed.png", 80)
    write_picture("kept.png", 120)
    reindex()
    write_picture("changed.png", 200)
    os.utime(changed, ns=(1, 1))
    removed.unlink()
    report = reindex()
    assert (report.read, report.encoded, report.dropped, report.slices) == (1, 1, 2, 2)
    assert {path for path, _, _ in paths_of(folder)} == {"changed.png", "kept.png"}


def test_rows_of_slices_that_left_are_used_again(write_picture, reindex, folder):
    write_picture("a.png", 40)
    gone = write_picture("b.png", 80)
    reindex()
    gone.unlink()
    reindex()
    write_picture("c.png", 120)
    reindex()
    with ArchiveIndex.open(folder) as index:
        assert (index.rows, index.holes().tolist()) == (2, [])
    assert {path for path, _, _ in paths_of(folder)} == {"a.png", "c.png"}


def test_a_slice_that_lies_in_two_files_is_one_entry_with_two_places(archive, write_picture, reindex, folder, namer):
    first = write_picture("a/hand.png", 40)
    shutil.copy(first, archive / "copy.png")
    report = reindex()
    assert (report.slices, report.places, namer.seen) == (1, 2, 1)
    with ArchiveIndex.open(folder) as index:
        assert [each.place.file for each in index.places(0)] == ["a/hand.png", "copy.png"]
    first.unlink()
    report = reindex()
    assert (report.slices, report.places, report.dropped) == (1, 1, 0)


def test_a_file_that_was_only_touched_is_not_encoded_again(write_picture, reindex, namer):
    os.utime(write_picture("hand.png", 40), ns=(1, 1))
    reindex()
    os.utime(write_picture("hand.png", 40), ns=(2, 2))
    report = reindex()
    assert (report.read, report.encoded, namer.seen) == (1, 0, 1)


def test_slices_that_arrive_late_join_their_series(write_mr, reindex, folder):
    write_mr("knee/1.dcm", 160, 1)
    write_mr("knee/3.dcm", 164, 3)
    reindex()
    write_mr("later/2.dcm", 162, 2)
    report = reindex()
    assert (report.series, report.places, report.slices) == (1, 3, 3)
    numbers = {path: number for path, _, number in paths_of(folder)}
    assert numbers == {"knee/3.dcm": 1, "later/2.dcm": 2, "knee/1.dcm": 3}  # from left to right; LPS grows to the left


def test_copies_of_a_series_keep_their_places(archive, write_mr, reindex, folder):
    for number in (1, 2):
        write_mr(f"knee/{number}.dcm", 150 + number, number)
    shutil.copytree(archive / "knee", archive / "copy")
    report = reindex()
    assert (report.series, report.slices, report.places, report.files) == (2, 2, 4, 4)
    assert {path for path, _, _ in paths_of(folder)} == {f"{home}/{n}.dcm" for home in ("knee", "copy") for n in (1, 2)}
    write_mr("later/3.dcm", 153, 3)
    report = reindex()
    assert (report.series, report.places, report.files) == (2, 5, 5)


def test_what_has_no_series_uid_belongs_to_its_own_folder_alone(write_mr, reindex, folder):
    for home in ("a", "b"):
        write_mr(f"{home}/1.dcm", 150, 1, SeriesInstanceUID="")
        write_mr(f"{home}/2.dcm", 160, 2, SeriesInstanceUID="")
    assert reindex().series == 2
    assert len(paths_of(folder)) == 4


def test_a_killed_run_goes_on_where_it_was(write_picture, reindex, folder, namer, monkeypatch):
    monkeypatch.setattr(indexing, "AT_MOST_LOST", 2)
    monkeypatch.setattr(encoding, "AT_ONCE", 1)
    for number in range(9):
        write_picture(f"{number}.png", 20 * number)
    namer.patience = 5
    with pytest.raises(KeyboardInterrupt):
        reindex()
    namer.patience, namer.seen = None, 0
    report = reindex()
    assert report.encoded == namer.seen == 5  # of nine, four were on disk
    killed = paths_of(folder)
    shutil.rmtree(folder)
    reindex()
    assert killed == paths_of(folder)
    assert len(killed) == 9


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.parametrize("writes", [1, 2, 3, 6])
def test_a_run_that_is_killed_while_it_writes_leaves_a_sound_index(write_picture, reindex, folder, monkeypatch, writes):
    monkeypatch.setattr(indexing, "AT_MOST_LOST", 2)
    monkeypatch.setattr(encoding, "AT_ONCE", 1)
    for number in range(9):
        write_picture(f"{number}.png", 20 * number)
    die_after(writes, os, "fsync", reindex)
    with ArchiveIndex.open(folder) as index:
        assert index.counts()["slices"] == 2 * ((writes - 1) // 2)  # two arrays are synced before each commit
    reindex()
    killed = paths_of(folder)
    shutil.rmtree(folder)
    reindex()
    assert killed == paths_of(folder)


def die_after(number, owner, name, step):
    """Do a step in a process that is killed (SIGKILL) when it has called a function so often."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks with threads
        child = os.fork()
    if child:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        return
    function, calls = getattr(owner, name), []

    def counting(*arguments, **options):
        answer = function(*arguments, **options)
        calls.append(arguments)
        if len(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(owner, name, counting)
    try:
        step()
    finally:
        os._exit(1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_headers_that_a_killed_run_read_are_not_read_again(archive, write_mr, reindex, folder, monkeypatch):
    monkeypatch.setattr(indexing, "HEADERS_AT_ONCE", 2)
    for number in range(1, 6):
        write_mr(f"{number}.dcm", 150 + number, number)
    (archive / "6.txt").write_text("not an image")
    die_after(3, indexing, "group_files", reindex)  # before the third part is on disk
    read = []
    group = indexing.group_files
    monkeypatch.setattr(indexing, "group_files", lambda files, each: read.extend(files) or group(files, each=each))
    told = []
    report = reindex(on_progress=lambda *step: told.append(step))
    assert [path.name for path in read] == ["5.dcm", "6.txt"]
    assert told == [("headers", 0, 2), ("series", 0, 1), ("series", 1, 1)]
    assert (report.series, report.slices, report.files, report.not_images) == (1, 5, 5, 1)
    killed = paths_of(folder)
    shutil.rmtree(folder)
    reindex()
    assert killed == paths_of(folder)


def test_an_index_that_never_remembered_headers_is_brought_up_to_date(write_picture, write_mr, reindex, folder):
    write_picture("hand.png", 40)
    reindex()
    with ArchiveIndex.open(folder, write=True) as index:
        index._database.execute("DROP TABLE waiting")
    write_mr("knee/1.dcm", 160, 1)
    assert reindex().slices == 2


def test_files_that_leave_while_they_are_listed_stop_nothing(archive, write_picture, reindex, monkeypatch):
    write_picture("hand.png", 40)
    listed = indexing.visible_files
    monkeypatch.setattr(indexing, "visible_files", lambda root, lost: [root / "gone.png", *listed(root, lost)])
    report = reindex()
    assert (report.slices, report.failures) == (1, [])


def test_what_lies_in_a_folder_that_cannot_be_listed_is_kept(
    archive, write_picture, write_mr, reindex, folder, monkeypatch, lock_folder
):
    for number in (1, 2):
        write_mr(f"{'ab'[number - 1]}/{number}.dcm", 150 + number, number)
    write_picture("b/deep/hand.png", 40)
    write_picture("a/chest.png", 80)
    reindex()
    before = paths_of(folder)
    lock_folder(archive / "b")
    write_mr("late/3.dcm", 153, 3)  # of the series that lies in both
    write_picture("a/foot.png", 160)
    report = reindex()
    assert [each["source"] for each in report.failures] == ["b"]
    assert "b: cannot be listed (Permission denied)" in report.failures[0]["reason"]
    during = paths_of(folder)
    assert during.pop(("a/foot.png", 1, 1))
    assert (report.dropped, during) == (0, before)
    monkeypatch.undo()
    report = reindex()
    assert (report.failures, report.places, report.series) == ([], 6, 4)


def test_an_archive_that_shows_nothing_does_not_empty_its_index(archive, write_picture, reindex, folder, encoder):
    write_picture("hand.png", 40)
    reindex()
    empty = archive.with_name("mount")
    empty.mkdir()
    with pytest.raises(DataError, match="mount: shows no file, and its index has 1; see whether it is mounted"):
        update_index(empty, folder, encoder, moved=True)
    report = reindex()
    assert (report.slices, report.read) == (1, 0)


def test_headers_are_kept_no_longer_than_their_files_wait(archive, write_mr, reindex, folder):
    write_mr("1.dcm", 160, 1)
    write_mr("cut.dcm", 160, 2, SeriesInstanceUID="1.2.3")
    (archive / "cut.dcm").write_bytes((archive / "cut.dcm").read_bytes()[:-200])
    assert [each["source"] for each in reindex().failures] == ["cut.dcm"]
    with ArchiveIndex.open(folder, write=True) as index:
        assert index.waiting() == {}


def test_a_damaged_file_stops_no_other_and_is_tried_again(archive, write_picture, reindex, folder):
    write_picture("sound.png", 40)
    (archive / "broken.png").write_bytes(b"\x89PNG and no more")
    for _ in range(2):
        report = reindex()
        assert [each["source"] for each in report.failures] == ["broken.png"]
        assert "broken.png" in report.failures[0]["reason"]
        assert report.slices == 1
    write_picture("broken.png", 80)
    assert reindex().slices == 2


def test_a_damaged_slice_is_told_and_tried_again(archive, write_mr, reindex, folder):
    whole = [write_mr(f"knee/{number}.dcm", 150 + number, number).read_bytes() for number in (1, 2, 3)]
    shutil.copy(archive / "knee" / "1.dcm", archive / "knee" / "copy.dcm")  # left out, too, and no failure
    (archive / "knee" / "2.dcm").write_bytes(whole[1][:-200])
    for _ in range(2):
        report = reindex()
        (failure,) = report.failures
        assert failure["source"] == "knee"
        assert failure["reason"].startswith("1 of 4 DICOM files left out: 2.dcm ")
        assert (report.read, report.slices, {path for path, _, _ in paths_of(folder)}) == (
            1, 2, {"knee/1.dcm", "knee/3.dcm"},
        )  # fmt: skip
    (archive / "knee" / "2.dcm").write_bytes(whole[1])
    assert (reindex().slices, reindex().read) == (3, 0)


def test_an_index_within_its_archive_is_not_indexed(archive, write_picture, encoder):
    write_picture("hand.png", 40)
    for _ in range(2):
        report = update_index(archive, archive / "index", encoder)
        assert (report.files, report.not_images) == (1, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="file names of other systems are Unicode")
def test_file_names_that_are_not_unicode_are_kept(archive, write_picture, reindex, folder):
    name = os.fsdecode(b"h\xe4nd.png")
    os.replace(write_picture("x.png", 40), archive / name)
    assert (reindex().slices, reindex().read) == (1, 0)
    assert {path for path, _, _ in paths_of(folder)} == {name}


def test_the_index_holds_nothing_that_names_the_patient(write_mr, reindex, folder):
    write_mr("knee/1.dcm", 160, 1)
    reindex()
    content = b"".join((folder / name).read_bytes() for name in FILES)
    assert b"cartilage" in content
    for secret in (b"Doe", b"Jane", b"MRN-778", b"19610102", b"20240506", b"ACC-9", b"1.2.826"):
        assert secret not in content


def test_study_dates_are_kept_if_asked_for(write_mr, reindex, folder, archive, encoder):
    write_mr("knee/1.dcm", 160, 1)
    reindex(study_date=True)
    with ArchiveIndex.open(folder) as index:
        assert [header["StudyDate"] for _, _, header in index.headers()] == ["20240506"]
    with pytest.raises(ConfigError, match=r"was made with --study-date; index into another folder"):
        reindex()


def test_another_models_index_is_refused_with_the_remedy(write_picture, reindex, archive, folder, encoder):
    write_picture("hand.png", 40)
    reindex()
    other = replace(encoder, weights="1" * 64)
    with pytest.raises(ModelError, match=r"fake of other weights \(0{12}\) .* index again into another folder"):
        update_index(archive, folder, other)


def test_a_model_that_computes_what_is_not_a_number_leaves_no_entry(write_picture, reindex, folder, namer, monkeypatch):
    write_picture("hand.png", 40)
    monkeypatch.setattr(namer, "embed_image", lambda rgb: np.full((len(rgb), len(namer.columns) + 1), np.nan))
    with pytest.raises(ModelError, match="the model's answer is not a number; its weights are damaged"):
        reindex()
    monkeypatch.undo()
    assert reindex().encoded == 1


def test_an_index_of_other_labels_is_refused_though_its_model_is_the_same(encoder, folder):
    before = IndexFacts("/archive", encoder.model, encoder.weights, encoder.width, encoder.labels[1:])
    with pytest.raises(ModelError, match="other labels than fake has now; index into another folder"):
        before.check_model(encoder, folder)


def test_another_archives_index_is_refused_unless_it_moved(write_picture, reindex, archive, folder, encoder, namer):
    write_picture("hand.png", 40)
    reindex()
    elsewhere = archive.with_name("elsewhere")
    archive.rename(elsewhere)
    with pytest.raises(ConfigError, match="say --moved"):
        update_index(elsewhere, folder, encoder)
    report = update_index(elsewhere, folder, encoder, moved=True)
    assert (report.read, namer.seen) == (0, 1)
    assert update_index(elsewhere, folder, encoder).read == 0


def test_two_runs_do_not_write_at_once(write_picture, reindex, folder):
    write_picture("hand.png", 40)
    reindex()
    with FileLock(folder / LOCK), pytest.raises(OutputError, match="another vesalius archive index writes there"):
        reindex()


def test_folders_with_other_things_are_left_alone(write_picture, reindex, folder):
    write_picture("hand.png", 40)
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"thesis.txt: is there already"):
        reindex()
    assert [each.name for each in folder.iterdir()] == ["thesis.txt"]


def test_what_is_no_index_is_said(folder):
    with (
        pytest.raises(DataError, match="holds no index; make one with: vesalius archive index"),
        ArchiveIndex.open(folder),
    ):
        pass


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / VECTORS).write_bytes(b"short"), "vectors.f16: has 5 bytes, expected"),
        (lambda folder: (folder / LABELS).unlink(), "labels.f16: has 0 bytes, expected"),
        (lambda folder: (folder / DATABASE).write_bytes(b"no database at all" * 99), "is no index of ours, or damaged"),
        (lambda folder: set_format(folder, 99), "expected format 1 of an index, got 99"),
    ],
    ids=["vectors", "labels", "database", "format"],
)
def test_damaged_indexes_are_refused(write_picture, reindex, folder, damage, message):
    write_picture("hand.png", 40)
    reindex()
    damage(folder)
    with pytest.raises(DataError, match=message), ArchiveIndex.open(folder):
        pass


def set_format(folder, version):
    database = sqlite3.connect(folder / DATABASE)
    database.execute("UPDATE facts SET value = replace(value, '\"format\": 1', ?)", (f'"format": {version}',))
    database.commit()
    database.close()


def test_headers_decide_over_pixels(write_mr, reindex, folder, encoder):
    write_mr("knee/1.dcm", 80, 1)  # looks like an axial CT of the chest to the model
    reindex()
    with ArchiveIndex.open(folder) as index:
        known = dict(zip(index.facts.labels, index.labels()[0].tolist(), strict=True))
    assert known["modality", "MR"] == 1
    assert known["modality", "CT"] == 0
    assert known["plane", "sagittal"] == 1
    assert known["protocol", "T2"] == pytest.approx(0.85, abs=1e-3)
    assert known["stations", "chest"] > 0.5


def test_pixels_of_a_slice_that_holds_one_value_tell_nothing(write_picture, reindex, folder):
    write_picture("blank.png", 80, blank=True)
    write_picture("chest.png", 80)
    reindex()
    with ArchiveIndex.open(folder) as index:
        kept = {index.places(row)[0].place.file: row for row in range(index.rows)}
        vectors, labels = np.array(index.vectors()), np.array(index.labels())
    assert not vectors[kept["blank.png"]].any()
    assert not labels[kept["blank.png"]].any()
    assert vectors[kept["chest.png"]].any()
    assert labels[kept["chest.png"]].max() > 0.5


def test_only_mr_has_a_protocol_and_only_cross_sections_a_plane(encoder):
    vector = np.zeros((1, encoder.width), np.float32)
    for pair in (("modality", "X-ray"), ("plane", "axial"), ("protocol", "T1")):
        vector[0, encoder.labels.index(pair)] = 1
    known = dict(zip(encoder.labels, encoder.label(vector, [{}], np.ones(1, np.bool_))[0].tolist(), strict=True))
    assert known["modality", "X-ray"] > 0.9
    assert max(known["plane", "axial"], known["protocol", "T1"]) < 0.01


def test_slices_have_one_key_if_the_model_is_shown_the_same():
    grey = np.full((8, 8, 3), 0.5, np.float32)
    assert hash_slice(grey) == hash_slice(grey + 1e-4)
    assert hash_slice(grey) != hash_slice(grey + 2 / 255)
