"""A report as one HTML page that needs nothing but itself."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from importlib.resources import files
from pathlib import Path
from string import Template

from rich.progress import Progress

from vesalius import __version__
from vesalius.console import to_html
from vesalius.data.check.findings import Finding, Place, read_kinds
from vesalius.data.check.report import CheckReport
from vesalius.data.check.rows import SPLITS, Row
from vesalius.data.check.similar import ORIENTATIONS
from vesalius.data.check.thumbnails import thumbnail
from vesalius.files import write_text

CARDS = 48
"""Findings of a kind that are shown; check.json has all."""
TILES = 6
"""Pictures of a finding that are shown."""
STORED = ("artefacts_in_mask", "colour_in_mask", "labels_in_mask", "picture_in_mask", "size_mismatch")
"""Findings that the outline does not show, but the mask as it is stored does."""

Rows = Mapping[tuple[str | None, int | None], Row]
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


def _gravest_first(found: Sequence[Finding]) -> list[Finding]:
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


def _card(finding: Finding, root: Path, rows: Rows) -> str:
    places = list(dict.fromkeys(finding.places))
    tiles = "".join(_tile(place, root, rows, stored=finding.kind in STORED) for place in places[:TILES])
    more = f'<p class="more">and {len(places) - TILES:,} more</p>' if len(places) > TILES else ""
    text = f"<p>{to_html(finding.message)} {_likeness(finding)}</p>"
    return f'<article>{text}<div class="tiles">{tiles}</div>{more}</article>'


def _likeness(finding: Finding) -> str:
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
