"""Archives in this process: sources, results, interruptions and failures."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vesalius.archive.read import read_masks
from vesalius.archive.request import ArchiveRequest, WorkerOptions
from vesalius.archive.run import ShardLimits, run_archive
from vesalius.errors import ConfigError, DataError, ImageError, OutputError, PromptError
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

    def test_names_are_those_of_the_labeller(self, tmp_path, pictures, load, monkeypatch):
        from vesalius.archive import work
        from vesalius.naming import AnatomyLabeller

        monkeypatch.setattr(work, "Predictor", Predictor)
        run_archive(ArchiveRequest(str(pictures / "a" / "0.png"), "name"), str(tmp_path / "out"), workers=0)
        (row,) = load(tmp_path / "out").to_pylist()
        named = AnatomyLabeller().label(pictures / "a" / "0.png")
        assert row["modality"] == named.modality.label
        assert row["stations"] == list(named.slices[0].stations)
        assert row["p(liver)"] == pytest.approx(named.slices[0].organ_probabilities["liver"], abs=1e-6)


class TestSources:
    def test_a_pattern_takes_what_matches(self, pictures, tmp_path, load):
        segment(f"{pictures}/**/[0-2].png", tmp_path / "out")
        assert {row["source"] for row in load(tmp_path / "out").to_pylist()} == {"a/0.png", "a/1.png", "a/2.png"}

    def test_a_manifest_takes_its_paths_each_once_and_tells_which_are_not_there(self, pictures, tmp_path, load):
        table = tmp_path / "list.parquet"
        paths = ["in/a/1.png", str(pictures / "b"), "in/a/1.png", "in/none.png"]
        pq.write_table(pa.table({"path": paths}), table)
        summary = segment(table, tmp_path / "out")
        assert (summary.done, summary.skipped) == (4, 1)
        assert [each["source"] for each in summary.failures] == ["in/none.png"]
        assert "no such file" in summary.failures[0]["reason"]
        assert len({row["source"] for row in load(tmp_path / "out").to_pylist()}) == 4

    def test_a_manifest_without_paths_is_refused(self, tmp_path):
        pq.write_table(pa.table({"file": ["a"]}), tmp_path / "list.parquet")
        with pytest.raises(DataError, match='expected a column "path"'):
            segment(tmp_path / "list.parquet", tmp_path / "out")

    def test_a_dicomweb_service_gives_its_series(self, tmp_path, write_series, load, monkeypatch):
        from vesalius.pacs import sending

        class Service:
            def __init__(self, url):
                self.url = url

            def find(self, filters, limit, offset=0):
                rows = [("1", "1.2.3", "CT"), ("1", "1.2.9", "SR")][offset : offset + limit]
                return [sending.RemoteSeries(*row[:2], row[2], "", "", "", 4) for row in rows]

            def fetch(self, study, series, folder):
                write_series(folder, series)

        monkeypatch.setattr(sending, "DicomWeb", Service)
        summary = segment("http://pacs/dicom-web", tmp_path / "out")
        assert (summary.done, summary.slices, summary.left_out) == (1, 4, {"SR": 1})
        assert {row["source"] for row in load(tmp_path / "out").to_pylist()} == {"1/1.2.3"}

    def test_files_that_are_no_images_are_counted_and_results_are_not_read(self, pictures):
        (pictures / "a/notes.txt").write_text("no image")
        segment(pictures, pictures / "out")
        assert segment(pictures, pictures / "out").left_out == {".txt": 1}
        assert segment(pictures, pictures / "out").done == 0

    def test_what_is_not_there_is_refused_before_anything_is_written(self, tmp_path):
        with pytest.raises(ImageError, match="no such file or folder"):
            segment(tmp_path / "none", tmp_path / "out")
        assert not (tmp_path / "out").exists()


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

    def test_a_second_run_at_the_same_time_is_refused(self, pictures, tmp_path):
        def again(progress):
            with pytest.raises(OutputError, match="another run writes there"):
                segment(pictures, tmp_path / "out")

        segment(pictures, tmp_path / "out", watch=again)

    def test_other_settings_are_refused_with_what_differs(self, pictures, tmp_path):
        segment(pictures, tmp_path / "out")
        with pytest.raises(OutputError, match=r"made with other settings: source was .*, is .*/a"):
            segment(pictures / "a", tmp_path / "out")


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

    def test_a_folder_without_any_image_is_told(self, tmp_path):
        (tmp_path / "in/x").mkdir(parents=True)
        (tmp_path / "in/x/1.2.3").write_bytes(b"no DICOM")
        (failure,) = segment(tmp_path / "in", tmp_path / "out").failures
        assert (failure["source"], failure["reason"]) == ("x", "x: holds no image in 1 files.")

    @pytest.mark.parametrize(
        ("more", "message"),
        [
            ({"workers": -1}, "--workers"),
            ({"limits": ShardLimits(0)}, "--shard"),
            ({"ray": "auto", "workers": 0}, "--workers"),
            ({"options": WorkerOptions(timeout_s=0)}, "--timeout"),
            ({"options": WorkerOptions(tries=0)}, "--tries"),
            ({"options": WorkerOptions(threads=-1)}, "--threads"),
        ],
    )
    def test_settings_out_of_range_are_refused(self, pictures, tmp_path, more, message):
        with pytest.raises(ConfigError, match=message):
            run_archive(ArchiveRequest(str(pictures), "name"), str(tmp_path / "out"), **more)

    def test_phrases_must_fit_the_task(self, pictures, tmp_path):
        with pytest.raises(PromptError, match="A prompt is needed"):
            run_archive(ArchiveRequest(str(pictures), "segment"), str(tmp_path / "out"))
        with pytest.raises(ConfigError, match="goes with --task segment"):
            run_archive(ArchiveRequest(str(pictures), "name", ("liver",)), str(tmp_path / "out"))


class TestCommand:
    def test_it_tells_what_it_did_and_fails_at_the_end(self, pictures, tmp_path, run):
        (pictures / "a/0.png").write_bytes(b"")
        arguments = ["archive", "run", pictures, "--task", "segment", "-p", "square", "--out", "out", "--workers", 0]
        code, out, err = run(*arguments, "--json", "--price-per-hour", 36)
        told = json.loads(out)
        assert (code, told["done"], told["slices"]) == (2, 6, 6)
        assert "1 failed: " in err
        assert "is empty" in err
        code, out, err = run(*arguments)
        assert "6 were done before" in err
        code, out, _ = run("archive", "status", "out", "--json")
        assert (code, json.loads(out)["items"], json.loads(out)["left"]) == (0, 6, 0)
        assert json.loads(out)["price"] > 0
