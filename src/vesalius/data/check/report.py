"""All findings about one data set, their counts, and as one HTML page that needs nothing but itself."""

import base64
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from string import Template

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.progress import Progress

from vesalius import __version__
from vesalius.console import to_html
from vesalius.data.check.facts import to_levels
from vesalius.data.check.findings import SPLITS, CheckFinding, Place, PlacedRecord, Severity, read_kinds
from vesalius.data.check.similar import ORIENTATIONS
from vesalius.errors import ImageError, MissingPackageError
from vesalius.files import write_text
from vesalius.imaging import overlay, read_image, read_mask
from vesalius.imaging.slices import shrink


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
    """What a check found; gravest kinds first."""

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
        """The findings of each kind that occurs, gravest kinds first."""
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
"""Of JPEG, 1 to 95."""
FILL = 0.12
"""How strongly the inside of a mask is painted; what lies under it should stay visible."""
KEPT = 512
"""Thumbnails kept for pictures that occur in several findings."""


@lru_cache(maxsize=KEPT)
def thumbnail(image: Path, mask: Path | None) -> str | None:
    """A picture as a ``data:`` address, its mask outlined where there is one of its size; None if it cannot be read."""
    shade = _read_mask(mask) if mask else None
    try:
        levels = to_levels(read_image(image))
    except (ImageError, MissingPackageError):
        return None if shade is None else _encode(shade.astype(np.uint8) * 255)
    rgb = np.asarray(Image.fromarray(levels).convert("RGB"))
    small = shrink(rgb, SIDE, Image.Resampling.BOX)
    if shade is not None and shade.shape == rgb.shape[:2]:
        small = overlay(small, shrink(shade.astype(np.uint8), SIDE, Image.Resampling.NEAREST) > 0, alpha=FILL)
    return _encode(small)


def _read_mask(path: Path) -> NDArray[np.bool_] | None:
    try:
        return read_mask(path)
    except ImageError:
        return None


def _encode(levels: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


CARDS = 48
"""Findings of a kind that are shown; check.json has all."""
TILES = 6
"""Pictures of a finding that are shown."""
STORED = ("artefacts_in_mask", "colour_in_mask", "labels_in_mask", "picture_in_mask", "size_mismatch")
"""Findings that the outline does not show, but the mask as it is stored does."""

Rows = Mapping[tuple[str | None, int | None], PlacedRecord]
"""Records by split and number."""


def write_page(report: CheckReport, path: Path, bar: Progress | None = None) -> None:
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
    shown = {kind: _gravest_first(found)[:CARDS] for kind, found in report.by_kind().items()}
    task = bar.add_task("Drawing", total=sum(map(len, shown.values())))
    sections = []
    for kind, found in shown.items():
        cards = []
        for finding in found:
            cards.append(_card(finding, report.root, rows))
            bar.advance(task)
        sections.append(_section(kind, cards, len(report.by_kind()[kind])))
    page = _template().substitute(
        name=to_html(report.root.resolve().name),
        verdict=_verdict(report),
        badges=_badges(report),
        records=_records(report),
        leaks=_leaks(report),
        contents=_contents(report),
        sections="".join(sections),
        footer=to_html(f"vesalius {__version__} · {date.today().isoformat()} · {report.root}"),
    )
    write_text(path, page)


def _template() -> Template:
    return Template(files("vesalius.data.check").joinpath("page.html").read_text(encoding="utf-8"))


def _gravest_first(found: Sequence[CheckFinding]) -> list[CheckFinding]:
    """What touches test first, then val: there it spoils a score."""
    return sorted(found, key=lambda finding: ("test" not in finding.splits(), "val" not in finding.splits()))


def _verdict(report: CheckReport) -> str:
    if report.wrong:
        return "Something is wrong with this data set."
    return "Nothing is wrong with this data set" + (
        ", as far as could be told; see the notes." if report.findings else "."
    )


def _badges(report: CheckReport) -> str:
    counts = report.severities().items()
    return "".join(
        f'<li class="{grade}"><b>{count:,}</b> {to_html(_plural(str(grade), count))}</li>' for grade, count in counts
    )


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"


def _records(report: CheckReport) -> str:
    cells = [(split, f"{report.records[split]:,}") for split in SPLITS]
    return _table(("split", "records"), [*cells, ("images", f"{report.images:,}")])


def _leaks(report: CheckReport) -> str:
    rows = [(f"{leak.scored}, of {leak.seen}", f"{leak.images:,} of {leak.of:,}") for leak in report.leaks]
    return _table(("images that show what another split shows", ""), rows)


def _contents(report: CheckReport) -> str:
    kinds = read_kinds()
    rows = []
    for each in report.counts():
        kind = kinds[each.kind]
        link = f'<a href="#{each.kind}">{to_html(kind.title)}</a>'
        numbers = "".join(f"<td>{count or '–'}</td>" for count in (each.findings, *(each.splits[s] for s in SPLITS)))
        rows.append(f'<tr class="{kind.severity}"><td><i>{kind.severity}</i></td><td>{link}</td>{numbers}</tr>')
    head = "".join(f'<th scope="col">{name}</th>' for name in ("", "what", "findings", *SPLITS))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>" if rows else ""


def _table(columns: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{to_html(name)}</th>' for name in columns)
    body = "".join(f"<tr>{''.join(f'<td>{to_html(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _section(name: str, cards: Sequence[str], count: int) -> str:
    kind = read_kinds()[name]
    more = f'<p class="more">{count - len(cards):,} more in check.json.</p>' if count > len(cards) else ""
    title = f'<i class="{kind.severity}">{kind.severity}</i> {to_html(kind.title)} <small>{count:,}</small>'
    remedy = re.sub(r"`([^`]+)`", r"<code>\1</code>", to_html(kind.remedy))
    intro = f"<p>{to_html(kind.matters)} <em>{remedy}</em></p>"
    return f'<section><h2 id="{name}">{title}</h2>{intro}<div class="cards">{"".join(cards)}</div>{more}</section>'


def _card(finding: CheckFinding, root: Path, rows: Rows) -> str:
    places = list(dict.fromkeys(finding.places))
    tiles = "".join(_tile(place, root, rows, stored=finding.kind in STORED) for place in places[:TILES])
    more = f'<p class="more">and {len(places) - TILES:,} more</p>' if len(places) > TILES else ""
    text = f"<p>{to_html(finding.message)} {_likeness(finding)}</p>"
    return f'<article>{text}<div class="tiles">{tiles}</div>{more}</article>'


def _likeness(finding: CheckFinding) -> str:
    """How alike the pictures of a group are, and which lie differently."""
    pairs = finding.details.get("pairs")
    if not isinstance(pairs, list):
        return ""
    least, most = (choose(pair["similarity"] for pair in pairs) for choose in (min, max))
    ways = sorted({str(pair["how"]) for pair in pairs} - {ORIENTATIONS[0]})
    span = f"{least:.3f}" if least == most else f"{least:.3f} to {most:.3f}"
    return f"<em>Similarity {to_html('; '.join([span, *ways]))}.</em>"


def _tile(place: Place, root: Path, rows: Rows, *, stored: bool) -> str:
    """What a place shows: the record's image with its mask, the stored mask too if asked for, or the file alone."""
    row = rows.get((place.split, place.record))
    if row is None:
        return _figure(thumbnail(root / place.file, None), place) if place.split is None else ""
    figures = _figure(thumbnail(root / row.image, root / row.mask), place)
    return figures + _figure(thumbnail(root / row.mask, None), Place(row.mask)) if stored else figures


def _figure(picture: str | None, place: Place) -> str:
    image = f'<img src="{picture}" alt="" loading="lazy">' if picture else '<div class="none">no picture</div>'
    split = f'<b class="{to_html(place.split)}">{to_html(place.split)}</b> {place.record} ' if place.split else ""
    return f"<figure>{image}<figcaption>{split}{to_html(place.file)}</figcaption></figure>"
