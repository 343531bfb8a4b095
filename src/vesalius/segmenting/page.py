"""The page of a folder of results: every image with its outlines, for a browser without a network or scripts."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from vesalius import __version__
from vesalius.console import to_html, to_link
from vesalius.files import write_text
from vesalius.record import Row
from vesalius.segmenting.overview import colour_of

MOST_NAMES = 60
"""Letters of a name or phrase in a heading; the whole stands in its title."""
STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem; max-width: 1700px }
h1 { font-size: 1.4rem; margin: 0 0 .3rem }
.legend { position: sticky; top: 0; padding: .5rem 0; background: Canvas; z-index: 1 }
.legend span { margin-right: 1.2rem; white-space: nowrap }
.swatch { display: inline-block; width: .9em; height: .9em; border: 2px solid #222; margin-right: .4em;
  vertical-align: -.1em }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(320px, 1fr)); gap: 1rem; align-items: start }
article { border: 1px solid color-mix(in srgb, CanvasText 25%, Canvas); border-radius: 6px; padding: .6rem;
  overflow-wrap: anywhere }
article.series { grid-column: span 2 }
@media (max-width: 720px) { article.series { grid-column: auto } }
h2 { font-size: 1rem; margin: 0 0 .4rem }
img { display: block; max-width: 100%; height: auto; margin: 0 auto .4rem }
ul { list-style: none; margin: 0; padding: 0 }
li { margin: .2rem 0 }
small, .nothing { color: color-mix(in srgb, CanvasText 65%, Canvas) }
.failed { border-left: 4px solid #d55e00; padding-left: .8rem }
"""


def write_page(path: Path, rows: Sequence[Row], failures: Sequence[Mapping[str, str]], tables: Iterable[Path]) -> None:
    """Write the page of all rows of a record.

    Args:
        path: An .html file in the folder of the results, to which its links are relative.
        rows: Of the record, an image's together.
        failures: Of the last run, as ``{"source": …, "reason": …}``.
        tables: To link to.

    Raises:
        OutputError: If it cannot be written.
    """
    images: dict[str, list[Row]] = {}
    for row in rows:
        images.setdefault(str(row["image"]), []).append(row)
    places: dict[str, int] = {}
    for row in rows:
        places.setdefault(str(row["prompt"]), _place(row))
    home = _home(images)
    told = f"{len(images)} image{'s' * (len(images) != 1)}, {len(places)} phrase{'s' * (len(places) != 1)}"
    links = ", ".join(_link(each, path.parent) for each in tables)
    body = [
        f"<h1>Segmentations in {to_html(path.parent.name)}</h1>",
        f"<p>{told}. As a table: {links}. The slices of a series are numbered from 1: from the feet to the head, from "
        "the back to the front, or from left to right; up to 12 of those with a mark are drawn. "
        "<small>For research and education; not a medical device.</small></p>",
        _legend(places),
        *(f"<p>{to_html(remark)}</p>" for remark in dict.fromkeys(row.get("remark") for row in rows) if remark),
        _failures(failures),
        f"<main>{''.join(_article(each, home) for each in images.values())}</main>",
        f"<p><small>Vesalius {to_html(__version__)}</small></p>",
    ]
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    title = f"<title>{to_html(path.parent.name)}</title>"
    text = f"<!doctype html><html lang=en><head>{head}{title}<style>{STYLE}</style></head><body>\n"
    write_text(path, text + "\n".join(body) + "\n</body></html>\n")


def _place(row: Row) -> int:
    """Of a row's phrase among those that were asked with it, which decides its colour."""
    settings = row.get("settings")
    prompts = settings.get("prompts") if isinstance(settings, dict) else None
    return prompts.index(row["prompt"]) if isinstance(prompts, list) and row["prompt"] in prompts else 0


def _home(images: Iterable[str]) -> str:
    """The folder that all images lie in."""
    folders = [os.path.dirname(each) for each in images]
    try:
        return os.path.commonpath(folders) if folders else ""
    except ValueError:  # on several drives
        return ""


def _legend(places: Mapping[str, int]) -> str:
    spans = (f"<span>{_swatch(place)}{to_html(_cut(phrase))}</span>" for phrase, place in places.items())
    return f'<div class="legend">{"".join(spans)}</div>'


def _swatch(place: int) -> str:
    return f'<i class="swatch" style="background: rgb{colour_of(place)}"></i>'


def _failures(failures: Sequence[Mapping[str, str]]) -> str:
    if not failures:
        return ""
    items = "".join(f"<li>{to_html(_with_source(each))}</li>" for each in failures)
    return f'<section class="failed"><h2>Failed in the last run: {len(failures)}</h2><ul>{items}</ul></section>'


def _with_source(failure: Mapping[str, str]) -> str:
    source, reason = failure["source"], failure["reason"]
    return reason if source in reason else f"{source}: {reason}"


def _article(rows: Sequence[Row], home: str) -> str:
    first = rows[0]
    name = os.path.relpath(str(first["image"]), home) if home else str(first["image"])
    slices = first.get("slices", 1)
    of_series = isinstance(slices, int) and slices > 1
    overviews = dict.fromkeys(str(row["overlay"]) for row in rows if row.get("overlay"))
    pictures = "".join(_picture(each, name) for each in overviews)
    count = f" <small>{slices} slices</small>" if of_series else ""
    lines = "".join(_line(row) for row in rows)
    notices = first.get("notices")
    told = "".join(f"<li><small>{to_html(each)}</small></li>" for each in notices) if isinstance(notices, list) else ""
    heading = f'<h2 title="{to_html(first["image"])}">{to_html(name)}{count}</h2>'
    kind = " class=series" if of_series else ""
    return f"<article{kind}>{heading}{pictures}<ul>{lines}{told}</ul></article>\n"


def _picture(file: str, name: str) -> str:
    link = to_html(to_link(file))
    return f'<a href="{link}"><img loading="lazy" src="{link}" alt="{to_html(name)}"></a>'


def _line(row: Row) -> str:
    phrase = f"{_swatch(_place(row))}<b>{to_html(_cut(str(row['prompt'])))}</b>"
    if not row.get("mask"):
        remark = to_html(row.get("remark") or "")
        return f'<li class="nothing" title="{remark}">{phrase}: {to_html(row.get("answer", "not asked"))}</li>'
    told = f"label {row['label']}" if "label" in row else "mask"
    mask = f'<a href="{to_html(to_link(str(row["mask"])))}">{told}</a>'
    return f"<li>{phrase}: {to_html('; '.join(_numbers(row)))}; {mask}</li>"


def _numbers(row: Row) -> list[str]:
    existence, share, slices = row.get("existence"), row.get("share"), row.get("slices")
    told = [f"existence {existence:.2f}"] if isinstance(existence, float) else []
    if not share:
        return [*told, "nothing marked"]
    told += [f"{100 * share:.2f} % marked"] if isinstance(share, float) else []
    for name, unit in (("area_mm2", "mm²"), ("volume_ml", "ml")):
        value = row.get(name)
        told += [f"{value:.1f} {unit}"] if isinstance(value, float) else []
    if isinstance(slices, int) and slices > 1:
        told.append(f"on {row.get('slices_marked')} of {slices} slices")
    return told


def _link(path: Path, folder: Path) -> str:
    target = os.path.relpath(path, folder)
    return f'<a href="{to_html(to_link(target))}">{to_html(path.name)}</a>'


def _cut(text: str) -> str:
    return text if len(text) <= MOST_NAMES else f"{text[:MOST_NAMES]}…"
