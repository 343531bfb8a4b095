"""Read every image and mask once, in one process or several."""

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from rich.progress import Progress

from vesalius.data.check.findings import Finding
from vesalius.data.check.folders import Uses
from vesalius.data.check.image_facts import ImageFacts, examine_image
from vesalius.data.check.mask_facts import MaskFacts, examine_mask
from vesalius.errors import DataError, ImageError, MissingPackageError

WORTH = 200
"""Files from which starting other processes pays."""
CHUNK = 16
"""Files handed to a process at once."""
INTERRUPTED_BY_CALLER = (signal.SIGINT, signal.SIG_IGN)
"""Ctrl-C reaches the caller, who ends the processes; they need not tell of it themselves."""


@dataclass(frozen=True)
class FileFacts:
    """All images and masks that are there, by path within the data set."""

    images: dict[str, ImageFacts] = field(default_factory=dict)
    masks: dict[str, MaskFacts] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    """Files that cannot be read."""


def read_files(root: Path, images: Uses, masks: Uses, *, jobs: int, bar: Progress) -> FileFacts:
    """Examine each file that records name; missing ones are left out.

    Args:
        root: Folder of the data set.
        images: Images and the records that name them.
        masks: Masks and the records that name them.
        jobs: Processes that read at the same time.
        bar: Where progress is shown.

    Raises:
        DataError: If a process was ended from outside.
    """
    facts = FileFacts()
    files = [file for file in (*images, *masks) if (root / file).is_file()]
    task = bar.add_task("Reading", total=len(files))
    for file, result in zip(files, _examine_all(root, files, jobs), strict=True):
        match result:
            case ImageFacts():
                facts.images[file] = result
            case MaskFacts():
                facts.masks[file] = result
            case str():
                kind, uses = ("unreadable_image", images) if file in images else ("unreadable_mask", masks)
                facts.findings.append(Finding(kind, result, tuple(row.at(file) for row in uses[file])))
        bar.advance(task)
    return facts


def _examine_all(root: Path, files: Sequence[str], jobs: int) -> Iterator[ImageFacts | MaskFacts | str]:
    if jobs == 1 or len(files) < WORTH:
        yield from map(partial(_examine, root), files)
        return
    # A fresh process each: forking is unsafe beside the threads of a progress bar, and threads would wait for each
    # other, as Python itself takes half the time.
    with _pool(jobs) as pool:
        yield from pool.map(partial(_examine, root), files, chunksize=CHUNK)


def _examine(root: Path, file: str) -> ImageFacts | MaskFacts | str:
    examine = examine_image if file.startswith("images/") else examine_mask
    try:
        return examine(root / file)
    except (ImageError, MissingPackageError) as error:
        return str(error).replace(f"{root / file}", file)


@contextmanager
def _pool(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that end as soon as the caller stops, instead of finishing what waits."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=signal.signal, initargs=INTERRUPTED_BY_CALLER)
    try:
        yield pool
    except BrokenProcessPool as error:
        message = "A process that read files was ended from outside, probably for lack of memory; try --jobs 1."
        raise DataError(message) from error
    finally:
        pool.shutdown(cancel_futures=True)
