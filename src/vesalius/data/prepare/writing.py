"""Writes images, masks and annotation files."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vesalius.data.annotations import ABSENT, TARGET, ImageRecord
from vesalius.data.prepare.items import Item, Outline, Picture
from vesalius.data.prepare.journal import Entry, Example, Journal
from vesalius.data.prepare.report import Problem
from vesalius.data.prepare.sources import Source
from vesalius.files import to_json, writing

PNG_LEVEL = 4
"""Pillow's 6 takes more than twice the time for endoscopy pictures and saves 3 % of the bytes."""

Namer = Callable[[Outline], tuple[str, str] | None]
"""File names of an outline's image and mask; None if it is not wanted."""


def write_item(item: Item, source: Source, journal: Journal, namer: Namer, stamp: str) -> Entry:
    """Read an item and write what it gives.

    Files keep their bytes where they are PNG or JPEG, and all else becomes PNG, whatever the name says: readers go by
    the content, and no pixel changes.

    Raises:
        VesaliusError: If it cannot be read; then none of it counts.
        OutputError: If a file cannot be written.
    """
    examples: list[Example] = []
    problems: list[Problem] = []
    written: set[str] = set()
    journal.begin(item)
    for outline in item.outlines(source):
        if isinstance(outline, Problem):
            problems.append(outline)
        elif names := namer(outline):
            empty = not outline.mask.any()
            example = Example(*names, outline.prompts, outline.kind, empty=empty, target=outline.target)
            image, mask = journal.files(example)
            if example.image not in written:
                _write_picture(image, outline.picture)
                written.add(example.image)
            _write_mask(mask, outline.mask)
            examples.append(example)
    entry = Entry(stamp, tuple(examples), tuple(problems))
    journal.add(item, entry)
    return entry


def format_records(records: Sequence[ImageRecord]) -> str:
    """An annotation file in the benchmark's layout."""
    rows = [
        {
            "img_name": row.img_name,
            "mask_name": row.mask_name,
            **({TARGET: row.target} if row.target else {}),
            "prompts": row.prompts,
            **({ABSENT: True} if row.absent else {}),
        }
        for row in records
    ]
    return to_json(rows, indent=1, ascii_only=False)


def _write_picture(path: Path, picture: Picture) -> None:
    with writing(path) as unfinished:
        if picture.file is not None:
            shutil.copyfile(picture.file, unfinished)
        else:
            assert picture.pixels is not None
            _save_png(picture.pixels, unfinished)


def _write_mask(path: Path, mask: NDArray[np.bool_]) -> None:
    with writing(path) as unfinished:
        _save_png(mask.astype(np.uint8) * 255, unfinished)


def _save_png(levels: NDArray[np.uint8] | NDArray[np.uint16], path: Path) -> None:
    Image.fromarray(levels).save(path, format="PNG", compress_level=PNG_LEVEL)
