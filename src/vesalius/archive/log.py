"""What was done of an archive: its settings, and one record for each shard that counts.

A shard's files are written under names that nobody reads (``pending/``). Then its record is created as
``log/00000012.json``, which only one writer can do: from this moment the shard counts. Then its files are moved to
``rows/`` and ``masks/``. A run that was killed in between is put in order by the next one. Every run creates a record
when it begins, so that a former run which is still alive somewhere cannot commit any more.
"""

import base64
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, NoReturn
from uuid import uuid4

from vesalius import __version__
from vesalius.archive.items import KEY_BYTES, NAME_BYTES, KeySet
from vesalius.archive.store import ArchiveStore
from vesalius.errors import OutputError, join_first
from vesalius.files import parse_json, to_json, to_plain
from vesalius.folders import tell_differences

SETTINGS = "archive.json"
SCHEMA = 1
"""Version of settings, log, rows and masks."""
LOG, PENDING = "log", "pending"
TABLES = ("rows", "masks")
"""Folders of the results, one file a shard in each."""
FAILED = "failed.parquet"
RECORD = re.compile(r"[0-9]{8,}\.json")
OWN_PENDING = re.compile(r"[0-9a-f]{32}\.((rows|masks)\.parquet|probe)")
"""What `pending_of` and `ArchiveStore.check_create` call files; whatever else lies there is left alone."""
Failure = Mapping[str, object]
"""What is told of an item that failed, or a part of it: "key", "source", "reason", "tries"."""


@dataclass(frozen=True)
class ShardResult:
    """What a worker made of a batch of items; its files are still pending."""

    shard: str
    """Random name of the pending files, see `pending_of`; empty if there is none."""
    keys: tuple[str, ...]
    """Items that are done, hexadecimal."""
    failed: tuple[Failure, ...] = ()
    """Items that failed, and parts of those that are done."""
    slices: int = 0
    rows: int = 0
    masks: int = 0
    bytes: int = 0
    """Bytes of the shard's files."""
    left_out: int = 0
    """Files without an ending that are no images, beside those of the items that are done."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Time of the worker: "read", "model", "write", "other"."""

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON, keys in base64."""
        keys = base64.b64encode(bytes.fromhex("".join(self.keys))).decode()
        return {**self.__dict__, "keys": keys, "failed": [dict(each) for each in self.failed]}

    @staticmethod
    def from_dict(content: Mapping[str, Any]) -> "ShardResult":
        """The result of a ``to_dict``; other entries are left out."""
        names = ShardResult.__dataclass_fields__.keys() & content.keys()
        keys = tuple(_to_keys(content["keys"]))
        return ShardResult(
            **{**{name: content[name] for name in names}, "keys": keys, "failed": tuple(content["failed"])}
        )


@dataclass
class ArchiveTotals:
    """Sums over all records."""

    items: int = 0
    failed: int = 0
    slices: int = 0
    rows: int = 0
    masks: int = 0
    bytes: int = 0
    left_out: int = 0
    shards: int = 0
    runs: int = 0
    wall: float = 0.0
    """Seconds that runs took, as far as they committed."""
    price: float = 0.0
    """Money, by the price an hour that the runs were given."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Seconds of the workers by kind of work."""
    left: int = 0
    """Items that the last run had listed and not done."""
    complete: bool = False
    """Whether that run had listed all."""
    ended: bool = False
    """Whether the last run ended."""
    changed: str = ""
    """Time of the last record."""
    failures: dict[str, dict[str, Failure]] = field(default_factory=dict)
    """Hash of an item's name -> source, of the item or a part of it -> how it failed, if it was not done since."""

    def all_failures(self) -> list[Failure]:
        """Everything that failed and was not done since, nor left the source."""
        return [each for places in self.failures.values() for each in places.values()]

    def add(self, record: Mapping[str, Any]) -> None:
        """Add one record."""
        self.changed, self.ended = record["made"], record["kind"] == "end"
        self.runs += record["kind"] == "begin"
        self.wall += record.get("wall", 0.0)
        self.price += record.get("price", 0.0)
        self.left, self.complete = record.get("left", self.left), record.get("complete", self.complete)
        for name, source in record.get("gone", ()):
            self._drop(name, source)
        if record["kind"] != "shard":
            return
        self.shards += bool(record["shard"])
        self.items += len(base64.b64decode(record["keys"])) // KEY_BYTES
        for name in ("slices", "rows", "masks", "bytes", "left_out"):
            setattr(self, name, getattr(self, name) + record.get(name, 0))  # the last is not in records of before
        for name, value in record["seconds"].items():
            self.seconds[name] = self.seconds.get(name, 0.0) + value
        if self.failures:
            for key in _to_keys(record["keys"]):
                self.failed -= len(self.failures.pop(name_of(key), ()))
        for each in record["failed"]:
            places = self.failures.setdefault(name_of(each["key"]), {})
            self.failed += each["source"] not in places
            places[each["source"]] = each

    def _drop(self, name: str, source: str) -> None:
        places = self.failures.get(name, {})
        self.failed -= places.pop(source, None) is not None
        if not places:
            self.failures.pop(name, None)


def name_of(key: str) -> str:
    """The part of an item's key, hexadecimal, that comes from its name."""
    return key[: 2 * NAME_BYTES]


def _to_keys(told: str) -> list[str]:
    """Keys of a record, hexadecimal."""
    return base64.b64decode(told).hex(" ", KEY_BYTES).split()


def read_settings(store: ArchiveStore) -> dict[str, Any] | None:
    """What the archive was made with; None if nothing was begun.

    Raises:
        OutputError: If the file is none of ours, or of a later version.
    """
    if not store.exists(SETTINGS):
        return None
    content = parse_json(store.read(SETTINGS).decode("utf-8", "replace"), f"{store.address}/{SETTINGS}")
    if not isinstance(content, dict) or not isinstance(content.get("settings"), dict):
        raise OutputError(f"{store.address}/{SETTINGS}: holds no settings of ours; name another --out.")
    if content.get("schema") != SCHEMA:
        raise OutputError(
            f"{store.address}: has schema {content.get('schema')}, expected {SCHEMA}; use the version of Vesalius that "
            "made it, or name another --out."
        )
    return content


def check_own(store: ArchiveStore) -> None:
    """Refuse a folder in which something else has the names of what an archive writes, before anything is written.

    Raises:
        OutputError: If it holds such files or folders, but no settings of an archive.
    """
    names = store.names("")
    taken = sorted({LOG, PENDING, FAILED, *TABLES}.intersection(names))
    if taken and SETTINGS not in names:
        raise OutputError(
            f"{store.address}: holds {join_first(taken)} and no {SETTINGS}, so it is no archive of results; name a "
            "new or empty folder as --out."
        )


def claim(store: ArchiveStore, settings: Mapping[str, object]) -> None:
    """Write the settings of a new archive, or make sure that they are those of the archive that is there.

    Raises:
        OutputError: If they differ; the message says in what.
    """
    text = to_json({"schema": SCHEMA, "vesalius": __version__, "settings": settings}) + "\n"
    if read_settings(store) is None:
        store.create(SETTINGS, text.encode())
    there = read_settings(store)
    assert there is not None
    now = to_plain(settings)
    if there["settings"] != now:
        changes = join_first(tell_differences(there["settings"], now), separator="; ")
        raise OutputError(f"{store.address}: was made with other settings: {changes}. Name another --out.")


class CommitLog:
    """The records of an archive; one run at a time adds to them.

    Args:
        store: Folder of the results.
        price_per_hour: Price of all machines together, for the sums.
    """

    def __init__(self, store: ArchiveStore, price_per_hour: float = 0.0) -> None:
        self.store = store
        self.totals = ArchiveTotals()
        self.done = KeySet()
        """Items that were done when this run began."""
        self.fenced = False
        """Whether another run has taken over, so that nothing may be written any more."""
        self._run, self._number, self._price = uuid4().hex, 0, price_per_hour
        self._since = time.monotonic()

    def begin(self) -> None:
        """Read all records, keep former runs from committing, and finish or remove what they left.

        Raises:
            OutputError: If another run begins at the same moment, a record is damaged, or the store cannot tell which
                of two writers was first.
        """
        if self.store.folder is None:
            self.store.check_create(PENDING)
        shards: dict[str, int] = {}
        for number, record in read_records(self.store):
            self._number = number
            self.totals.add(record)
            self.done.add_many(base64.b64decode(record.get("keys", "")))
            if record["kind"] == "shard" and record["shard"]:
                shards[record["shard"]] = number
        self._create("begin", {})
        for folder in ("", LOG, PENDING):
            self.store.remove_unfinished(folder)
        for name in self._own_pending():
            shard, _, rest = name.partition(".")
            if shard in shards:
                self.store.move(f"{PENDING}/{name}", place_of(rest.partition(".")[0], shards[shard]))
            else:
                self.store.remove(f"{PENDING}/{name}")

    def commit(self, result: ShardResult, left: int, *, complete: bool, gone: Sequence[tuple[str, str]] = ()) -> None:
        """Make a shard count, and move its files to their places.

        Args:
            result: What a worker made.
            left: Items that are listed and not done.
            complete: Whether all are listed.
            gone: Failures that were tried again: hash of a name, and source.

        Raises:
            OutputError: If another run has taken over, the store refuses, or the files of the shard are not there; then
                nothing counts.
        """
        tables = [table for table in TABLES if result.shard and getattr(result, table)]
        for table in tables:
            self._check_pending(pending_of(table, result.shard))
        self._create("shard", {**result.to_dict(), "left": left, "complete": complete}, gone)
        for table in tables:
            self.store.move(pending_of(table, result.shard), place_of(table, self._number))

    def end(self, gone: Sequence[tuple[str, str]] = ()) -> None:
        """Note that everything that was listed is done or has failed, and remove what came to nothing.

        Args:
            gone: Failures of what is not in the source any more: hash of a name, and source.
        """
        lost = self._own_pending()  # as of batches that Ray repeated; nobody else can have begun until the record
        self._create("end", {"left": 0, "complete": True}, gone)
        for name in lost:
            self.store.remove(f"{PENDING}/{name}")

    def _own_pending(self) -> list[str]:
        return [name for name in self.store.names(PENDING) if OWN_PENDING.fullmatch(name)]

    def _check_pending(self, name: str) -> None:
        if self.store.exists(name):
            return
        if self.store.exists(self._next()):  # the run that has taken over removed it
            self._refuse()
        raise OutputError(
            f"{self.store.place}/{name}: a worker wrote it, but it cannot be seen from here, so nothing of it "
            "counts; give --out as a URL or an absolute path that all machines share."
        )

    def _next(self) -> str:
        return f"{LOG}/{self._number + 1:08d}.json"

    def _refuse(self) -> NoReturn:
        self.fenced = True
        raise OutputError(f"{self.store.address}: another run writes there; wait for it, or let it alone do the work.")

    def _create(
        self,
        kind: Literal["begin", "shard", "end"],
        content: Mapping[str, object],
        gone: Sequence[tuple[str, str]] = (),
    ) -> None:
        now = time.monotonic()
        wall = 0.0 if kind == "begin" else now - self._since
        self._since = now
        record: dict[str, Any] = {
            "kind": kind,
            "run": self._run,
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "vesalius": __version__,
            "wall": round(wall, 3),
            "price": wall / 3600 * self._price,
            **content,
            **({"gone": gone} if gone else {}),
        }
        if not self.store.create(self._next(), to_json(record, indent=None).encode()):
            self._refuse()
        self._number += 1
        self.totals.add(record)


def pending_of(table: str, shard: str) -> str:
    """Where a worker writes the file of a shard, which does not count yet."""
    return f"{PENDING}/{shard}.{table}.parquet"


def place_of(table: str, number: int) -> str:
    """Where the file of a shard lies once it counts: by the number of its record."""
    return f"{table}/part-{number:08d}.parquet"


def read_records(store: ArchiveStore) -> Iterator[tuple[int, Any]]:
    """All records and their numbers, in order.

    Raises:
        OutputError: If one is damaged, or a file is none.
    """
    names = [name for name in store.names(LOG) if name.endswith(".json")]
    if foreign := [name for name in names if not RECORD.fullmatch(name)]:
        raise OutputError(
            f"{store.address}/{LOG}/{foreign[0]}: is no record of ours, perhaps a copy; move it out of the folder."
        )
    for name, content in zip(names, store.read_all([f"{LOG}/{name}" for name in names]), strict=True):
        record = parse_json(content.decode("utf-8", "replace"), f"{store.address}/{LOG}/{name}")
        if not isinstance(record, dict) or "kind" not in record:
            raise OutputError(f"{store.address}/{LOG}/{name}: is no record of ours; restore it from a copy.")
        yield int(name.removesuffix(".json")), record
