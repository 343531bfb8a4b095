"""``vesalius data check FOLDER``."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from vesalius.data.check import CheckReport, Finding

SHOWN_SPLITS = ("train", "val", "test")
EXAMPLES = 3
"""Findings of a kind that are told on the terminal; --out has all."""


def data_check(
    folder: Path,
    /,
    *,
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    similarity: float = 0.9,
    group_regex: str | None = None,
    group_field: str | None = None,
    jobs: int | None = None,
    overwrite: bool = False,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Look for what is wrong with a data set: files, masks, prompts, duplicates, leaks.

    Exit codes:
        1: There is an error or a warning; notes do not count.

    Examples:
        vesalius data check kvasir
        vesalius data check kvasir --group-regex "^[^_]+" -o checked

    Documentation:
        docs/data-check.md

    Args:
        folder: Folder with images/, masks/ and anns/.
        out: Folder for check.json (everything) and check.html (one page with pictures).
        similarity: Correlation from which two images count as near-duplicates, 0.5 to 1.
        group_regex: Names the patient or video in an image's file name: its first bracket, or all that matches.
        group_field: Field of the records that names the patient or video.
        jobs: Files read at the same time; by default one for each processor.
        overwrite: Replace what this command made there from something else.
        as_json: Print one JSON object.
    """
    from dataclasses import asdict

    from vesalius.console import print_json, progress_bar, say
    from vesalius.data.check import CheckSettings, Grouping, check_dataset
    from vesalius.data.check.page import write_page
    from vesalius.files import write_json
    from vesalius.folders import Claim

    processes = os.cpu_count() or 1 if jobs is None else jobs
    settings = CheckSettings(similarity, Grouping(group_regex, group_field), processes)
    origin = {"data": str(folder.resolve()), "similarity": similarity, **asdict(settings.grouping)}
    claim = out and Claim(out, "data check", origin, ["check.html", "check.json"], overwrite)
    if claim:
        claim.check()
    with progress_bar() as bar:
        report = check_dataset(folder, settings, bar)
        if claim:
            claim.make()
            write_json(claim.folder / "check.json", report.to_dict())
            write_page(report, claim.folder / "check.html", bar)
    if as_json:
        print_json(report.to_dict())
    else:
        _print(report)
    if out is not None:
        say(f"Written: {out / 'check.json'}, {out / 'check.html'}")
    if report.wrong:
        sys.exit(1)


def _print(report: "CheckReport") -> None:
    from vesalius.console import print_table, say
    from vesalius.data.check import read_kinds

    by_kind, kinds = report.by_kind(), read_kinds()
    rows = [
        (
            str(kinds[each.kind].severity),
            kinds[each.kind].title,
            each.findings,
            *(each.splits[split] or None for split in SHOWN_SPLITS),
        )
        for each in report.counts()
    ]
    if rows:
        title = f"{report.root}: {report.images:,} images"
        print_table(("", "what", "findings", *SHOWN_SPLITS), rows, title=title)
    for kind, found in by_kind.items():
        for finding in found[:EXAMPLES]:
            say(f"{kinds[kind].severity}: {finding.message} ({_where(finding)})")
        if len(found) > EXAMPLES:
            say(f"{kinds[kind].severity}: … {len(found) - EXAMPLES:,} more: {kinds[kind].title}")
    for leak in report.leaks:
        if leak.images:
            say(f"{leak.images} of {leak.of} {leak.scored} images resemble a {leak.seen} image.")
    verdict = "Something is wrong." if report.wrong else "Nothing is wrong."
    rate = report.images / report.seconds if report.seconds else 0.0
    say(f"{verdict} {report.images:,} images and their masks in {report.seconds:.1f} s, {rate:.0f} a second.")


def _where(finding: "Finding") -> str:
    """The first places of a finding: "train 12, test 3"."""
    records = [
        place.split if place.record is None else f"{place.split} {place.record}"
        for place in finding.places
        if place.split
    ]
    if not records:
        return "no record"
    return ", ".join(records[:EXAMPLES]) + (" …" if len(records) > EXAMPLES else "")
