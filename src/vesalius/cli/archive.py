"""``vesalius archive run`` and ``status``."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from vesalius.cli.usage import AsJson, InPrecision, OnDevice, WithRuntime
from vesalius.console import print_json, print_table, progress_bar, say, say_first
from vesalius.errors import LISTED, ConfigError, fail_with, require, tell_failure
from vesalius.files import tell_bytes
from vesalius.models.choices import DEFAULT_MODEL

if TYPE_CHECKING:
    from vesalius.archive.run import ArchiveSummary, RunProgress
    from vesalius.archive.status import ArchiveStatus

TELL_S = 60.0
"""Seconds between lines of progress where no bar is shown."""


def archive_run(
    source: str,
    /,
    *,
    task: Literal["name", "segment"],
    prompt: Annotated[tuple[str, ...], Parameter(alias="-p")] = (),
    out: Annotated[str, Parameter(alias="-o")],
    model: str = DEFAULT_MODEL,
    each: bool = False,
    workers: int = 1,
    threads: int = 0,
    ray: str | None = None,
    gpus: float = 0.0,
    shard: int = 512,
    timeout: float | None = None,
    tries: int = 3,
    retry: bool = False,
    price_per_hour: float = 0.0,
    runtime: WithRuntime = "auto",
    device: OnDevice = "auto",
    precision: InPrecision = "32",
    as_json: AsJson = False,
) -> None:
    """Name or segment every image of an archive, each exactly once, on this machine or a cluster.

    Results are tables (Parquet) in shards: rows/ has a row a slice, or a slice and phrase, masks/ the masks. Started
    again after any interruption, a run goes on where it was. What fails is told in failed.parquet, with exit code 2 at
    the end, and stops nothing else.

    Examples:
        vesalius archive run study/ --task name -o names
        vesalius archive run "scans/**/*.dcm" --task name -o names --each
        vesalius archive run list.parquet --task segment -p liver -o out
        vesalius archive run s3://a/in --task name -o s3://a/out --ray auto
        vesalius archive run http://pacs/dicom-web --task name -o names

    Documentation:
        docs/archive.md

    Args:
        source: A folder, file or pattern, on a disk or in an object store (s3://…), a Parquet table with a column
            "path", or the address of a DICOMweb service.
        task: name says what slices show, segment outlines phrases.
        prompt: What to outline; repeat it for several. An image is encoded once for all.
        out: Folder or URL of the results.
        model: A model's name, a checkpoint or a run's folder; to name, also public weights, such as pubmedclip.
        each: Take every DICOM file as an image of its own, not as a slice of the series in its folder. Pictures always
            are.
        workers: Processes with a model each; 0 works in this process, where a damaged file may end or hang the run.
        threads: Threads of each; by default they share the cores, and on Ray have one each.
        ray: Work on a Ray cluster: "local" starts one on this machine, "auto" finds the one that this machine is in, or
            its address; needs `vesalius[ray]`.
        gpus: GPUs of each worker on Ray; goes with --device cuda.
        shard: Images of a shard; a worker that is killed loses one shard at most.
        timeout: Seconds after which an image is given up, 600 by default; not with --workers 0.
        tries: Tries of an image that takes too long, ends its process or cannot be fetched.
        retry: Try everything again that failed in a former run.
        price_per_hour: Price of all machines together, to tell the cost.
        as_json: Print JSON.
    """
    require("pyarrow", extra="archive")
    from vesalius.archive.request import ArchiveRequest, ShardLimits, WorkerOptions
    from vesalius.archive.run import run_archive

    if timeout is not None and workers == 0:
        raise ConfigError("--timeout: an image can be given up only in another process; take --workers 1 or more.")
    how = WorkerOptions(threads, tries=tries)
    asked = ArchiveRequest(
        source, task, prompt, model=model, each=each, runtime=runtime, device=device, precision=precision
    )
    with _watching() as watch:
        summary = run_archive(
            asked,
            out,
            workers=workers,
            options=how if timeout is None else replace(how, timeout_s=timeout),
            limits=ShardLimits(shard),
            ray=ray,
            gpus=gpus,
            retry=retry,
            price_per_hour=price_per_hour,
            watch=watch,
        )
    if as_json:
        print_json(summary.to_dict())
    else:
        _print(summary)
    _refuse(summary)


@contextmanager
def _watching() -> "Iterator[Callable[[RunProgress], None]]":
    """A bar on terminals, a line a minute elsewhere."""
    with progress_bar() as bar:
        task = bar.add_task("Listing", total=None)
        told = time.monotonic()

        def watch(progress: "RunProgress") -> None:
            nonlocal told
            line = _tell(progress)
            total = progress.done + progress.left if progress.complete else None
            bar.update(task, description=line, completed=progress.done, total=total)
            if bar.disable and time.monotonic() - told > TELL_S:
                told = time.monotonic()
                say(line)

        yield watch


def _tell(progress: "RunProgress") -> str:
    eta = progress.eta_s if progress.complete else None
    parts = [f"{progress.slices:,} slices", f"{progress.slices_per_s:.1f} a second"]
    parts += [f"{progress.totals.failed:,} failed"] if progress.totals.failed else []
    parts += [] if eta is None else [f"{eta / 60:,.0f} min left"]
    parts += [f"cost {progress.totals.price:.2f}"] if progress.totals.price else []
    return ", ".join(parts)


def _print(summary: "ArchiveSummary") -> None:
    pace = f", {summary.slices / summary.seconds:.1f} a second" if summary.slices else ""
    skipped = f" {summary.skipped} were done before." if summary.skipped else ""
    say(f"{summary.done} images done, {summary.slices} slices{pace}.{skipped}")
    if summary.totals.price:
        say(f"Cost so far: {summary.totals.price:.2f}.")
    for kind, number in sorted(summary.left_out.items()):
        say(f"{number} left out: {kind}")
    if summary.alone > 1:
        say(
            f"{summary.alone} DICOM files are listed one by one, so each is an image of its own, and slices of a "
            "series did not decide together; list their folders for that."
        )
    say(f"Results: {summary.out}; how far it is: vesalius archive status {summary.out}")


def _refuse(summary: "ArchiveSummary") -> None:
    """List failures at the end.

    Raises:
        ImageError: If anything failed.
    """
    told = [tell_failure({name: str(each[name]) for name in ("source", "reason")}) for each in summary.failures]
    fail_with(told, "failed, which --retry tries again", f", which {summary.out}/failed.parquet lists")


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
        ("size", f"{tell_bytes(totals.bytes)} in {totals.shards} shards"),
        ("last change", totals.changed),
        ("hours", f"{totals.wall / 3600:.2f} in {totals.runs} runs"),
        ("a slice", None if each is None else f"{1000 * each:.1f} ms of one worker"),
    ]
    rows += [(f"of it {name}", f"{100 * value / whole:.0f} %") for name, value in totals.seconds.items() if whole]
    rows += [("price", f"{totals.price:.2f}")] if totals.price else []
    rows += [] if not found.eta_s else [("time left", f"{found.eta_s / 3600:.2f} h")]
    return rows
