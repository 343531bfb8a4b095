"""``vesalius archive run`` and ``status``."""

from typing import TYPE_CHECKING

from vesalius.cli.usage import AsJson
from vesalius.console import print_json, print_table, say_first

if TYPE_CHECKING:
    from vesalius.archive.status import ArchiveStatus

LISTED = 5
"""Reasons of failures that are listed on the terminal; failed.parquet has all."""


def archive_status(out: str, /, *, as_json: AsJson = False) -> None:
    """Say how far an archive is, what it cost so far, and what failed for which reason.

    Examples:
        vesalius archive status results
        vesalius archive status s3://bucket/results --json

    Documentation:
        docs/archive.md

    Args:
        out: Folder or URL that `vesalius archive run --out` was given.
        as_json: Print JSON.
    """
    from vesalius.archive.status import read_status

    found = read_status(out)
    if as_json:
        print_json(found.to_dict())
        return
    print_table(("what", "so far"), _rows(found))
    reasons = [f"{number} failed: {reason}" for reason, number in found.failures.items()]
    say_first(reasons, LISTED, "… for {} more reasons, which failed.parquet lists.")


def _rows(found: "ArchiveStatus") -> list[tuple[str, object]]:
    totals, left = found.totals, found.left
    each = found.seconds_per_slice
    whole = sum(totals.seconds.values())
    rows: list[tuple[str, object]] = [
        ("images done", totals.items),
        ("images failed", totals.failed),
        ("images left", "listing is not complete" if left is None else left),
        ("slices", totals.slices),
        ("rows", totals.rows),
        ("masks", totals.masks),
        ("size", f"{totals.bytes / 2**20:.1f} MiB in {totals.shards} shards"),
        ("last change", totals.changed),
        ("hours", f"{totals.wall / 3600:.2f} in {totals.runs} runs"),
        ("a slice", None if each is None else f"{1000 * each:.1f} ms of one worker"),
    ]
    rows += [(f"of it {name}", f"{100 * value / whole:.0f} %") for name, value in totals.seconds.items() if whole]
    rows += [("price", f"{totals.price:.2f}")] if totals.price else []
    rows += [] if found.eta_s is None else [("time left", f"{found.eta_s / 3600:.2f} h")]
    return rows
