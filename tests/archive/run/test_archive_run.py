"""Archives in this process: sources, results, interruptions and failures."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from vesalius.archive import work
from vesalius.archive.listing import LocalFiles
from vesalius.archive.log import CommitLog
from vesalius.archive.read import read_masks
from vesalius.archive.request import ArchiveRequest, ShardLimits, WorkerOptions
from vesalius.archive.run import run_archive
from vesalius.archive.status import read_status
from vesalius.archive.store import ArchiveStore
from vesalius.errors import ConfigError, ImageError, ModelError, OutputError, PromptError
from vesalius.imaging.search import FoundSeries
from vesalius.predict import Predictor

pytestmark = pytest.mark.usefixtures("bright_here")


def segment(source: object, out: object, *, shard: int = 3, each: bool = False, **more):
    request = ArchiveRequest(str(source), "segment", ("square", "spot"), each=each)
    return run_archive(request, str(out), workers=0, limits=ShardLimits(shard), **more)


class TestResults:
    def test_rows_and_masks_are_the_predictor_s_own(self, pictures, tmp_path, bright, load):
        summary = segment(pictures, tmp_path / "out")
        assert (summary.done, summary.slices, summary.failures) == (7, 7, ())
        rows = load(tmp_path / "out").to_pylist()
        assert [(row["source"], row["phrase"]) for row in rows[:2]] == [("a/0.png", "spot"), ("a/0.png", "square")]
        assert len(rows) == 14
        masks = {(row["source"], row["phrase"]): mask for row, mask in read_masks(str(tmp_path / "out"))}
        for row in rows:
            answer = Predictor(bright).set_image(pictures / row["source"]).predict(row["phrase"])
            np.testing.assert_array_equal(masks[row["source"], row["phrase"]], answer.mask)
            assert (row["marked"], row["existence"]) == (answer.mask.sum(), answer.existence)
            assert (row["height"], row["width"], row["file"], row["answer"]) == (16, 16, row["source"], "asked")

    def test_slices_of_a_series_name_their_files_and_masks_lie_as_in_the_file(self, tmp_path, write_series, load):
        write_series(tmp_path / "in/ct")
        assert segment(tmp_path / "in", tmp_path / "out").slices == 4
        rows = [row for row in load(tmp_path / "out").to_pylist() if row["phrase"] == "square"]
        assert [row["file"] for row in rows] == [f"ct/s{place}.dcm" for place in (3, 2, 1, 0)]  # from the feet
        assert [row["position_mm"] for row in rows] == [-30, -20, -10, 0]
        assert {(row["source"], row["series_uid"], row["plane"], row["frame"]) for row in rows} == {
            ("ct", "1.2.3", "axial", 0)
        }
        for row, mask in read_masks(str(tmp_path / "out")):
            assert mask.shape == (16, 18)
            assert mask[:6, :6].all()
            assert not mask[10:, 10:].any()
            assert row["slice"] in (2, 3)

    def test_the_series_of_one_folder_are_told_apart_and_each_takes_files_one_by_one(
        self, tmp_path, write_series, load
    ):
        write_series(tmp_path / "in/ct")
        write_series(tmp_path / "in/ct", "1.2.4", "t")
        segment(tmp_path / "in", tmp_path / "out")
        rows = load(tmp_path / "out").to_pylist()
        assert {(row["series_uid"], row["slice"]) for row in rows} == {
            (uid, place) for uid in ("1.2.3", "1.2.4") for place in range(4)
        }
        segment(tmp_path / "in", tmp_path / "each", each=True)
        assert {row["source"] for row in load(tmp_path / "each").to_pylist()} == {
            f"ct/{prefix}{place}.dcm" for prefix in "st" for place in range(4)
        }

    def test_a_store_of_objects_holds_the_same_as_a_disk(self, pictures, tmp_path, load):
        import fsspec

        segment(pictures, tmp_path / "out")
        memory = fsspec.filesystem("memory")
        memory.put(str(pictures), f"/{tmp_path.name}/in", recursive=True)
        segment(f"memory://{tmp_path.name}/in", f"memory://{tmp_path.name}/out")
        for table in ("rows", "masks"):
            here, there = load(tmp_path / "out", table), load(f"memory://{tmp_path.name}/out", table)
            assert here.drop_columns("key").equals(there.drop_columns("key"))  # keys hold the times of files

    @pytest.mark.slow
    def test_names_are_those_of_the_labeller(self, tmp_path, pictures, load):
        from vesalius.naming import AnatomyLabeller

        run_archive(ArchiveRequest(str(pictures / "a" / "0.png"), "name"), str(tmp_path / "out"), workers=0)
        (row,) = load(tmp_path / "out").to_pylist()
        named = AnatomyLabeller().label(pictures / "a" / "0.png")
        assert row["modality"] == named.modality.label
        assert row["stations"] == list(named.slices[0].stations)
        assert row["p(liver)"] == pytest.approx(named.slices[0].organ_probabilities["liver"], abs=1e-6)

    def test_public_weights_name_as_elsewhere(self, tmp_path, pictures, load, monkeypatch, build_tiny):
        from vesalius.models.public_weights import read_sources

        monkeypatch.setenv("VESALIUS_WEIGHTS", str(tmp_path / "weights"))
        request = ArchiveRequest(str(pictures / "a" / "0.png"), "name", model="pubmedclip")
        with pytest.raises(ModelError, match="is not on this machine.*vesalius weights fetch pubmedclip"):
            run_archive(request, str(tmp_path / "out"), workers=0)
        assert not (tmp_path / "out").exists()
        row = read_sources()["pubmedclip-vit32"]
        monkeypatch.setitem(read_sources(), row.name, replace(row, size=None))
        row.path.parent.mkdir(parents=True)
        row.path.write_bytes(b"")
        monkeypatch.setattr("vesalius.models.foreign.import_checkpoint", lambda *_: build_tiny("clip_vit_b32"))
        assert run_archive(request, str(tmp_path / "out"), workers=0).done == 1
        assert load(tmp_path / "out").num_rows == 1


class TestExactlyOnce:
    def test_a_second_run_does_nothing(self, pictures, tmp_path, load):
        segment(pictures, tmp_path / "out")
        before = load(tmp_path / "out")
        summary = segment(pictures, tmp_path / "out")
        assert (summary.done, summary.skipped) == (0, 7)
        assert load(tmp_path / "out").equals(before)

    def test_a_run_ended_after_any_shard_goes_on_to_the_same_results(self, pictures, tmp_path, load):
        segment(pictures, tmp_path / "whole")

        def end(progress):
            raise KeyboardInterrupt

        for _ in range(3):
            with pytest.raises(KeyboardInterrupt):
                segment(pictures, tmp_path / "out", shard=2, watch=end)
        assert segment(pictures, tmp_path / "out", shard=2).done == 1
        for table in ("rows", "masks"):
            assert load(tmp_path / "out", table).equals(load(tmp_path / "whole", table))

    def test_new_images_are_added_and_changed_ones_are_told(self, pictures, tmp_path, write_picture, load):
        segment(pictures, tmp_path / "out")
        write_picture(pictures / "c/new.png", 1)
        Image.new("L", (30, 30)).save(pictures / "a/0.png")
        summary = segment(pictures, tmp_path / "out")
        assert summary.done == 1
        assert [(each["source"], "was changed" in each["reason"]) for each in summary.failures] == [("a/0.png", True)]
        assert len(load(tmp_path / "out")) == 16

    @pytest.mark.parametrize("taken", ["pending/report.docx", "failed.parquet"])
    @pytest.mark.parametrize("kind", ["local", "memory"])
    def test_a_folder_of_something_else_is_refused_and_stays_as_it_was(self, pictures, tmp_path, kind, taken):
        out = ArchiveStore(str(tmp_path / "out") if kind == "local" else f"memory://{tmp_path.name}/out")
        out.write(taken, b"of the user")
        with pytest.raises(OutputError, match=rf"out: holds {taken.partition('/')[0]} and no archive\.json"):
            segment(pictures, out.address)
        assert out.read(taken) == b"of the user"
        assert kind == "memory" or len(list((tmp_path / "out").iterdir())) == 1

    def test_an_empty_disk_and_a_folder_with_a_log_can_take_results(self, pictures, tmp_path):
        for name in ("lost+found", "run.log"):
            (tmp_path / "out" / name).mkdir(parents=True)
        assert segment(pictures, tmp_path / "out").done

    def test_a_second_run_at_the_same_time_is_refused(self, pictures, tmp_path):
        def again(progress):
            with pytest.raises(OutputError, match="another vesalius archive run writes there"):
                segment(pictures, tmp_path / "out")

        segment(pictures, tmp_path / "out", watch=again)

    def test_other_settings_are_refused_with_what_differs(self, pictures, tmp_path):
        segment(pictures, tmp_path / "out")
        with pytest.raises(OutputError, match=r"made with other settings: source was .*, is .*/a"):
            segment(pictures / "a", tmp_path / "out")

    def test_one_source_has_one_name_from_whatever_folder(self, pictures, tmp_path, write_picture, monkeypatch):
        monkeypatch.chdir(tmp_path)
        segment("in/", tmp_path / "out")
        for name in ("in", pictures, f"file://{pictures}/"):
            assert segment(name, tmp_path / "out").skipped == 7
        monkeypatch.chdir(pictures)
        write_picture(pictures / "in/other.png", 0)
        with pytest.raises(OutputError, match=r"made with other settings: source was .*/in\", is .*/in/in\""):
            segment("in", tmp_path / "out")

    def test_what_workers_write_where_the_run_cannot_see_it_is_not_lost(self, pictures, tmp_path, monkeypatch):
        write = ArchiveStore.write
        elsewhere = ArchiveStore(str(tmp_path / "elsewhere"))
        monkeypatch.setattr(ArchiveStore, "write", lambda self, name, content: write(elsewhere, name, content))
        with pytest.raises(OutputError, match=r"out/pending/.*: a worker wrote it, but it cannot be seen from here"):
            segment(pictures, tmp_path / "out")
        monkeypatch.setattr(ArchiveStore, "write", write)
        assert segment(pictures, tmp_path / "out").done == 7

    def test_a_run_that_another_took_over_from_leaves_its_failures_alone(self, pictures, tmp_path):
        store = ArchiveStore(str(tmp_path / "out"))

        def take_over(progress):
            CommitLog(store).begin()
            store.write("failed.parquet", b"of the other")

        with pytest.raises(OutputError, match="another run writes there"):
            segment(pictures, tmp_path / "out", watch=take_over)
        assert store.read("failed.parquet") == b"of the other"


class TestFailures:
    def test_damaged_images_stop_no_other_and_are_tried_again_on_demand(self, pictures, tmp_path, write_picture):
        (pictures / "a/0.png").write_bytes(b"\x89PNG nonsense")
        out = tmp_path / "out"
        assert segment(pictures, out).done == 6
        (row,) = pq.read_table(out / "failed.parquet").to_pylist()
        assert row["source"] == "a/0.png"
        assert "cannot be read" in row["reason"]
        assert segment(pictures, out).done == 0
        assert len(segment(pictures, out, retry=True).failures) == 1
        write_picture(pictures / "a/0.png", 0)
        assert segment(pictures, out, retry=True).failures == ()
        assert pq.read_table(out / "failed.parquet").num_rows == 0

    def test_a_broken_file_beside_a_series_loses_that_file_alone(self, tmp_path, write_series, load):
        write_series(tmp_path / "in/ct")
        (tmp_path / "in/ct/broken.dcm").write_bytes(b"nonsense")
        summary = segment(tmp_path / "in", tmp_path / "out")
        assert [each["source"] for each in summary.failures] == ["ct/broken.dcm"]
        assert len(load(tmp_path / "out")) == 8
        assert segment(tmp_path / "in", tmp_path / "out", retry=True).done == 0
        assert len(load(tmp_path / "out")) == 8

    def test_what_was_removed_after_it_was_listed_is_told_and_stops_no_other(self, pictures, tmp_path):
        def remove(progress):
            (pictures / "b/6.png").unlink(missing_ok=True)

        (failure,) = segment(pictures, tmp_path / "out", shard=2, watch=remove).failures
        assert failure["reason"].startswith("b/6.png: cannot be read (6.png: No such file or directory)")
        assert failure["tries"] == 1
        assert read_status(str(tmp_path / "out")).totals.items == 6

    @pytest.mark.parametrize(("error", "tries"), [(RuntimeError("odd"), 1), (OSError(5, "Input/output error"), 3)])
    def test_whatever_goes_wrong_with_one_image_stops_no_other(self, pictures, tmp_path, monkeypatch, error, tries):
        group = work.group_files

        def fail(files, each):
            if files[0].name == "0.png":
                raise error
            return group(files, each=each)

        monkeypatch.setattr(work, "group_files", fail)
        (failure,) = segment(pictures, tmp_path / "out").failures
        assert ("a/0.png: ", tries) == (failure["reason"][:9], failure["tries"])
        assert ("odd" in failure["reason"]) != ("cannot be read (Input/output error)" in failure["reason"])
        monkeypatch.setattr(work, "group_files", group)
        assert segment(pictures, tmp_path / "out", retry=True).failures == ()

    def test_failures_leave_with_what_failed(self, pictures, tmp_path, monkeypatch):
        (pictures / "a/0.png").write_bytes(b"")
        listing = LocalFiles.list

        def refuse(self, folder):
            if folder.endswith("/b"):
                raise PermissionError(13, "Permission denied")
            return listing(self, folder)

        monkeypatch.setattr(LocalFiles, "list", refuse)
        assert {each["source"] for each in segment(pictures, tmp_path / "out").failures} == {"a/0.png", "b/"}
        monkeypatch.setattr(LocalFiles, "list", listing)
        (pictures / "a/0.png").unlink()
        summary = segment(pictures, tmp_path / "out")
        assert (summary.done, summary.failures) == (3, ())
        assert read_status(str(tmp_path / "out")).totals.failed == 0

    @pytest.mark.parametrize("lost", ["", "/b", "/b/ct"])
    def test_failures_in_a_folder_that_cannot_be_listed_stay(self, pictures, tmp_path, monkeypatch, write_series, lost):
        write_series(pictures / "b/ct")
        for name in ("b/4.png", "b/ct/broken.dcm"):
            (pictures / name).write_bytes(b"")
        before = {each["source"] for each in segment(pictures, tmp_path / "out").failures}
        assert before == {"b/4.png", "b/ct/broken.dcm"}
        listing = LocalFiles.list

        def refuse(self, folder):
            if folder == f"{pictures}{lost}":
                raise PermissionError(13, "Permission denied")
            return listing(self, folder)

        monkeypatch.setattr(LocalFiles, "list", refuse)
        failures = {each["source"]: each["reason"] for each in segment(pictures, tmp_path / "out").failures}
        assert failures.keys() == {*before, f"{lost[1:] or '.'}/"}
        assert "cannot be listed (Permission denied)" in failures[f"{lost[1:] or '.'}/"]
        monkeypatch.setattr(LocalFiles, "list", listing)
        assert {each["source"] for each in segment(pictures, tmp_path / "out").failures} == before

    def test_a_series_that_failed_beside_another_is_tried_again_alone(self, tmp_path, write_series, load, monkeypatch):
        write_series(tmp_path / "in/ct")
        write_series(tmp_path / "in/ct", "1.2.4", "t")
        read = work.FoundSeries.read

        def fail(self):
            if self.uid == "1.2.4":
                raise ImageError("no decoder")
            return read(self)

        monkeypatch.setattr(work.FoundSeries, "read", fail)
        summary = segment(tmp_path / "in", tmp_path / "out")
        assert (summary.done, summary.slices, [each["source"] for each in summary.failures]) == (1, 4, ["ct/t0.dcm"])
        monkeypatch.setattr(work.FoundSeries, "read", read)
        assert segment(tmp_path / "in", tmp_path / "out").skipped == 1
        summary = segment(tmp_path / "in", tmp_path / "out", retry=True)
        assert (summary.slices, summary.failures, summary.totals.items) == (4, (), 1)
        segment(tmp_path / "in", tmp_path / "whole")
        for table in ("rows", "masks"):
            assert load(tmp_path / "out", table).equals(load(tmp_path / "whole", table))
        assert segment(tmp_path / "in", tmp_path / "out", retry=True).slices == 0

    def test_a_file_that_its_series_was_done_without_cannot_be_tried_alone(self, tmp_path, write_series, monkeypatch):
        write_series(tmp_path / "in/ct")
        group = work.group_files
        late = FoundSeries(tmp_path / "in/ct/s3.dcm", (tmp_path / "in/ct/s3.dcm",))

        def split(files, each):
            head = group([file for file in files if file.name != "s3.dcm"], each=each)[0]
            return [replace(head, source=head.files[0]), late]

        def fail(self):
            raise ImageError("no access")

        monkeypatch.setattr(work, "group_files", split)
        object.__setattr__(late, "read", lambda: fail(late))
        segment(tmp_path / "in", tmp_path / "out")
        monkeypatch.setattr(work, "group_files", group)
        (failure,) = segment(tmp_path / "in", tmp_path / "out", retry=True).failures
        assert failure["source"] == "ct/s3.dcm"
        assert "was done without it; name another --out" in failure["reason"]

    def test_a_folder_without_any_image_is_told(self, tmp_path):
        (tmp_path / "in/x").mkdir(parents=True)
        (tmp_path / "in/x/1.2.3").write_bytes(b"no DICOM")
        (failure,) = segment(tmp_path / "in", tmp_path / "out").failures
        assert failure["source"] == "x"
        assert failure["reason"].startswith("x: none of its files is an image (1); take them out")

    def test_the_index_of_a_patients_cd_is_no_failure(self, tmp_path, write_series):
        write_series(tmp_path / "in/ct")
        shutil.copy(get_testdata_file("DICOMDIR", download=False), tmp_path / "in/DICOMDIR")
        summary = segment(tmp_path / "in", tmp_path / "out")
        assert (summary.slices, summary.failures) == (4, ())
        assert read_status(str(tmp_path / "out")).failures == {}

    @pytest.mark.parametrize(
        ("more", "message"),
        [
            ({"workers": -1}, "--workers"),
            ({"limits": ShardLimits(0)}, "--shard"),
            ({"ray": "auto", "workers": 0}, "--workers"),
            ({"options": WorkerOptions(timeout_s=0)}, "--timeout"),
            ({"options": WorkerOptions(timeout_s=math.nan)}, "--timeout"),
            ({"options": WorkerOptions(timeout_s=math.inf)}, "--timeout"),
            ({"options": WorkerOptions(timeout_s=1e10)}, "--timeout: expected .* 1,000,000 at most"),
            ({"price_per_hour": math.nan}, "--price-per-hour"),
            ({"price_per_hour": math.inf}, "--price-per-hour"),
            ({"price_per_hour": -1.0}, "--price-per-hour"),
            ({"gpus": -1.0, "ray": "local"}, "--gpus"),
            ({"gpus": 1.0}, "--gpus: goes with --ray"),
            ({"options": WorkerOptions(tries=0)}, "--tries"),
            ({"options": WorkerOptions(threads=-1)}, "--threads"),
        ],
    )
    def test_settings_out_of_range_are_refused(self, pictures, tmp_path, more, message):
        with pytest.raises(ConfigError, match=message):
            run_archive(ArchiveRequest(str(pictures), "name"), str(tmp_path / "out"), **more)
        assert not (tmp_path / "out").exists()

    def test_phrases_must_fit_the_task(self, pictures, tmp_path):
        with pytest.raises(PromptError, match="A prompt is needed"):
            run_archive(ArchiveRequest(str(pictures), "segment"), str(tmp_path / "out"))
        with pytest.raises(PromptError, match="stands twice"):
            run_archive(ArchiveRequest(str(pictures), "segment", ("liver", "Liver ")), str(tmp_path / "out"))
        with pytest.raises(ConfigError, match="goes with --task segment"):
            run_archive(ArchiveRequest(str(pictures), "name", ("liver",)), str(tmp_path / "out"))

    @pytest.mark.parametrize("model", ["pubmdclip", "clipseg", "pokcet"])
    def test_only_models_that_name_are_offered_to_name(self, pictures, tmp_path, model):
        with pytest.raises(
            ModelError, match=r"Available: biomedclip, clip-[^_]*, pocket, pubmedclip[^_]*\. A checkpoint"
        ):
            run_archive(ArchiveRequest(str(pictures), "name", model=model), str(tmp_path / "out"))
        assert not (tmp_path / "out").exists()


class TestCommand:
    def test_it_tells_what_it_did_and_fails_at_the_end(self, pictures, tmp_path, run):
        (pictures / "a/0.png").write_bytes(b"")
        arguments = ["archive", "run", pictures, "--task", "segment", "-p", "square", "--out", "out", "--workers", 0]
        code, out, err = run(*arguments, "--json", "--price-per-hour", 36)
        told = json.loads(out)
        assert (code, told["done"], told["slices"]) == (2, 6, 6)
        assert "1 failed, which --retry tries again: " in err
        assert "is empty" in err
        code, out, err = run(*arguments)
        assert "6 were done before" in err
        code, out, _ = run("archive", "status", "out", "--json")
        assert (code, json.loads(out)["items"], json.loads(out)["left"]) == (0, 6, 0)
        assert json.loads(out)["price"] > 0

    @pytest.mark.parametrize(("source", "out"), [("", "out"), ("in", "")])
    def test_an_empty_source_or_out_is_not_the_current_folder(self, pictures, tmp_path, run, source, out):
        code, _, err = run("archive", "run", source, "--task", "name", "--out", out, "--workers", 0)
        assert code == 2
        assert "SOURCE or --out: is empty" in err
        assert [each.name for each in tmp_path.iterdir()] == ["in"]

    def test_a_time_limit_needs_a_process(self, pictures, run):
        arguments = ["archive", "run", pictures, "--task", "name", "--out", "out", "--workers", 0, "--timeout", 5]
        code, _, err = run(*arguments)
        assert code == 2
        assert "--timeout: an image can be given up only in another process" in err
