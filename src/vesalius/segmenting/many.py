"""From paths to masks, a table and a page: what is done is skipped, what fails is told."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vesalius.errors import ConfigError, ImageError
from vesalius.files import check_absent, sha256_of
from vesalius.models.checkpoint_file import find_checkpoint
from vesalius.predict import check_prompts
from vesalius.record import Row
from vesalius.segmenting.journal import Journal, Plan, alone
from vesalius.segmenting.page import write_page
from vesalius.segmenting.request import Request, find_items
from vesalius.segmenting.run import Outcome, segment_items
from vesalius.segmenting.tables import check_table, write_table

PAGE = "index.html"
TABLE = "results.csv"
FILES = ("mask", "overlay")
"""Columns of the record that name files beside it."""

Watch = Callable[[Iterator[Outcome], int], Iterator[Outcome]]
"""Passes outcomes on and shows how many of how many have come."""


@dataclass(frozen=True)
class Summary:
    """What a run did."""

    rows: list[Row]
    """Of the images done now or before, an image's together."""
    done: int
    """Images."""
    skipped: int
    """Images that were done before."""
    failures: list[dict[str, str]]
    """As ``{"source": …, "reason": …}``."""
    page: Path
    table: Path

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON, with the paths of all files."""
        home = self.page.parent
        return {
            "done": self.done,
            "skipped": self.skipped,
            "failures": self.failures,
            "page": self.page,
            "table": self.table,
            "results": [row | {kind: home / str(row[kind]) for kind in FILES if row[kind]} for row in self.rows],
        }


def segment_many(
    paths: Sequence[str | Path],
    request: Request,
    out: Path,
    *,
    table: Path | None = None,
    jobs: int = 1,
    each: bool = False,
    overwrite: bool = False,
    watch: Watch = lambda outcomes, _: outcomes,
) -> Summary:
    """Segment the images of files, folders and patterns.

    Masks, an overview of each image, a table, a page and the record `segmentation.json` come into one folder. What the
    record says is done, from the same files by the same settings, is skipped; what would take the place of anything
    else is refused; whatever fails is told and stops no other. A run that was ended at any moment can be started again.

    Args:
        paths: See `vesalius.segmenting.request.find_items`.
        request: What to ask of each.
        out: Folder of the results.
        table: A .csv or .parquet file; results.csv in the folder by default.
        jobs: Processes.
        each: List numbered pictures one by one, not as slices of a stack.
        overwrite: Do everything anew, and replace what is there.
        watch: For a progress bar.

    Raises:
        ConfigError: If an option is out of its range.
        ImageError: If there is nothing to segment at all.
        MissingPackageError, ModelError: If the model cannot be opened.
        OutputError: If the folder cannot be written, or a table of somebody else's is in the way.
        PromptError: If there is no phrase, or an empty one.
    """
    request = _check(request, jobs)
    target = (out / TABLE if table is None else table).absolute()
    check_table(target)
    out, page = out.absolute(), out.absolute() / PAGE
    known = Journal(out)
    items, failures = find_items(paths, known.own_files(), known.stems, choices=request.choices, each=each)
    if not items:
        raise ImageError(failures[0]["reason"] if failures else f"{paths[0]}: holds nothing but results of ours.")
    with alone(out):
        journal = Journal(out)
        check_absent([each for each in (page, target) if not journal.made(each)], overwrite)
        plan = journal.plan(items, request, overwrite)
        failures += plan.refused
        journal.begin(plan.todo, request, [page, target])
        done = _run(plan, request, journal, failures, jobs, watch)
        order = {item.image: place for place, item in enumerate(items)}
        rows = sorted(_all_rows(journal), key=lambda row: order.get(str(row["image"]), len(order)))
        if rows:
            write_table(target, rows)
            write_page(page, rows, failures, [target])
    wanted = {item.image for item in (*plan.todo, *plan.skipped)}
    told = [row for row in rows if row["image"] in wanted and "stem" in row]
    return Summary(told, done, len(plan.skipped), failures, page, target)


def _check(request: Request, jobs: int) -> Request:
    check_prompts(request.prompts)
    if len(set(request.prompts)) < len(request.prompts):
        raise ConfigError("--prompt: a phrase stands twice; name each once.")
    request.rules.check(len(request.prompts))
    if jobs < 1:
        raise ConfigError(f"--jobs: expected a number of processes, 1 or more, got {jobs}.")
    return replace(request, weights=sha256_of(find_checkpoint(request.model)))


def _run(
    plan: Plan, request: Request, journal: Journal, failures: list[dict[str, str]], jobs: int, watch: Watch
) -> int:
    """Segment what is to be done; how many were."""
    done = 0
    try:
        for outcome in watch(segment_items(plan.todo, request, journal.out, jobs), len(plan.todo)):
            if outcome.rows:
                journal.add(outcome.rows)
                done += 1
            else:
                failures.append({"source": outcome.item.image, "reason": outcome.reason})
    finally:
        journal.end()
    return done


def _all_rows(journal: Journal) -> Iterator[Row]:
    for image in sorted(journal.rows):
        yield from journal.rows[image]
