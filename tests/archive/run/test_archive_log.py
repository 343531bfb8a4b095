"""The log by which each shard counts once, and the store that it stands on."""

import json

import pytest

from vesalius.archive.items import FileFact, KeySet, WorkItem
from vesalius.archive.log import CommitLog, ShardResult, claim, place_of
from vesalius.archive.status import read_status
from vesalius.archive.store import ArchiveStore
from vesalius.cli import main
from vesalius.errors import ConfigError, OutputError

pytest.importorskip("fsspec", reason="needs vesalius[archive]")


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

    def test_what_is_missing_is_one_error_with_the_address(self, store):
        with pytest.raises(OutputError, match=r"out/none: cannot be read"):
            store.read("none")

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
        assert known.add(before)
        assert not known.add(before)
        assert (after in known, known.knows_name(after), known.knows_name(other)) == (False, True, False)

    def test_many_keys_are_found_again(self, monkeypatch):
        monkeypatch.setattr("vesalius.archive.items.LOOSE", 7)
        keys = [bytes.fromhex(make_item(str(number)).key) for number in range(200)]
        known = KeySet()
        known.add_many(b"".join(keys[:50]))
        assert all(known.add(key) for key in keys[50:])
        assert len(known) == 200
        assert all(key in known for key in keys)
        assert bytes.fromhex(make_item("200").key) not in known


class TestLog:
    def begin(self, store: ArchiveStore) -> CommitLog:
        log = CommitLog(store, price_per_hour=36.0)
        log.begin()
        return log

    def test_a_shard_counts_once_it_is_committed_and_then_lies_in_its_place(self, store):
        log = self.begin(store)
        store.write("pending/x.rows.parquet", b"rows")
        log.commit(make_result("x", "a", "b"), 5, complete=False)
        assert store.read(place_of("rows", 2)) == b"rows"
        again = self.begin(store)
        assert bytes.fromhex(make_item("a").key) in again.done
        assert (again.totals.items, again.totals.runs, again.totals.left) == (2, 2, 5)

    def test_a_run_killed_before_its_commit_leaves_nothing_and_after_it_everything(self, store):
        log = self.begin(store)
        store.write("pending/lost.rows.parquet", b"never committed")
        store.write("pending/kept.rows.parquet", b"committed")
        log._create("shard", {**make_result("kept", "a").to_dict(), "left": 1, "complete": True})  # killed here
        assert store.names("rows") == []
        self.begin(store)
        assert store.names("pending") == []
        assert store.read(place_of("rows", 2)) == b"committed"

    def test_half_written_files_of_a_killed_run_are_removed(self, tmp_path):
        store = ArchiveStore(str(tmp_path))
        store.write("pending/x", b"")
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
