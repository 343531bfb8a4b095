"""The log by which each shard counts once, and the store that it stands on."""

import json
from io import BytesIO

import pytest

from vesalius.archive.items import FileFact, KeySet, WorkItem
from vesalius.archive.log import CommitLog, ShardResult, claim, place_of
from vesalius.archive.run import write_failed
from vesalius.archive.status import read_status
from vesalius.archive.store import ArchiveStore, hide_password
from vesalius.cli import main
from vesalius.errors import ConfigError, OutputError

pytest.importorskip("fsspec", reason="needs vesalius[archive]")
pq = pytest.importorskip("pyarrow.parquet", reason="needs vesalius[archive]")


SHARD = "0" * 32


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path):
    if request.param == "local":
        return ArchiveStore(str(tmp_path / "out"))
    return ArchiveStore(f"memory://{tmp_path.name}/out")


def make_item(name: str, version: str = "1") -> WorkItem:
    return WorkItem.make(name, "folder", [FileFact("a.png", 5, version)])


def make_result(shard: str, *names: str, **more) -> ShardResult:
    keys = tuple(make_item(name).key for name in names)
    return ShardResult(shard, keys, slices=len(names), rows=len(names), seconds={"model": 1.0}, **more)


class TestStore:
    def test_of_two_writers_of_one_name_the_second_changes_nothing(self, store):
        assert store.create("log/1.json", b"first")
        assert not store.create("log/1.json", b"second")
        assert store.read("log/1.json") == b"first"

    def test_files_are_listed_moved_and_removed(self, store):
        store.write("pending/b", b"2")
        store.write("pending/a", b"1")
        assert store.names("pending") == ["a", "b"]
        store.move("pending/a", "rows/a")
        store.remove("pending/b")
        store.remove("pending/never")
        assert (store.names("pending"), store.names("rows"), store.names("nowhere")) == ([], ["a"], [])
        assert list(store.read_all(["rows/a"])) == [b"1"]

    def test_folders_are_listed_and_what_is_hidden_is_not(self, store):
        store.write("rows/a", b"1")
        store.write(".archive.lock", b"")
        assert store.names("") == ["rows"]

    def test_what_is_missing_is_one_error_with_the_address(self, store):
        with pytest.raises(OutputError, match=r"out/none: cannot be read"):
            store.read("none")

    def test_a_store_in_which_a_second_writer_takes_the_first_one_s_place_is_refused(self, store, monkeypatch):
        store.check_create("pending")
        assert store.names("pending") == []
        monkeypatch.setattr(ArchiveStore, "create", lambda self, name, content: not self.write(name, content))
        with pytest.raises(OutputError, match="replaces a file that is to be new"):
            store.check_create("pending")
        if store.folder is None:
            with pytest.raises(OutputError, match="replaces a file that is to be new"):
                CommitLog(store).begin()

    def test_its_place_is_the_same_from_whatever_folder(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        here = str(tmp_path / "out")
        assert [ArchiveStore(each).place for each in ("out", "./out/", f"file://{here}")] == [here] * 3
        assert ArchiveStore("memory://x/out/").place == "memory://x/out"

    @pytest.mark.parametrize(
        ("address", "shown"),
        [
            ("abfs://box@account.dfs.core.windows.net/in", "abfs://box@account.dfs.core.windows.net/in"),
            ("sftp://me@host/in", "sftp://me@host/in"),
            ("s3://key:secret@bucket/in", "s3://…@bucket/in"),
            ("https://token@host/dicom-web", "https://…@host/dicom-web"),
            ("/data/a@b:c/in", "/data/a@b:c/in"),
        ],
    )
    def test_only_what_may_be_secret_is_hidden_of_an_address(self, address, shown):
        assert hide_password(address) == shown

    @pytest.mark.parametrize("address", ["", "file://"])
    def test_an_address_without_letters_is_not_the_current_folder(self, tmp_path, monkeypatch, address):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ConfigError, match="SOURCE or --out: is empty"):
            ArchiveStore(address)

    def test_addresses_with_passwords_and_unknown_protocols_are_refused(self):
        with pytest.raises(ConfigError, match="credentials belong in the environment"):
            ArchiveStore("sftp://me:secret@host/folder")
        with pytest.raises(ConfigError, match="cannot be opened"):
            ArchiveStore("nosuch://bucket/folder")


class TestKeys:
    def test_a_changed_file_has_another_key_of_the_same_name(self):
        before, after, other = (
            bytes.fromhex(each.key) for each in (make_item("a"), make_item("a", "2"), make_item("b"))
        )
        known = KeySet()
        assert [each.known for each in known.add_all([before, before])] == [False, True]
        assert known.find([before, after, other]) == [(True, True), (True, False), (False, False)]

    def test_many_keys_are_found_again_in_whatever_state(self, monkeypatch):
        monkeypatch.setattr("vesalius.archive.items.LOOSE", 7)
        keys = [bytes.fromhex(make_item(str(number)).key) for number in range(200)]
        changed = [bytes.fromhex(make_item(str(number), "2").key) for number in range(0, 200, 3)]
        known = KeySet()
        known.add_many(b"".join(keys[:50]))
        for start in range(50, 200, 10):
            assert not any(each.named for each in known.add_all(keys[start : start + 10]))
        assert all(each == (True, False) for each in known.add_all(changed))
        assert len(known) == 200 + len(changed)
        assert all(each.known for each in known.find([*keys, *changed]))
        (never,) = known.find([bytes.fromhex(make_item("200").key)])
        assert never == (False, False)


class TestLog:
    def begin(self, store: ArchiveStore) -> CommitLog:
        log = CommitLog(store, price_per_hour=36.0)
        log.begin()
        return log

    def test_a_shard_counts_once_it_is_committed_and_then_lies_in_its_place(self, store):
        log = self.begin(store)
        store.write(f"pending/{SHARD}.rows.parquet", b"rows")
        log.commit(make_result(SHARD, "a", "b"), 5, complete=False)
        assert store.read(place_of("rows", 2)) == b"rows"
        again = self.begin(store)
        assert again.done.find([bytes.fromhex(make_item("a").key)]) == [(True, True)]
        assert (again.totals.items, again.totals.runs, again.totals.left) == (2, 2, 5)

    def test_a_shard_whose_files_are_not_there_does_not_count(self, store):
        log = self.begin(store)
        with pytest.raises(OutputError, match=r"x\.rows\.parquet: a worker wrote it, but .* absolute path that all"):
            log.commit(make_result("x", "a"), 5, complete=False)
        assert store.names("log") == ["00000001.json"]
        assert len(self.begin(store).done) == 0

    def test_a_run_that_ends_removes_what_repeated_batches_left(self, store):
        log = self.begin(store)
        store.write(f"pending/{SHARD}.rows.parquet", b"again")
        log.end()
        assert store.names("pending") == []

    def test_what_a_run_did_not_write_stays(self, store):
        store.write("pending/report.docx", b"of the user")
        store.write(f"pending/{SHARD}.dcm", b"of the user")
        self.begin(store).end()
        assert store.names("pending") == [f"{SHARD}.dcm", "report.docx"]

    def test_a_copy_of_a_record_is_refused(self, store):
        self.begin(store)
        store.write("log/00000001 (1).json", store.read("log/00000001.json"))
        with pytest.raises(OutputError, match=r"log/00000001 \(1\)\.json: is no record of ours"):
            self.begin(store)

    def test_a_run_killed_before_its_commit_leaves_nothing_and_after_it_everything(self, store):
        log = self.begin(store)
        store.write(f"pending/{'f' * 32}.rows.parquet", b"never committed")
        store.write(f"pending/{SHARD}.rows.parquet", b"committed")
        log._create("shard", {**make_result(SHARD, "a").to_dict(), "left": 1, "complete": True})  # killed here
        assert store.names("rows") == []
        self.begin(store)
        assert store.names("pending") == []
        assert store.read(place_of("rows", 2)) == b"committed"

    def test_half_written_files_of_a_killed_run_are_removed(self, tmp_path):
        store = ArchiveStore(str(tmp_path))
        (tmp_path / "pending").mkdir()
        names = [f"{folder}.{'0' * 32}.part" for folder in ("pending/", "log/", "")]
        (tmp_path / "log").mkdir()
        for name in [*names, ".archive.lock"]:
            (tmp_path / name).touch()
        self.begin(store)
        assert [(tmp_path / name).exists() for name in [*names, ".archive.lock"]] == [False, False, False, True]

    def test_a_former_run_cannot_commit_once_another_has_begun(self, store):
        former = self.begin(store)
        self.begin(store)
        with pytest.raises(OutputError, match="another run writes there"):
            former.commit(make_result("x", "a"), 1, complete=True)

    def test_failures_count_until_the_item_is_done(self, store):
        log = self.begin(store)
        failure = {"key": make_item("a").key, "source": "a", "reason": "a: is empty", "tries": 1}
        log.commit(ShardResult("", (), (failure,)), 1, complete=True)
        assert self.begin(store).totals.failed == 1
        log = self.begin(store)
        log.commit(make_result("", "a"), 1, complete=True)
        assert log.totals.failed == self.begin(store).totals.failed == 0

    def test_parts_of_an_item_fail_alone_and_leave_once_they_are_gone(self, store):
        log = self.begin(store)
        failures = [
            {"key": make_item(name).key, "source": source, "reason": "no", "tries": 1}
            for name, source in (("a", "a/1"), ("a", "a/2"), ("b", "b"), ("a", "a/2"))
        ]
        log.commit(make_result("", "a", failed=tuple(failures)), 0, complete=True)
        assert log.totals.failed == 3
        name = make_item("a").key[:24]
        log.commit(make_result("", failed=(failures[1],)), 0, complete=True, gone=[(name, "a/1"), (name, "a/2")])
        log.end([(make_item("b").key[:24], "b")])
        for totals in (log.totals, self.begin(store).totals):
            assert [each["source"] for each in totals.all_failures()] == ["a/2"]
            assert totals.failed == 1

    def test_names_that_are_not_utf_8_can_fail(self, store):
        log = self.begin(store)
        failure = {"key": make_item("a").key, "source": "\udcff.png", "reason": "\udcff.png: no", "tries": 1}
        log.commit(ShardResult("", (), (failure,)), 1, complete=True)
        write_failed(log)
        assert pq.read_table(BytesIO(store.read("failed.parquet"))).to_pylist()[0]["source"] == "\\udcff.png"

    def test_other_settings_are_refused_with_what_differs(self, store):
        claim(store, {"task": "segment", "prompts": ["liver"]})
        claim(store, {"task": "segment", "prompts": ["liver"]})
        with pytest.raises(OutputError, match=r'settings: prompts was \["liver"\], is \["lung"\]\. Name another --out'):
            claim(store, {"task": "segment", "prompts": ["lung"]})

    def test_an_archive_of_a_later_schema_is_refused(self, store):
        store.write("archive.json", json.dumps({"schema": 99, "settings": {}}).encode())
        with pytest.raises(OutputError, match="has schema 99, expected 1"):
            claim(store, {})


class TestStatus:
    def test_it_tells_what_is_done_left_and_paid(self, tmp_path, capsys):
        out = tmp_path / "out"
        claim(ArchiveStore(str(out)), {"task": "name"})
        log = CommitLog(ArchiveStore(str(out)), price_per_hour=3600.0)
        log.begin()
        failure = {"key": make_item("c").key, "source": "c.png", "reason": "c.png: is empty", "tries": 1}
        log.commit(make_result("", "a", "b", failed=(failure,)), 4, complete=True)
        main(["archive", "status", str(out), "--json"])
        told = json.loads(capsys.readouterr().out)
        assert (told["items"], told["failed"], told["left"], told["slices"]) == (2, 1, 4, 2)
        assert told["price"] == pytest.approx(told["wall"], abs=0.01)
        assert told["reasons"] == {"…: is empty": 1}
        assert told["seconds_per_slice"] == 0.5
        main(["archive", "status", str(out)])
        shown = capsys.readouterr()
        assert "images left" in shown.out
        assert "1 failed: …: is empty" in shown.err

    def test_a_folder_without_an_archive_is_refused(self, tmp_path, capsys):
        with pytest.raises(ConfigError, match="holds no archive"):
            read_status(str(tmp_path))
        with pytest.raises(SystemExit) as ended:
            main(["archive", "status", str(tmp_path)])
        assert ended.value.code == 2
        assert "holds no archive" in capsys.readouterr().err
