"""Finds the items of a download whose layout the catalog knows."""

from collections import Counter
from collections.abc import Mapping
from pathlib import PurePosixPath

from vesalius.data.catalog import DataSetCard
from vesalius.data.prepare.chexlocalize import find_findings
from vesalius.data.prepare.items import Found, plain_prompts
from vesalius.data.prepare.layouts import Layout
from vesalius.data.prepare.naming import to_phrase
from vesalius.data.prepare.pictures import PictureItem
from vesalius.data.prepare.side import read_sides
from vesalius.data.prepare.sources import Source
from vesalius.data.prepare.volumes import SliceConfig, Structure, VolumeItem
from vesalius.errors import DataError, unknown_name


def find_items(card: DataSetCard, source: Source, slicing: SliceConfig | None = None) -> Found:
    """What of a data set a source holds.

    Args:
        card: The data set.
        source: Its download.
        slicing: How volumes are cut.

    Raises:
        DataError: If no image of the data set is there; the message says what was expected and what is there.
    """
    sides = read_sides(card, source)
    for pattern in card.files:
        layout = Layout(card, pattern, source, sides)
        if layout.images:
            found = _read(layout, slicing or SliceConfig())
            return Found(found.items, (*sides.problems, *found.problems), sides.leaks)
    suffixes = Counter(PurePosixPath(path).suffix.lower() or "without suffix" for path in source.paths)
    there = ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common(5)) or "nothing"
    raise DataError(f"{source.root}: holds no image of {card.title}; expected {card.layout}. There is: {there}.")


def _read(layout: Layout, slicing: SliceConfig) -> Found:
    if layout.card.reader == "chexlocalize":
        return find_findings(layout)
    if layout.card.reader == "volumes":
        return find_volumes(layout, slicing)
    return find_pictures(layout)


def find_pictures(layout: Layout) -> Found:
    """Every image that has a mask; what has no other half is a problem."""
    several = bool(layout.card.labels)
    items = [
        PictureItem(
            stem=name,
            image=image.path,
            masks=tuple(mask.path for mask in layout.masks[name]),
            mask_stem=layout.mask_stem(name),
            prompts={} if several else plain_prompts(layout.phrase),
            group=layout.group(name),
            split=layout.split(name),
            kind=layout.kind(name),
            labels=layout.card.labels if several else None,
            target="" if several else layout.target,
        )
        for name, image in layout.images.items()
        if name in layout.masks
    ]
    return Found(tuple(items), tuple(layout.half_pairs()))


def find_volumes(layout: Layout, slicing: SliceConfig) -> Found:
    """Every volume, with the mask volumes of the structures asked for.

    Raises:
        DataError: If a structure is asked for that no volume has.
    """
    files = {
        name: {mask.words["structure"]: mask.path for mask in layout.masks.get(name, [])} for name in layout.images
    }
    wanted = _wanted(slicing.structures, layout.card.structures, files)
    items = [
        VolumeItem(
            stem=name,
            image=image.path,
            mask_stem=name,
            structures=tuple(
                Structure(each, plain_prompts(to_phrase(each)), (files[name][each],), to_phrase(each))
                for each in wanted
                if each in files[name]
            ),
            group=layout.group(name),
            split=layout.split(name),
            slicing=slicing,
        )
        for name, image in layout.images.items()
        if name in layout.masks
    ]
    return Found(tuple(items), tuple(layout.half_pairs()))


def _wanted(asked: tuple[str, ...], usual: tuple[str, ...], files: Mapping[str, Mapping[str, str]]) -> list[str]:
    available = sorted(set().union(*files.values()))
    unknown = [name for name in asked if name not in (*available, "all")]
    if unknown:
        raise DataError(unknown_name("structure", unknown[0], available))
    return available if "all" in asked else [name for name in available if name in (asked or usual)]
