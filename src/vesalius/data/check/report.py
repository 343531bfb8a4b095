"""All findings about one data set: their counts, as JSON, and as one HTML page that needs nothing but itself."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image
from rich.progress import Progress

from vesalius import __version__
from vesalius.data.annotations import SPLITS
from vesalius.data.check.facts import to_levels
from vesalius.data.check.findings import CheckFinding, Place, PlacedRecord, Severity, read_kinds
from vesalius.data.check.similar import ORIENTATIONS
from vesalius.errors import ImageError, MissingPackageError
from vesalius.files import write_text
from vesalius.imaging import overlay, read_image, read_mask
from vesalius.imaging.slices import shrink
from vesalius.pages import jpeg_address, render_page


@dataclass(frozen=True)
class Leak:
    """How many images of a split resemble images that a model has seen before."""

    seen: str
    scored: str
    images: int
    """Images of `scored` with a duplicate or near-duplicate in `seen`."""
    of: int
    """All images of `scored`."""


@dataclass(frozen=True)
class KindCount:
    """How often a kind of finding occurs."""

    kind: str
    findings: int
    splits: Mapping[str, int]
    """Findings that touch each split; one that crosses splits counts in all of them."""


@dataclass(frozen=True)
class CheckReport:
    """What a check found; most severe kinds first."""

    root: Path
    records: Mapping[str, int]
    """Records by split, without those that cannot be used."""
    images: int
    """Image files that could be read."""
    findings: Sequence[CheckFinding]
    leaks: Sequence[Leak]
    settings: Mapping[str, object]
    seconds: float
    rows: Sequence[PlacedRecord] = ()
    """The usable records, which say what mask lies on which image."""

    @property
    def wrong(self) -> bool:
        """Whether there is an error or a warning."""
        return any(finding.severity is not Severity.NOTE for finding in self.findings)

    def by_kind(self) -> dict[str, list[CheckFinding]]:
        """The findings of each kind that occurs, most severe kinds first."""
        found: dict[str, list[CheckFinding]] = {name: [] for name in read_kinds()}
        for finding in self.findings:
            found[finding.kind].append(finding)
        return {name: each for name, each in found.items() if each}

    def counts(self) -> list[KindCount]:
        """One row a kind that occurs."""
        return [
            KindCount(name, len(found), {split: sum(split in each.splits() for each in found) for split in SPLITS})
            for name, found in self.by_kind().items()
        ]

    def severities(self) -> dict[Severity, int]:
        """Findings of each severity."""
        return {grade: sum(finding.severity is grade for finding in self.findings) for grade in Severity}

    def to_dict(self) -> dict[str, object]:
        """For JSON: everything, every finding with its kind's severity."""
        return {
            "data": str(self.root),
            "version": __version__,
            "wrong": self.wrong,
            "settings": dict(self.settings),
            "records": dict(self.records),
            "images": self.images,
            "seconds": round(self.seconds, 2),
            "severities": {str(grade): count for grade, count in self.severities().items()},
            "counts": [asdict(each) for each in self.counts()],
            "leaks": [asdict(leak) for leak in self.leaks],
            "findings": [_to_dict(finding) for found in self.by_kind().values() for finding in found],
        }


def _to_dict(finding: CheckFinding) -> dict[str, object]:
    return {
        "kind": finding.kind,
        "severity": str(finding.severity),
        "message": finding.message,
        "places": [asdict(place) for place in finding.places],
        "details": dict(finding.details),
    }


SIDE = 200
"""Pixels of the longer side."""
QUALITY = 78
"""JPEG quality, 1 to 95."""
FILL = 0.12
"""How strongly the inside of a mask is painted; what lies under it should stay visible."""
KEPT = 512
"""Thumbnails kept for pictures that occur in several findings."""


@lru_cache(maxsize=KEPT)
def thumbnail(image: Path, mask: Path | None) -> Markup | None:
    """A picture as a ``data:`` address, its mask outlined where there is one of its size; None if it cannot be read."""
    marked = _read_mask(mask) if mask else None
    try:
        levels = to_levels(read_image(image))
    except (ImageError, MissingPackageError):
        return None if marked is None else jpeg_address(marked.astype(np.uint8) * 255, QUALITY)
    rgb = np.asarray(Image.fromarray(levels).convert("RGB"))
    small = shrink(rgb, SIDE, Image.Resampling.BOX)
    if marked is not None and marked.shape == rgb.shape[:2]:
        small = overlay(small, shrink(marked.astype(np.uint8), SIDE, Image.Resampling.NEAREST) > 0, alpha=FILL)
    return jpeg_address(small, QUALITY)


def _read_mask(path: Path) -> NDArray[np.bool_] | None:
    try:
        return read_mask(path)
    except ImageError:
        return None


CARDS = 48
"""Findings of a kind that are shown; check.json has all."""
TILES = 6
"""Pictures of a finding that are shown."""
STORED = ("artefacts_in_mask", "colour_in_mask", "labels_in_mask", "picture_in_mask", "size_mismatch")
"""Kinds of findings for which the mask is shown as it is stored, too: the outline alone does not show what is wrong."""

Rows = Mapping[tuple[str | None, int | None], PlacedRecord]
"""Records by split and number."""
Tile = tuple[Markup | None, Place]
"""Address of a picture, if it can be read, and what it shows."""


@dataclass(frozen=True)
class FindingCard:
    """A finding on the page."""

    message: str
    likeness: str
    """How alike the pictures of a group are, and how they lie; empty for other findings."""
    tiles: Sequence[Tile]
    more: int
    """Places that have no picture here."""


PAGE_NAME, NUMBERS_NAME = "check.html", "check.json"
FILES = (PAGE_NAME, NUMBERS_NAME)


def write_check_page(report: CheckReport, path: Path, bar: Progress | None = None) -> None:
    """Write the page: verdict, counts, leaks, and each kind of finding with pictures, masks outlined on them.

    Args:
        report: What to show.
        path: File to write.
        bar: Where progress is shown; nowhere by default.

    Raises:
        OutputError: If it cannot be written.
    """
    bar = bar or Progress(disable=True)
    rows: Rows = {(row.split, row.number): row for row in report.rows}
    found = report.by_kind()
    shown = {kind: _scored_first(each)[:CARDS] for kind, each in found.items()}
    cards = [_card(each, report.root, rows) for each in bar.track(list(chain(*shown.values())), description="Drawing")]
    drawn = iter(cards)
    page = render_page(
        "data/check/page.html",
        report=report,
        name=report.root.resolve().name,
        kinds=read_kinds(),
        splits=SPLITS,
        records=[*((split, f"{report.records[split]:,}") for split in SPLITS), ("images", f"{report.images:,}")],
        leaks=[(f"{leak.scored}, of {leak.seen}", f"{leak.images:,} of {leak.of:,}") for leak in report.leaks],
        sections=[(kind, len(found[kind]), list(islice(drawn, len(each)))) for kind, each in shown.items()],
        version=__version__,
        today=date.today().isoformat(),
    )
    write_text(path, page)


def _scored_first(found: Sequence[CheckFinding]) -> list[CheckFinding]:
    """Findings that touch test first, then val: there they spoil a score."""
    return sorted(found, key=lambda finding: ("test" not in finding.splits(), "val" not in finding.splits()))


def _card(finding: CheckFinding, root: Path, rows: Rows) -> FindingCard:
    places = list(dict.fromkeys(finding.places))
    tiles = [tile for place in places[:TILES] for tile in _tiles(place, root, rows, stored=finding.kind in STORED)]
    return FindingCard(finding.message, _likeness(finding), tiles, max(0, len(places) - TILES))


def _likeness(finding: CheckFinding) -> str:
    pairs = finding.details.get("pairs")
    if not isinstance(pairs, list):
        return ""
    lowest, highest = (choose(pair["similarity"] for pair in pairs) for choose in (min, max))
    ways = sorted({str(pair["how"]) for pair in pairs} - {ORIENTATIONS[0]})
    span = f"{lowest:.3f}" if lowest == highest else f"{lowest:.3f} to {highest:.3f}"
    return "; ".join([span, *ways])


def _tiles(place: Place, root: Path, rows: Rows, *, stored: bool) -> list[Tile]:
    """The record's image with its mask, the stored mask too if asked for; for a file without a record the file."""
    row = rows.get((place.split, place.record))
    if row is None:
        return [(thumbnail(root / place.file, None), place)] if place.split is None else []
    tiles: list[Tile] = [(thumbnail(root / row.image, root / row.mask), place)]
    return [*tiles, (thumbnail(root / row.mask, None), Place(row.mask))] if stored else tiles
