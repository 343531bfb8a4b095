"""What a source lists: folders, patterns, manifests, object stores and DICOMweb services."""

import re
import threading
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vesalius.archive.listing import LocalFiles, PathPattern, RemoteFiles
from vesalius.archive.plan import ReadAhead
from vesalius.archive.request import ArchiveRequest
from vesalius.archive.run import run_archive
from vesalius.archive.sources import ArchiveSource
from vesalius.errors import ConfigError, DataError, ImageError
from waiting import PATIENCE_S

pytestmark = pytest.mark.usefixtures("bright_here")


def segment(source: object, out: object):
    return run_archive(ArchiveRequest(str(source), "segment", ("square", "spot")), str(out), workers=0)


@pytest.fixture
def serve_series(monkeypatch, write_series):
    """Make any DICOMweb service one with a few series, of which the second is a report."""
    dicomweb = pytest.importorskip("vesalius.pacs.dicomweb", reason="needs the extra pacs")

    def serve(number, part):
        class Service:
            def __init__(self, url):
                self.url = url

            def find(self, filters, limit, offset=0):
                rows = [(f"1.2.{3 + place}", "SR" if place == 1 else "CT") for place in range(number)]
                found = rows[part(limit, offset)]
                return [dicomweb.RemoteSeries("1", uid, modality, "", "", "", 4) for uid, modality in found]

            def fetch(self, study, series, folder, instances):
                assert instances == 4
                write_series(folder, series)

        monkeypatch.setattr(dicomweb, "DicomWeb", Service)

    return serve


class TestSources:
    def test_a_pattern_takes_what_matches(self, pictures, tmp_path, load):
        segment(f"{pictures}/**/[0-2].png", tmp_path / "out")
        assert {row["source"] for row in load(tmp_path / "out").to_pylist()} == {"a/0.png", "a/1.png", "a/2.png"}

    def test_a_manifest_takes_its_paths_each_once_and_tells_which_are_not_there(
        self, pictures, tmp_path, load, write_picture
    ):
        write_picture(pictures / "b/deep/8.png", 8)
        table = tmp_path / "list.parquet"
        paths = ["in/a/1.png", str(pictures / "b"), "in/a/1.png", "in/none.png"]
        pq.write_table(pa.table({"path": paths}), table)
        summary = segment(table, tmp_path / "out")
        assert (summary.done, summary.left_out) == (5, {"listed twice": 1})
        assert [each["source"] for each in summary.failures] == ["in/none.png"]
        assert "no such file" in summary.failures[0]["reason"]
        found = {row["source"].removeprefix(f"{pictures}/") for row in load(tmp_path / "out").to_pylist()}
        assert found == {"in/a/1.png", "b/4.png", "b/5.png", "b/6.png", "b/deep/8.png"}

    def test_what_a_manifest_lists_twice_is_done_once_however_it_is_written(
        self, pictures, tmp_path, write_series, load
    ):
        write_series(tmp_path / "in/ct")
        paths = ["in/a/1.png", "./in/a/1.png", "in//a/1.png", "in/b/../a/1.png", str(pictures / "a/1.png"), "in/a"]
        paths += ["in/ct/s0.dcm", str(pictures / "ct"), "in/ct", None, ""]
        pq.write_table(pa.table({"path": paths}), tmp_path / "list.parquet")
        for _ in range(2):
            summary = segment(tmp_path / "list.parquet", tmp_path / "out")
            assert summary.left_out == {"listed twice": 10, "no path": 2}
        rows = [row for row in load(tmp_path / "out").to_pylist() if row["phrase"] == "square"]
        assert sorted(row["source"] for row in rows) == sorted(
            [*(f"in/a/{number}.png" for number in range(4)), "in/ct/s0.dcm", *[str(pictures / "ct")] * 3]
        )

    def test_dicom_files_that_a_manifest_lists_one_by_one_are_told(self, tmp_path, write_series, run):
        write_series(tmp_path / "in/ct")
        pq.write_table(pa.table({"path": [f"in/ct/s{n}.dcm" for n in range(4)]}), tmp_path / "list.parquet")
        arguments = ["archive", "run", "list.parquet", "--task", "segment", "-p", "square", "--workers", 0, "--out"]
        code, _, err = run(*arguments, "out")
        assert code == 0
        assert "4 DICOM files are listed one by one, so each is an image of its own" in " ".join(err.split())
        assert "one by one" not in run(*arguments, "each", "--each")[2]

    def test_a_manifest_without_paths_is_refused(self, tmp_path):
        pq.write_table(pa.table({"file": ["a"]}), tmp_path / "list.parquet")
        with pytest.raises(DataError, match='expected a column "path"'):
            segment(tmp_path / "list.parquet", tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_a_manifest_takes_urls_of_every_kind_and_shows_no_password(self, pictures, tmp_path, load):
        memory = fsspec.filesystem("memory")
        memory.put(str(pictures / "a"), f"/{tmp_path.name}/a", recursive=True)
        paths = [
            f"file://{pictures}/b/4.png",
            f"memory://{tmp_path.name}/a/1.png",
            "https://host/x.png",
            "sftp://me:secret@host/x.png",
        ]
        pq.write_table(pa.table({"path": paths}), tmp_path / "list.parquet")
        summary = segment(tmp_path / "list.parquet", tmp_path / "out")
        assert {row["source"] for row in load(tmp_path / "out").to_pylist()} == set(paths[:2])
        told = {each["source"]: each["reason"] for each in summary.failures}
        assert "web addresses are not read" in told["https://host/x.png"]
        assert "credentials belong in the environment" in told["sftp://…@host/x.png"]
        assert not any(b"secret" in path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())

    def test_a_manifest_in_a_store_takes_paths_of_this_machine(self, pictures, tmp_path):
        pq.write_table(pa.table({"path": [str(pictures / "a"), "b/4.png"]}), tmp_path / "list.parquet")
        fsspec.filesystem("memory").put(str(tmp_path / "list.parquet"), f"/{tmp_path.name}/list.parquet")
        fsspec.filesystem("memory").put(str(pictures / "b"), f"/{tmp_path.name}/b", recursive=True)
        assert segment(f"memory://{tmp_path.name}/list.parquet", tmp_path / "out").done == 5

    def test_a_dicomweb_service_gives_its_series(self, tmp_path, write_series, load, serve_series):
        serve_series(2, lambda limit, offset: slice(offset, offset + limit))
        summary = segment("http://pacs/dicom-web", tmp_path / "out")
        assert (summary.done, summary.slices, summary.left_out) == (1, 4, {"SR": 1})
        assert {row["source"] for row in load(tmp_path / "out").to_pylist()} == {"1/1.2.3"}
        assert segment("http://pacs/dicom-web/", tmp_path / "out").skipped == 1

    @pytest.mark.parametrize(
        ("part", "series", "told"),
        [
            pytest.param(lambda limit, offset: slice(offset, offset + min(limit, 2)), 6, 0, id="caps its pages"),
            pytest.param(lambda limit, offset: slice(None), 6, 0, id="ignores limit and offset"),
            pytest.param(lambda limit, offset: slice(min(limit, 2)), 2, 1, id="ignores offset"),
        ],
    )
    def test_short_pages_of_a_dicomweb_service_are_not_the_last(self, serve_series, part, series, told):
        serve_series(7, part)
        found = list(ArchiveSource("http://pacs/dicom-web").items())
        assert [each.name for each in found if not each.problem] == [f"1/1.2.{3 + n}" for n in range(7) if n != 1][
            : series - told
        ]
        assert ["others cannot be listed" in each.problem for each in found if each.problem] == [True] * told

    def test_passwords_in_addresses_are_refused_before_anything_is_written(self, tmp_path):
        with pytest.raises(ConfigError, match="holds a password"):
            segment("https://me:secret@host/dicom-web", tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_files_that_are_no_images_are_counted_and_results_are_not_read(self, pictures):
        (pictures / "a/notes.txt").write_text("no image")
        segment(pictures, pictures / "out")
        assert segment(pictures, pictures / "out").left_out == {".txt": 1}
        assert segment(pictures, pictures / "out").done == 0

    def test_files_without_an_ending_and_broken_links_are_counted(self, tmp_path, write_series, load):
        write_series(tmp_path / "in/ct")
        (tmp_path / "in/ct/NOTES").write_text("no image")
        (tmp_path / "in/ct/000060").write_bytes(bytes(range(256)))
        (tmp_path / "in/ct/s9.dcm").symlink_to(tmp_path / "elsewhere.dcm")
        for _ in range(2):
            summary = segment(tmp_path / "in", tmp_path / "out")
            assert (summary.failures, summary.left_out) == ((), {"no ending": 2, "broken link": 1})
        assert len(load(tmp_path / "out")) == 8

    def test_what_is_not_there_is_refused_before_anything_is_written(self, tmp_path):
        with pytest.raises(ImageError, match="no such file or folder"):
            segment(tmp_path / "none", tmp_path / "out")
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        ("source", "left_out"),
        [("", " (left out: 1 .parquet, 1 .txt)"), ("**/*.jpg", ""), ("a/notes.txt", " (left out: 1 .txt)")]
        + [("list.parquet", "")],
    )
    def test_a_source_without_images_is_refused_before_anything_is_written(self, tmp_path, source, left_out):
        home = tmp_path / "in"
        (home / "a").mkdir(parents=True)
        (home / "a/notes.txt").write_text("no image")
        pq.write_table(pa.table({"path": pa.array([], pa.string())}), home / "list.parquet")
        with pytest.raises(ImageError, match=re.escape(f"{source}: holds no image{left_out};")):
            segment(home / source, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_the_folder_of_the_results_is_no_source(self, pictures):
        with pytest.raises(ConfigError, match="is both the source and --out"):
            segment(pictures, f"{pictures}/")

    def test_dicom_is_known_by_its_content_whatever_its_ending(self, tmp_path, write_series, load):
        write_series(tmp_path / "in/mr", "1.2.3")
        for file in (tmp_path / "in/mr").iterdir():
            file.rename(file.with_suffix(".MR"))
        (tmp_path / "in/mr/notes.MR").write_text("no image")
        summary = segment(tmp_path / "in", tmp_path / "out")
        assert (summary.slices, summary.left_out, summary.failures) == (4, {".mr": 1}, ())
        assert {row["file"] for row in load(tmp_path / "out").to_pylist()} == {f"mr/s{n}.MR" for n in range(4)}


class TestPatterns:
    @pytest.mark.parametrize("pattern", ["x[].png", "[z-a]", "[!]"])
    def test_what_is_no_pattern_is_refused(self, tmp_path, pattern):
        with pytest.raises(ConfigError, match="is no pattern"):
            segment(tmp_path / pattern, tmp_path / "out")

    @pytest.mark.parametrize(
        ("pattern", "path", "taken"),
        [
            ("/a/[!b]x", "/a/cx", True),
            ("/a/[!b]x", "/a/bx", False),
            (r"/a/[\d]x", "/a/1x", False),
            (r"/a/[\d]x", "/a/dx", True),
            ("/a/[[]x", "/a/[x", True),
            ("/a/[^a]x", "/a/^x", True),
            ("/a/b**/x", "/a/bc/d/x", True),
        ],
    )
    def test_brackets_hold_letters(self, pattern, path, taken):
        assert PathPattern(pattern).takes(path) == taken

    @pytest.mark.parametrize(
        ("pattern", "listed"),
        [("a/*.png", {"a"}), ("*/x/*.png", {".", "a", "a/x"}), ("a/**/*.png", {"a", "a/x", "a/x/y"})],
    )
    def test_only_folders_that_can_match_are_listed(self, tmp_path, monkeypatch, write_picture, pattern, listed):
        for name in ("a/1.png", "a/x/2.png", "a/x/y/3.png"):
            write_picture(tmp_path / name, 1)
        seen = set()
        listing = LocalFiles.list

        def note(self, folder):
            seen.add(str(Path(folder).relative_to(tmp_path)))
            return listing(self, folder)

        monkeypatch.setattr(LocalFiles, "list", note)
        assert list(ArchiveSource(str(tmp_path / pattern)).items())
        assert seen == listed


class TestStores:
    def list_rows(self, rows: list[dict[str, object]], monkeypatch):
        files = RemoteFiles("memory://bucket/in")
        monkeypatch.setattr(type(files._system), "ls", lambda self, path, detail: rows)
        return files.list("memory://bucket/in/a/")

    def test_markers_of_folders_are_no_files(self, monkeypatch):
        rows = [
            {"name": "/bucket/in/a/", "type": "file", "size": 0},
            {"name": "/bucket/in/a/x/", "type": "file", "size": 0},
            {"name": "/bucket/in/a/x", "type": "directory"},
            {"name": "/bucket/in/a/1.png", "type": "file", "size": 9, "ETag": "t"},
        ]
        folders, files = self.list_rows(rows, monkeypatch)
        assert folders == ["memory://bucket/in/a/x"]
        assert [(each.name, each.size, each.version) for each in files] == [("1.png", 9, "t")]

    def test_a_folder_without_a_name_is_told(self, monkeypatch):
        with pytest.raises(OSError, match="a folder without a name"):
            self.list_rows([{"name": "/bucket/in/a/", "type": "directory"}], monkeypatch)


class TestReadAhead:
    def test_what_a_listing_raises_is_raised_where_batches_are_taken(self):
        def batches():
            yield ["first"]
            raise ImageError("gone")

        taken = ReadAhead(batches(), 2)
        assert next(taken) == ["first"]
        with pytest.raises(ImageError, match="gone"):
            next(taken)
        assert list(taken) == []

    def test_closing_ends_the_listing_and_whoever_waits(self):
        stalled = threading.Event()

        def batches():
            yield ["first"]
            stalled.wait(PATIENCE_S)
            yield ["second"]

        taken = ReadAhead(batches(), 1)
        assert next(taken) == ["first"]
        waiting = threading.Thread(target=lambda: next(taken, None))
        waiting.start()
        taken.close()
        waiting.join(PATIENCE_S)
        stalled.set()
        taken._thread.join(PATIENCE_S)
        assert not waiting.is_alive()
        assert not taken._thread.is_alive()
