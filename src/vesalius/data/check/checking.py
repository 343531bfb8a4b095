"""One pass over a data set: read everything once, then look at it from every side."""

import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.progress import Progress

from vesalius.data.check.contradictions import check_contradictions
from vesalius.data.check.duplicates import check_duplicates, count_leaks, find_likenesses
from vesalius.data.check.folders import check_folders, gather_uses
from vesalius.data.check.patients import Grouping, check_groups
from vesalius.data.check.pixels import check_pixels
from vesalius.data.check.reading import read_files
from vesalius.data.check.report import CheckReport
from vesalius.data.check.rows import SPLITS, read_rows
from vesalius.data.check.wordings import check_wordings
from vesalius.errors import ConfigError

LEAST = 0.5
"""Below this similarity, pictures of one kind resemble each other anyway."""


@dataclass(frozen=True)
class CheckSettings:
    """What a check may be told."""

    similarity: float = 0.9
    """Correlation from which two images are near-duplicates, 0.5 to 1."""
    grouping: Grouping = field(default_factory=Grouping)
    """How a record says which patient it belongs to; by default nobody knows."""
    jobs: int = 1
    """Processes that read files at the same time."""

    def __post_init__(self) -> None:
        if not LEAST <= self.similarity <= 1:
            raise ConfigError(f"--similarity: expected {LEAST} to 1, got {self.similarity}.")
        if self.jobs < 1:
            raise ConfigError(f"--jobs: expected 1 or more, got {self.jobs}.")


def check_dataset(root: Path, settings: CheckSettings | None = None, bar: Progress | None = None) -> CheckReport:
    """Look for everything that is wrong with a data set in the benchmark's layout.

    Args:
        root: Folder with ``images/``, ``masks/`` and ``anns/``.
        settings: What counts as a near-duplicate or a group, and how many processes read.
        bar: Where progress is shown; nowhere by default.

    Raises:
        DataError: If the folder is no data set at all.
        ConfigError: If the setting for groups fits no record.
    """
    settings, bar = settings or CheckSettings(), bar or Progress(disable=True)
    start = time.perf_counter()
    rows, findings = read_rows(root)
    complete = not findings
    findings += check_groups(rows, settings.grouping)
    images, masks = gather_uses(rows)
    findings += check_folders(root, images, masks, complete=complete)
    facts = read_files(root, images, masks, jobs=settings.jobs, bar=bar)
    findings += facts.findings
    findings += check_pixels(rows, images, masks, facts)
    findings += check_wordings(rows, facts)
    groups = find_likenesses(facts.images, settings.similarity, bar)
    findings += check_duplicates(groups, images)
    findings += check_contradictions(root, groups, images, facts)
    records = Counter(row.split for row in rows)
    return CheckReport(
        root=root,
        records={split: records[split] for split in SPLITS},
        images=len(facts.images),
        findings=findings,
        leaks=count_leaks(groups, images),
        settings=asdict(settings),
        seconds=time.perf_counter() - start,
        rows=rows,
    )
