"""What is wrong with single images and masks that could be read."""

from collections.abc import Iterable, Iterator

from vesalius.data.check.findings import Finding
from vesalius.data.check.folders import Uses
from vesalius.data.check.mask_facts import MaskFacts, ValueKind
from vesalius.data.check.reading import FileFacts
from vesalius.data.check.rows import Row
from vesalius.data.check.wordings import denials

PLAIN = (ValueKind.BINARY, ValueKind.ARTEFACTS)
"""Masks whose area means something; of others, the values are what is wrong."""
SHOWN = 8
"""Values that a message lists at most."""


def check_pixels(rows: Iterable[Row], images: Uses, masks: Uses, facts: FileFacts) -> Iterator[Finding]:
    """Sizes, slices and shades of images; sizes, values and areas of masks."""
    yield from _check_images(images, facts)
    yield from _check_values(masks, facts)
    for row in rows:
        yield from _check_row(row, facts)


def _check_images(images: Uses, facts: FileFacts) -> Iterator[Finding]:
    for file, image in facts.images.items():
        places = tuple(row.at(file) for row in images[file])
        if image.slices > 1:
            yield Finding("several_slices", f"{file} has {image.slices} slices; only the first is used.", places)
        if image.blank:
            yield Finding("blank_image", f"{file} has the same value everywhere.", places)


def _check_values(masks: Uses, facts: FileFacts) -> Iterator[Finding]:
    for file, mask in facts.masks.items():
        places = tuple(row.at(file) for row in masks[file])
        if mask.kind is not ValueKind.BINARY:
            details = {"values": list(mask.values), "between": round(mask.between, 6), "inside": round(mask.share, 6)}
            yield Finding(f"{mask.kind}_in_mask", _tell(file, mask), places, details)


def _check_row(row: Row, facts: FileFacts) -> Iterator[Finding]:
    image, mask = facts.images.get(row.image), facts.masks.get(row.mask)
    if mask is None:
        return
    if image is not None and image.size != mask.size:
        message = f"{row.mask} is {_size(mask.size)}, expected {row.image}'s {_size(image.size)} (height × width)."
        yield Finding("size_mismatch", message, (row.at(row.mask),))
    if mask.kind not in PLAIN:
        return
    if mask.share == 0 and not denials(row.record.prompts):
        yield Finding("empty_mask", f"{row.mask}: nothing is marked, and no prompt says so.", (row.at(row.mask),))
    if mask.share == 1:
        yield Finding("full_mask", f"{row.mask}: every pixel is marked.", (row.at(row.mask),))


def _tell(file: str, mask: MaskFacts) -> str:
    share = f"{mask.share:.2%} of the pixels read as inside"
    match mask.kind:
        case ValueKind.COLOUR:
            return f"{file} is in colour; {share}."
        case ValueKind.ARTEFACTS:
            between = f"{mask.between:.2%} of the pixels are neither near black nor near white"
            return f"{file} holds {len(mask.values)} values, {_list(mask.values)}; {between}."
        case _:
            return f"{file} holds the values {_list(mask.values)}; {share}."


def _list(values: tuple[float, ...]) -> str:
    texts = [f"{value:g}" for value in values]
    if len(texts) <= SHOWN:
        return ", ".join(texts)
    half = SHOWN // 2
    return f"{', '.join(texts[:half])} … {', '.join(texts[-half:])}"


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]} × {size[1]}"
