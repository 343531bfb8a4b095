"""The page of a folder of results: every image with its outlines, for a browser without a network."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vesalius import __version__
from vesalius.console import to_html, to_link
from vesalius.files import write_text, writing
from vesalius.folders import Row
from vesalius.imaging import SliceStack, to_square_pixels
from vesalius.imaging.slices import AMBER, outline
from vesalius.volumes import PackedMasks

COLOURS = (AMBER, (86, 180, 233), (255, 120, 220), (0, 200, 140), (60, 110, 255), (255, 255, 255))
"""Of the first, second … phrase, and again from the first; each is drawn with a dark rim, so that all are seen on grey,
on white and on mucosa, by colour-blind readers, too."""
PICTURE_SIDE = 640
TILE_SIDE = 240
"""Pixels of the longer side of a picture, and of a slice of a series."""
MOST_TILES = 12
TILE_COLUMNS = 4
FILL = 0.18
RIM = 0.35
"""Brightness that is left of the pixels around an outline."""
LEAST_COVER = 64
"""Of 255: how much of a small picture's pixel a mask must cover to be drawn."""
QUALITY = 90


def colour_of(place: int) -> tuple[int, int, int]:
    """Red, green and blue of a phrase, by its place among all, from 0."""
    return COLOURS[place % len(COLOURS)]


def write_overview(path: Path, slices: SliceStack, masks: Mapping[int, PackedMasks]) -> None:
    """Draw a picture, or up to 12 slices of a series with their numbers from 1.

    Args:
        path: A .jpg file.
        slices: What to draw.
        masks: Place of each phrase among all -> its mask.

    Raises:
        OutputError: If it cannot be written.
    """
    chosen = choose_slices(len(slices), masks)
    side = PICTURE_SIDE if len(slices) == 1 else TILE_SIDE
    tiles = [_tile(slices, index, masks, side) for index in chosen]
    if len(slices) > 1:
        tiles = [_number(tile, f"{index + 1}/{len(slices)}") for tile, index in zip(tiles, chosen, strict=True)]
    columns = min(TILE_COLUMNS, len(tiles))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[start : start + columns], axis=1) for start in range(0, len(tiles), columns)]
    with writing(path) as unfinished:
        Image.fromarray(np.concatenate(rows)).save(unfinished, "JPEG", quality=QUALITY, subsampling=0)


def choose_slices(count: int, masks: Mapping[int, PackedMasks]) -> list[int]:
    """Up to 12 slices, evenly spread over those with a mark; over all, if none has one."""
    marked = np.flatnonzero(np.sum([each.marked for each in masks.values()], axis=0)) if masks else np.empty(0)
    first, last = (marked[0], marked[-1]) if len(marked) else (0, count - 1)
    return sorted({int(each) for each in np.linspace(first, last, MOST_TILES).round()})


def _tile(slices: SliceStack, index: int, masks: Mapping[int, PackedMasks], side: int) -> NDArray[np.uint8]:
    rgb = to_square_pixels(slices.render_small(index, side), slices.pixel_spacing_mm)
    factor = min(1.0, side / max(rgb.shape[:2])) if len(slices) == 1 else side / max(rgb.shape[:2])
    size = max(1, round(rgb.shape[1] * factor)), max(1, round(rgb.shape[0] * factor))
    levels = np.rint(np.clip(rgb, 0, 1) * 255).astype(np.uint8)
    canvas = np.asarray(Image.fromarray(levels).resize(size, Image.Resampling.BILINEAR)).astype(np.float32)
    small = {place: _shrink(each[index], size) for place, each in masks.items() if each.marked[index]}
    for place, mask in small.items():
        canvas[mask] = canvas[mask] * (1 - FILL) + np.array(colour_of(place), np.float32) * FILL
    for mask in small.values():
        canvas[_grow(mask) & ~mask] *= RIM
    for place, mask in small.items():
        canvas[outline(mask, thickness=1 + (len(slices) == 1 and min(mask.shape) >= TILE_SIDE))] = colour_of(place)
    drawn: NDArray[np.uint8] = np.rint(canvas).astype(np.uint8)
    return drawn


def _shrink(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    how = Image.Resampling.BOX if size[0] < mask.shape[1] else Image.Resampling.BILINEAR
    cover = Image.fromarray(mask.view(np.uint8) * np.uint8(255)).resize(size, how)
    covered: NDArray[np.bool_] = np.asarray(cover) >= (LEAST_COVER if size[0] < mask.shape[1] else 128)
    return covered


def _grow(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask and one pixel around it."""
    padded = np.pad(mask, 1)
    grown: NDArray[np.bool_] = padded[1:-1, 1:-1] | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2]
    return grown | padded[1:-1, 2:]


def _number(tile: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    """Put a slice's number into a corner, light on dark."""
    picture = Image.fromarray(tile)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=13)
    left, top, right, bottom = draw.textbbox((4, 2), text, font=font)
    draw.rectangle((left - 4, top - 3, right + 4, bottom + 3), fill=(0, 0, 0))
    draw.text((4, 2), text, font=font, fill=(235, 235, 235))
    return np.asarray(picture)


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
