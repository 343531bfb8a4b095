"""``vesalius pacs listen``, ``status``, ``retry`` and ``remove``: the listener and its queue."""

import signal
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from vesalius.cli.pacs import require_pacs
from vesalius.cli.usage import AsJson, Flat
from vesalius.console import print_json, print_table, say
from vesalius.errors import ConfigError, OutputError
from vesalius.files import tell_bytes
from vesalius.models.choices import DEFAULT_MODEL
from vesalius.pacs.settings import ListenSettings

if TYPE_CHECKING:
    from vesalius.pacs.series_queue import SeriesQueue
    from vesalius.pacs.states import QueuedSeries

FAILURE = ("series", "state", "attempts", "next_attempt", "reason")
"""What is told of a series that failed."""
LEAST_LETTERS = 8
"""Smallest number of letters by which a series may be called, of its number as the listener says it."""


def pacs_listen(
    *,
    rules: Path,
    queue: Path,
    settings: Annotated[ListenSettings, Flat] = ListenSettings(),  # noqa: B008 - frozen
    model: str = DEFAULT_MODEL,
) -> None:
    """Accept series by C-STORE, work on them by rules, and send results back, until it is stopped.

    What was accepted survives any crash; the same command goes on where it was.

    Examples:
        vesalius pacs listen --rules rules.toml --queue /var/lib/vesalius
        vesalius pacs listen --rules rules.toml --queue queue --caller PACS

    Documentation:
        docs/pacs.md

    Args:
        rules: TOML file: which series, what to do, where results go.
        queue: Folder for what arrives and what is made of it.
        settings: Where to listen, and to whom.
        model: A model's name, or a checkpoint.
    """
    require_pacs()
    from vesalius.pacs.listener import listening
    from vesalius.pacs.rules import read_pacs_rules
    from vesalius.pacs.series_queue import SeriesQueue
    from vesalius.pacs.worker import Worker

    known = read_pacs_rules(rules)
    waiting = SeriesQueue(queue, known.queue.quota_bytes)
    worker, stopped = Worker(waiting, known, model, settings.aet), threading.Event()
    worker.check()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stopped.set())
    with listening(waiting, settings) as bound:
        say(f"{settings.aet} listens on {settings.host}:{bound}; Ctrl-C stops it after the series it works on.")
        worker.run(stopped)
    say("Stopped; what was accepted waits in the queue.")


def pacs_status(queue: Path, /, *, as_json: AsJson = False) -> None:
    """Say what a queue holds, what failed for which reason, and when that is tried again.

    Examples:
        vesalius pacs status /var/lib/vesalius

    Documentation:
        docs/pacs.md

    Args:
        queue: Its folder.
        as_json: Print JSON.
    """
    from vesalius.pacs.states import State

    waiting = _open(queue)
    rows = waiting.list_series()
    counts = Counter(each.state for each in rows)
    failed = [each for each in rows if each.reason]
    unlisted = len(waiting.list_unlisted())
    if as_json:
        told = [dict(zip(FAILURE, _row(each, _due(each)), strict=True)) for each in failed]
        states = {state: counts[state] for state in State}
        print_json({"states": states, "bytes": waiting.used_bytes(), "failed": told, "unlisted": unlisted})
        return
    print_table(("state", "series"), [(state, counts[state]) for state in State])
    say(f"Instances take {tell_bytes(waiting.used_bytes())}.")
    if unlisted:
        say(f"{unlisted} files in {waiting.incoming} are in no series yet; a running listener takes them in.")
    if failed:
        columns = [each.replace("_", " ") for each in FAILURE]
        print_table(columns, [_row(each, _wait(each)) for each in failed])
        say(f"To try them again now: vesalius pacs retry {queue}")


def pacs_retry(queue: Path, /) -> None:
    """Try everything again now that failed: refused, given up, or waiting for its next attempt.

    Examples:
        vesalius pacs retry /var/lib/vesalius

    Documentation:
        docs/pacs.md

    Args:
        queue: Its folder.
    """
    say(f"{_open(queue).retry()} series are tried again.")


def pacs_remove(queue: Path, series: str, /, *, yes: bool = False) -> None:
    """Remove a series' files and results from a queue at once, as when another patient was sent by mistake.

    What is being worked on is not removed. What was sent to an archive is deleted there, not here.

    Examples:
        vesalius pacs remove /var/lib/vesalius 5713db53
        vesalius pacs remove /var/lib/vesalius 5713db53 --yes

    Documentation:
        docs/pacs.md

    Args:
        queue: Its folder.
        series: SeriesInstanceUID, or the number by which the listener and `vesalius pacs status` call it.
        yes: Remove it; without, it is only told what would be.
    """
    waiting = _open(queue)
    found = _choose(waiting, series)
    about = f"series {found.short} ({found.revision} instances, {found.state}, {len(found.results)} results to be sent)"
    if not yes:
        raise ConfigError(f"{about} would be removed for good; add --yes.")
    if not waiting.remove(found):
        raise OutputError(f"{about} is being worked on or has just changed; try again later, or stop the listener.")
    say(f"{about} is removed; if it is sent again, it is taken again.")


def _choose(queue: "SeriesQueue", given: str) -> "QueuedSeries":
    """The one series of a queue that is meant."""
    known = queue.list_series()
    by_number = [each for each in known if len(given) >= LEAST_LETTERS and each.folder.name.startswith(given)]
    found = [each for each in known if each.uid == given] or by_number
    if len(found) != 1:
        state = "holds several series" if found else "holds no series"
        raise ConfigError(f"{queue.root}: {state} {given}; name the SeriesInstanceUID, or a number such as 5713db53.")
    return found[0]


def _row(series: "QueuedSeries", next_attempt: str | None) -> tuple[object, ...]:
    return series.short, series.state, series.attempts, next_attempt, series.reason


def _due(series: "QueuedSeries") -> str | None:
    """When it is tried again, for programs; None if it is not."""
    return None if series.is_over else datetime.fromtimestamp(series.due, UTC).isoformat(timespec="seconds")


def _wait(series: "QueuedSeries") -> str | None:
    """When it is tried again, for people; None if it is not."""
    seconds = series.due - time.time()
    if series.is_over:
        return None
    return "now" if seconds <= 0 else f"in {seconds:.0f} s" if seconds < 100 else f"in {seconds / 60:.0f} min"


def _open(queue: Path) -> "SeriesQueue":
    from vesalius.pacs.series_queue import SeriesQueue

    if not (queue / "queue.sqlite").is_file():
        raise ConfigError(f"{queue}: holds no queue; name the folder that `vesalius pacs listen --queue` was given.")
    return SeriesQueue(queue, quota_bytes=0)
