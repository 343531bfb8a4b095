"""The pictures and the page of a folder of results: every image with its outlines, for a browser without a network.

Outlines are drawn in one colour a phrase, with a dark rim; the page is filled from page.html.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vesalius import __version__
from vesalius.errors import tell_failure
from vesalius.files import common_folder, write_text, writing
from vesalius.imaging import SliceStack, to_square_pixels
from vesalius.imaging.mask_volumes import PackedMasks, arrange_tiles, choose_shown_slices
from vesalius.imaging.slices import AMBER, SKY, outline, to_bytes
from vesalius.pages import render_page
from vesalius.records import ResultRow

COLOURS = (AMBER, SKY, (255, 120, 220), (0, 200, 140), (60, 110, 255), (255, 255, 255))
"""Colours of the first, second … phrase, then again from the first. With their dark rim all are seen on grey, on white
and on mucosa, by colour-blind readers, too."""
PICTURE_SIDE = 640
"""Pixels of the longer side of a picture."""
TILE_SIDE = 240
"""Pixels of the longer side of a slice of a series."""
FILL = 0.18
"""Share of the phrase's colour inside its outline."""
RIM = 0.35
"""Brightness that is left of the pixels around an outline."""
MIN_COVER = 64
"""Part of a reduced picture's pixel, of 255, that a mask must cover to be drawn."""
QUALITY = 90
MAX_LETTERS = 60
"""Letters of a phrase on the page; the whole phrase stands in the table."""


def colour_of(place: int) -> tuple[int, int, int]:
    """Red, green and blue of a phrase, by its place among all, from 0."""
    return COLOURS[place % len(COLOURS)]


def write_overview(path: Path, slices: SliceStack, masks: Mapping[int, PackedMasks]) -> None:
    """Draw a picture, or up to 12 slices of a series with their numbers from 1.

    Args:
        path: A .jpg file.
        slices: Slices to draw.
        masks: Place of each phrase among all phrases -> its mask.

    Raises:
        OutputError: If it cannot be written.
    """
    drawn = draw_overview(slices, masks)
    with writing(path) as unfinished:
        Image.fromarray(drawn).save(unfinished, "JPEG", quality=QUALITY, subsampling=0)


def draw_overview(slices: SliceStack, masks: Mapping[int, PackedMasks]) -> NDArray[np.uint8]:
    """The picture that `write_overview` writes, RGB [H, W, 3], 0–255."""
    marked = [sum(each.marked[index] for each in masks.values()) for index in range(len(slices))]
    chosen = choose_shown_slices(marked)
    side = PICTURE_SIDE if len(slices) == 1 else TILE_SIDE
    tiles = [_tile(slices, index, masks, side) for index in chosen]
    if len(slices) > 1:
        tiles = [_number(tile, f"{index + 1}/{len(slices)}") for tile, index in zip(tiles, chosen, strict=True)]
    return arrange_tiles(tiles)


def _tile(slices: SliceStack, index: int, masks: Mapping[int, PackedMasks], side: int) -> NDArray[np.uint8]:
    rgb = to_square_pixels(slices.render_small(index, side), slices.pixel_spacing_mm)
    factor = min(1.0, side / max(rgb.shape[:2])) if len(slices) == 1 else side / max(rgb.shape[:2])
    size = max(1, round(rgb.shape[1] * factor)), max(1, round(rgb.shape[0] * factor))
    canvas = np.asarray(Image.fromarray(to_bytes(rgb)).resize(size, Image.Resampling.BILINEAR)).astype(np.float32)
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
    covered: NDArray[np.bool_] = np.asarray(cover) >= (MIN_COVER if size[0] < mask.shape[1] else 128)
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


def write_results_page(
    path: Path, rows: Sequence[ResultRow], failures: Sequence[Mapping[str, str]], tables: Iterable[Path]
) -> None:
    """Write the page of all rows of a record.

    Args:
        path: An .html file in the folder of the results, to which its links are relative.
        rows: Rows of the record, those of an image together.
        failures: Images that failed in the last run, as ``{"source": …, "reason": …}``.
        tables: Tables to link to.

    Raises:
        OutputError: If it cannot be written.
    """
    images: dict[str, list[ResultRow]] = {}
    colours: dict[str, tuple[int, int, int]] = {}
    for row in rows:
        images.setdefault(str(row["image"]), []).append(row)
        colours.setdefault(str(row["prompt"]), _colour(row))
    home = common_folder(images)
    text = render_page(
        "segmenting/page.html",
        folder=path.parent.name,
        tables=[(os.path.relpath(each, path.parent), each.name) for each in tables],
        legend=[(_shorten(phrase), colour) for phrase, colour in colours.items()],
        remarks=list(dict.fromkeys(row["remark"] for row in rows if row.get("remark"))),
        failures=[tell_failure(each) for each in failures],
        images=[_describe_image(each, home) for each in images.values()],
        version=__version__,
    )
    write_text(path, text)


def _colour(row: ResultRow) -> tuple[int, int, int]:
    """Colour of a row's phrase, by its place among the phrases that were asked with it."""
    settings = row.get("settings")
    prompts = settings.get("prompts") if isinstance(settings, dict) else None
    return colour_of(prompts.index(row["prompt"]) if isinstance(prompts, list) and row["prompt"] in prompts else 0)


def _describe_image(rows: Sequence[ResultRow], home: str) -> dict[str, object]:
    """What the template shows of one image."""
    first = rows[0]
    path, slices, notices = str(first["image"]), first.get("slices", 1), first.get("notices")
    return {
        "path": path,
        "name": os.path.relpath(path, home) if home else path,
        "slices": slices if isinstance(slices, int) else 1,
        "pictures": list(dict.fromkeys(str(row["overlay"]) for row in rows if row.get("overlay"))),
        "lines": [_describe_phrase(row) for row in rows],
        "notices": notices if isinstance(notices, list) else [],
    }


def _describe_phrase(row: ResultRow) -> dict[str, object]:
    mask = row.get("mask")
    return {
        "phrase": _shorten(str(row["prompt"])),
        "colour": _colour(row),
        "mask": mask,
        "file": f"label {row['label']}" if "label" in row else "mask",
        "text": "; ".join(_numbers(row)) if mask else row.get("answer", "not asked"),
        "remark": row.get("remark") or "",
    }


def _numbers(row: ResultRow) -> list[str]:
    existence, share, slices = row.get("existence"), row.get("share"), row.get("slices")
    considered = row.get("considered")
    told = [f"as {row['target']}"] if row.get("family") and row.get("target") else []
    if isinstance(considered, dict) and considered and not row.get("target"):
        told.append(f"existence {', '.join(f'{name} {value:.2f}' for name, value in considered.items())}")
    elif isinstance(existence, float):
        told.append(f"existence {existence:.2f}")
    if not share:
        return [*told, "nothing marked"]
    told += [f"{100 * share:.2f} % marked"] if isinstance(share, float) else []
    for name, unit in (("area_mm2", "mm²"), ("volume_ml", "ml")):
        value = row.get(name)
        told += [f"{value:.1f} {unit}"] if isinstance(value, float) else []
    if isinstance(slices, int) and slices > 1:
        told.append(f"on {row.get('slices_marked')} of {slices} slices")
    return told


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_LETTERS else f"{text[:MAX_LETTERS]}…"
