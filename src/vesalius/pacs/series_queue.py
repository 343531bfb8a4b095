"""What arrived, what is worked on and what was sent back: one SQLite file (write-ahead log) and folders of DICOM files.

A file is on disk before its row is in the database, and its row is there before the sender hears of success; so what a
sender was told is stored survives any crash, and what it was not told it sends again; a file whose row the database
refused is found and taken in. A series moves

    receiving → claimed → made → done

and back to receiving when a slice arrives that was not there before. Results are on disk before a series counts as
made, and what was made is sent, not made again; what was sent is struck off. A claim is held by a lock on a file that
the system releases when its process ends, however it ends, and counts as an attempt from its beginning. Failures wait
ever longer and end, after some attempts, as dead letters; what cannot succeed is refused at once.
"""

import hashlib
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout

from vesalius.errors import OutputError, join_first
from vesalius.files import tell_bytes
from vesalius.pacs.states import OVER, OtherSeriesError, QueuedSeries, State

SCHEMA = """
CREATE TABLE IF NOT EXISTS series (
    uid TEXT PRIMARY KEY, folder TEXT NOT NULL UNIQUE, state TEXT NOT NULL, revision INTEGER NOT NULL,
    changed REAL NOT NULL, attempts INTEGER NOT NULL, due REAL NOT NULL, reason TEXT NOT NULL, results TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS instances (
    uid TEXT PRIMARY KEY, series TEXT NOT NULL REFERENCES series(uid), bytes INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS series_state ON series (state, due);
CREATE INDEX IF NOT EXISTS instances_series ON instances (series);
CREATE TABLE IF NOT EXISTS total (id INTEGER PRIMARY KEY CHECK (id = 0), bytes INTEGER NOT NULL);
INSERT OR IGNORE INTO total SELECT 0, COALESCE(SUM(bytes), 0) FROM instances;
CREATE TRIGGER IF NOT EXISTS instance_added AFTER INSERT ON instances
BEGIN UPDATE total SET bytes = bytes + NEW.bytes; END;
CREATE TRIGGER IF NOT EXISTS instance_removed AFTER DELETE ON instances
BEGIN UPDATE total SET bytes = bytes - OLD.bytes; END;
"""
"""``total`` holds the bytes of all instances, so that an arrival costs the same however many there are; triggers change
it within the transaction that changes them."""
UNDONE = f"state = CASE results WHEN '[]' THEN '{State.RECEIVING}' ELSE '{State.MADE}' END"
"""State of a series whose results are to be made or, once they are made, to be sent."""
DUE = (
    f"((state IN ('{State.RECEIVING}', '{State.CLAIMED}') AND changed <= ? AND due <= ?) "
    f"OR (state = '{State.MADE}' AND due <= ?))"
)
"""Condition of what is due; takes the time since which nothing may have arrived, and twice the present. A claim is due,
too: if its process lives, its lock cannot be had."""
ENDED = "The process that worked on it was ended each time, by the system or from outside."
COLUMNS = "uid, folder, state, revision, changed, attempts, due, reason, results"
BUSY_S = 30.0
"""How long one process waits for another's write."""
ABANDONED_S = 3600.0
"""Unfinished files this old are nobody's."""
MOST_DOUBLINGS = 20
"""Largest number of doublings of the time between attempts."""
HASH_LETTERS = 24
"""Letters of the names of files and folders, which tell nothing of a patient."""
DIGIT = "[0-9a-f]"
OWN_UNFINISHED, OWN_INSTANCE = f"{32 * DIGIT}.dcm", "/".join([HASH_LETTERS * DIGIT] * 2) + ".dcm"
"""Patterns of what the listener writes, and of instances; whatever else lies beside them is left alone."""


class SeriesQueue:
    """The queue of one folder, for any number of threads and processes.

    Args:
        root: Folder; made if it is not there.
        quota_bytes: Instances together may have so many bytes; more are refused until some are removed.

    Raises:
        OutputError: Whenever its database cannot be used; if the folder holds something else.
    """

    def __init__(self, root: Path, quota_bytes: int) -> None:
        self.root, self.quota_bytes = root, quota_bytes
        self.incoming, self.outgoing, self.claims = root / "incoming", root / "outgoing", root / "claims"
        self.unfinished, self.database = root / "unfinished", root / "queue.sqlite"
        with self._using_disk():
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._check_own()
            _own(self.database)
            for folder in (self.incoming, self.outgoing, self.claims, self.unfinished):
                folder.mkdir(exist_ok=True, mode=0o700)
        with self._open() as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.executescript(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT;")

    def store(self, series: str, instance: str, file: Path) -> None:
        """Take an instance over, unless it is known; once this returns, a crash does not lose it.

        Args:
            series: Its SeriesInstanceUID.
            instance: Its SOPInstanceUID.
            file: On the same disk as the queue; moved, unless the instance is known or refused.

        Raises:
            OtherSeriesError: If another series has an instance of this UID.
            OutputError: If the quota is used up.
        """
        _sync(file)
        size = file.stat().st_size
        with self._transaction() as database:
            known = database.execute("SELECT series FROM instances WHERE uid = ?", (instance,)).fetchone()
            if known is not None:
                if known["series"] != series:
                    raise OtherSeriesError(f"Instance {_hash(instance)} was sent before, as one of another series.")
                return
            if self._bytes(database) + size > self.quota_bytes:
                raise OutputError(f"{self.root}: the quota of {tell_bytes(self.quota_bytes)} is used up.")
            place = self._place(series, instance)
            folder = place.parent
            if not folder.exists():
                folder.mkdir(exist_ok=True, mode=0o700)
                _sync(self.incoming)
            os.replace(file, place)
            _sync(folder)
            database.execute(
                "INSERT INTO series VALUES (:uid, :folder, :state, 1, :now, 0, 0, '', '[]') ON CONFLICT (uid) DO "
                "UPDATE SET state = :state, revision = revision + 1, changed = :now, attempts = 0, due = 0, "
                "reason = '', results = '[]'",
                {"uid": series, "folder": folder.name, "state": State.RECEIVING, "now": time.time()},
            )
            database.execute("INSERT INTO instances VALUES (?, ?, ?)", (instance, series, size))

    @contextmanager
    def claim(self, rest_s: float, attempts: int) -> Iterator[QueuedSeries | None]:
        """One series to work on, held by this process until the block ends; None if nothing is due.

        A series is due if nothing of it has arrived for ``rest_s`` seconds, or if whoever held it is gone. If it was
        claimed so many times before and nothing came of it, not even an error, its processes were ended; it is dead.
        """
        now = time.time()
        for each in self._list(DUE, now - rest_s, now, now):
            with self._lock(each) as held:
                found = self._take(each.uid, rest_s, attempts) if held else None
                if found is not None:
                    yield found
                    return
        yield None

    def made(self, series: QueuedSeries, results: Sequence[tuple[str, str]]) -> QueuedSeries | None:
        """Note that all results are in the folder of results, for good, whatever happens to the machine.

        Returns:
            The series as it is now, at the first attempt to send; None if slices have arrived meanwhile.
        """
        folder = self.results_of(series)
        with self._using_disk():
            for file in sorted({file for file, _ in results}):
                _sync(folder / file)
            for each in (folder, self.outgoing) if results else ():
                _sync(each)
        if not self._move(series, State.MADE, results=json.dumps(list(results)), attempts=1, reason=""):
            return None
        return replace(series, state=State.MADE, results=tuple(results), attempts=1, reason="")

    def sent(self, series: QueuedSeries, result: tuple[str, str]) -> bool:
        """Note that one of the results was sent, and will not be again; False if slices have arrived meanwhile."""
        with self._transaction() as database:
            row = database.execute(
                "SELECT results FROM series WHERE uid = ? AND revision = ?", (series.uid, series.revision)
            ).fetchone()
            if row is None:
                return False
            left = [each for each in json.loads(row["results"]) if tuple(each) != result]
            database.execute("UPDATE series SET results = ? WHERE uid = ?", (json.dumps(left), series.uid))
        return True

    def done(self, series: QueuedSeries) -> bool:
        """Note that all results were sent; False if slices have arrived meanwhile."""
        return self._move(series, State.DONE, reason="")

    def refuse(self, series: QueuedSeries, reason: str) -> bool:
        """Note that it can never succeed."""
        return self._move(series, State.REFUSED, reason=reason)

    def fail(self, series: QueuedSeries, reason: str, *, attempts: int, wait_s: float) -> bool:
        """Note a failure: to be tried again after ``wait_s``, then twice that, and no more after so many attempts."""
        if series.attempts >= attempts:
            return self._move(series, State.DEAD, reason=reason)
        wait = wait_s * 2.0 ** min(series.attempts - 1, MOST_DOUBLINGS)
        return self._move(series, None, reason=reason, due=time.time() + wait)

    def retry(self) -> int:
        """Try everything again at once that failed, dead, refused or waiting for its next attempt; how many."""
        with self._transaction() as database:
            return database.execute(
                f"UPDATE series SET {UNDONE}, attempts = 0, due = 0 WHERE state IN (?, ?) "
                "OR (reason != '' AND state IN (?, ?))",
                (State.DEAD, State.REFUSED, State.RECEIVING, State.MADE),
            ).rowcount

    def results_of(self, series: QueuedSeries) -> Path:
        """Folder for the results of one revision."""
        return self.outgoing / f"{series.folder.name}-{series.revision}"

    def list_series(self) -> list[QueuedSeries]:
        """All series, the newest last."""
        return self._list("TRUE")

    def list_old(self, older_than_s: float) -> list[QueuedSeries]:
        """Series that were done, refused or given up so long ago."""
        return self._list(f"state IN {tuple(map(str, OVER))} AND changed <= ?", time.time() - older_than_s)

    def remove(self, series: QueuedSeries) -> bool:
        """Delete the files and results of a series, and forget it.

        Returns:
            Whether it was removed; it stays if it is being worked on, or is not as it was when it was listed.

        Raises:
            OutputError: If a file cannot be deleted; then the series stays in the queue, too.
        """
        with self._lock(series) as held:
            removed = held and self._remove(series)
            if removed and os.name == "posix":  # elsewhere the lock does it, and nobody can delete what is open
                self._lock_file(series).unlink(missing_ok=True)
        return removed

    def remove_abandoned(self) -> None:
        """Delete what callers left that went away in the middle of an instance."""
        with self._using_disk():
            for left in self.unfinished.glob(OWN_UNFINISHED):
                with suppress(FileNotFoundError):  # its caller is not gone
                    if left.stat().st_mtime < time.time() - ABANDONED_S:
                        left.unlink()

    def list_unlisted(self) -> list[Path]:
        """Files of instances of which the database does not know: it refused, or their process was ended, too early.

        One that arrives just now may be among them; `store` takes any of them in where it lies, once.
        """
        with self._using_disk(), self._open() as database:
            files = set(self.incoming.glob(OWN_INSTANCE))  # before their rows, which come later than files
            rows = database.execute("SELECT series, uid FROM instances").fetchall()
        return sorted(files - {self._place(row["series"], row["uid"]) for row in rows})

    def used_bytes(self) -> int:
        """Bytes of all instances."""
        with self._open() as database:
            return self._bytes(database)

    def _list(self, where: str, *values: float) -> list[QueuedSeries]:
        with self._open() as database:
            rows = database.execute(f"SELECT {COLUMNS} FROM series WHERE {where} ORDER BY changed", values).fetchall()
        return [self._read(row) for row in rows]

    def _place(self, series: str, instance: str) -> Path:
        return self.incoming / _hash(series) / f"{_hash(instance)}.dcm"

    def _lock_file(self, series: QueuedSeries) -> Path:
        return self.claims / f"{series.folder.name}.lock"

    @contextmanager
    def _lock(self, series: QueuedSeries) -> Iterator[bool]:
        """Whether the lock of a series could be had; released with the block."""
        lock = FileLock(self._lock_file(series), mode=0o600)
        with self._using_disk(), suppress(Timeout):
            lock.acquire(blocking=False)
        try:
            yield lock.is_locked
        finally:
            lock.release()

    def _take(self, uid: str, rest_s: float, attempts: int) -> QueuedSeries | None:
        """Claim it, if it still is as it was when it was listed; the attempt counts from here on."""
        now = time.time()
        with self._transaction() as database:
            row = database.execute(
                f"SELECT {COLUMNS} FROM series WHERE uid = ? AND {DUE}", (uid, now - rest_s, now, now)
            ).fetchone()
            if row is None:
                return None
            found = self._read(row)
            if found.attempts >= attempts:
                database.execute(
                    "UPDATE series SET state = ?, changed = ?, reason = ? WHERE uid = ?",
                    (State.DEAD, now, found.reason or ENDED, uid),
                )
                return None
            state = State.MADE if found.state == State.MADE else State.CLAIMED
            database.execute("UPDATE series SET state = ?, attempts = attempts + 1 WHERE uid = ?", (state, uid))
        return replace(found, attempts=found.attempts + 1)

    def _move(self, series: QueuedSeries, state: State | None, **values: object) -> bool:
        """Change a series unless slices have come since it was claimed; without a state, back to what is to be done."""
        named = dict(values)
        if state is not None:
            named |= {"state": str(state), "changed": time.time()}
        settings = ", ".join([*(f"{name} = ?" for name in named), *([] if state else [UNDONE])])
        with self._transaction() as database:
            moved = database.execute(
                f"UPDATE series SET {settings} WHERE uid = ? AND revision = ?",
                (*named.values(), series.uid, series.revision),
            )
            return moved.rowcount == 1

    def _remove(self, series: QueuedSeries) -> bool:
        with self._transaction() as database, self._using_disk():
            as_listed = "SELECT 1 FROM series WHERE uid = ? AND revision = ? AND state = ?"
            if database.execute(as_listed, (series.uid, series.revision, series.state)).fetchone() is None:
                return False
            # Files first: what a crash leaves is still listed, and can be removed again.
            for folder in (series.folder, *self.outgoing.glob(f"{series.folder.name}-*")):
                with suppress(FileNotFoundError):
                    shutil.rmtree(folder)
            database.execute("DELETE FROM instances WHERE series = ?", (series.uid,))
            database.execute("DELETE FROM series WHERE uid = ?", (series.uid,))
        return True

    def _read(self, row: sqlite3.Row) -> QueuedSeries:
        return QueuedSeries(
            row["uid"],
            self.incoming / row["folder"],
            State(row["state"]),
            row["revision"],
            row["attempts"],
            row["due"],
            row["reason"],
            tuple((file, destination) for file, destination in json.loads(row["results"])),
        )

    @staticmethod
    def _bytes(database: sqlite3.Connection) -> int:
        return int(database.execute("SELECT bytes FROM total").fetchone()[0])

    def _check_own(self) -> None:
        """Refuse a folder in which something else has the names of what a queue holds."""
        taken = [each.name for each in (self.incoming, self.outgoing, self.claims, self.unfinished) if each.exists()]
        if taken and not self.database.exists():
            told = f"holds {join_first(taken)} and no {self.database.name}, so it is no queue"
            raise OutputError(f"{self.root}: {told}; name a new or empty folder.")

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        place = self.database
        try:
            with closing(sqlite3.connect(place, timeout=BUSY_S, isolation_level=None)) as database:
                database.row_factory = sqlite3.Row
                database.execute("PRAGMA synchronous = FULL")
                database.execute("PRAGMA foreign_keys = ON")
                yield database
        except sqlite3.Error as error:  # a full disk, a damaged file, another process that writes for too long
            raise OutputError(f"{place}: cannot be used ({error}); see whether the disk is full or damaged.") from error

    @contextmanager
    def _using_disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"{self.root}: the queue cannot be used ({error.strerror or error}); see whether its disk is full, and "
                "whether the folder is yours."
            ) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._open() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")


def _hash(uid: str) -> str:
    return hashlib.sha256(uid.encode()).hexdigest()[:HASH_LETTERS]


def _own(file: Path) -> None:
    """Let nobody but its owner read a file; made if it is not there."""
    file.touch(mode=0o600)
    if file.stat().st_mode & 0o077:  # of an earlier version
        with suppress(PermissionError):
            file.chmod(0o600)


def _sync(path: Path) -> None:
    """Let a file or a rename in a folder survive a power cut, where the system can."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:  # Windows opens no folders
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
