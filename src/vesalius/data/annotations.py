"""A data set's annotation files, in the benchmark's layout, each record checked as it is read.

A record names image, mask and prompts; it, or the folder's ``dataset.json``, says what the mask outlines. A regular
expression tells the patient from the image's name, and masks must have their image's size (EXIF turns explained).
"""

import os
import re
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PureWindowsPath

import numpy as np
from numpy.typing import NDArray

from vesalius.data.catalog import read_catalog
from vesalius.errors import ConfigError, DataError
from vesalius.files import read_json, write_json
from vesalius.imaging import Slice, read_image, read_mask, write_mask
from vesalius.imaging.raster import SIDEWAYS, find_orientation
from vesalius.prompts import Variants, list_targets, read_bank

SPLITS = ("train", "val", "test")
FIELDS = ("img_name", "mask_name", "prompts")
ABSENT = "absent"
"""Field of records that ask for what their image does not show, and folder of their masks, which are empty."""
TARGET = "target"
"""Field of records, and of ``dataset.json``, that says what masks outline."""


@dataclass(frozen=True)
class ImageRecord:
    """One row of an annotation file."""

    img_name: str
    """File name under ``images/``."""
    mask_name: str
    """File name under ``masks/``."""
    prompts: Mapping[str, Variants]
    """Families (p0 … p9), each a string or several variants."""
    absent: bool = False
    """Whether they name something that other records of the data set do not, and that the image does not show."""
    target: str = ""
    """What its mask outlines, in plain words; empty where the record does not say."""

    def files(self, root: Path) -> tuple[Path, Path]:
        """Its image and its mask in a data set's folder."""
        return root / "images" / self.img_name, root / "masks" / self.mask_name

    def to_dict(self) -> dict[str, object]:
        """Its row of an annotation file, without what is not said."""
        target = {TARGET: self.target} if self.target else {}
        names = {"img_name": self.img_name, "mask_name": self.mask_name}
        return {**names, **target, "prompts": self.prompts, **({ABSENT: True} if self.absent else {})}


def annotations_path(root: Path, split: str) -> Path:
    """The annotation file of a split in a data set's folder."""
    return root / "anns" / f"{split}.json"


def check_data_folder(root: Path) -> None:
    """See that a data set's folder is there.

    Raises:
        DataError: If it is not.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such data folder; expected images/, masks/ and anns/ in it.")


def read_annotations(path: Path) -> list[ImageRecord]:
    """Read and check a JSON list of records.

    Raises:
        DataError: Naming the file, the record and the field that is wrong.
    """
    return [to_record(row, f"{path}, record {index}") for index, row in enumerate(read_annotation_list(path))]


FOREIGN = {
    "COCO": {"images", "annotations"},
    "LabelMe": {"shapes", "imagePath"},
    "VGG Image Annotator": {"_via_img_metadata"},
    "nnU-Net": {"channel_names", "labels", "numTraining"},
    "the Medical Segmentation Decathlon or MONAI": {"training"},
    "GeoJSON, e.g. QuPath": {"features"},
    "Label Studio": {"data", "annotations"},
    "Labelbox": {"data_row"},
}
"""Tools by keys that their JSON has at the top, or in the first object of a list."""


class ForeignAnnotationsError(DataError):
    """An annotation file is of another tool."""


def read_annotation_list(
    path: Path, remedy: str = "annotation files are DIR/anns/{train,val,test}.json", *, may_be_empty: bool = False
) -> list[object]:
    """The rows of an annotation file, unchecked.

    Args:
        path: The file.
        remedy: What to do if it is missing.
        may_be_empty: Whether a list without rows will do.

    Raises:
        ForeignAnnotationsError: If it is JSON of another tool, with its name.
        DataError: If it is missing, or no list of rows.
    """
    rows = read_json(path, remedy)
    if tool := _name_tool(rows):
        expected = "expected a list of records with img_name, mask_name and prompts"
        raise ForeignAnnotationsError(f"{path}: looks like JSON of {tool}; {expected}.")
    if not isinstance(rows, list) or not (rows or may_be_empty):
        expected = "records" if may_be_empty else "one record or more"
        raise DataError(f"{path}: expected a JSON list of {expected}, got {_describe(rows)}.")
    return rows


def _name_tool(content: object) -> str | None:
    top = content[0] if isinstance(content, list) and content else content
    if not isinstance(top, dict) or "img_name" in top:
        return None
    return next((tool for tool, keys in FOREIGN.items() if keys <= top.keys()), None)


def _describe(content: object) -> str:
    if isinstance(content, dict):
        return f"an object with {', '.join(list(map(str, content))[:6]) or 'nothing in it'}"
    return "an empty list" if isinstance(content, list) else type(content).__name__


def to_record(row: object, place: str) -> ImageRecord:
    """Check one row of an annotation file.

    Args:
        row: What JSON has there.
        place: File and row, for messages.

    Raises:
        DataError: Naming the field that is lacking or wrong.
    """
    if not isinstance(row, dict):
        raise DataError(f"{place}: expected an object with {', '.join(FIELDS)}, got {type(row).__name__}.")
    lacking = [field for field in FIELDS if field not in row]
    if lacking:
        raise DataError(f"{place}: lacks '{lacking[0]}'; expected {', '.join(FIELDS)}, got {', '.join(row)}.")
    for field in ("img_name", "mask_name"):
        _check_name(row[field], f"{place}: {field}")
    if not isinstance(row.get(ABSENT), bool | None):
        raise DataError(f"{place}: {ABSENT} must be true or false, got {reprlib.repr(row[ABSENT])}.")
    prompts = _check_prompts(row["prompts"], place)
    target = _check_text(row.get(TARGET) or "", f"{place}: {TARGET}")
    return ImageRecord(row["img_name"], row["mask_name"], prompts, absent=asks_for_absent(row), target=target.strip())


def asks_for_absent(row: object) -> bool:
    """Whether a row, as JSON has it, is marked as about something that its image does not show."""
    return isinstance(row, dict) and row.get(ABSENT) is True


def _check_name(name: object, place: str) -> None:
    if not isinstance(name, str) or not PureWindowsPath(name).parts:
        raise DataError(f"{place} must be a file name, got {reprlib.repr(name)}.")
    try:
        os.fsencode(name)  # names that are not UTF-8 are read with lone surrogates, and written with them
    except UnicodeEncodeError as error:
        raise DataError(f"{place} holds half a character ({name!a}); rename the file.") from error
    if any(ord(letter) < 32 for letter in name):
        raise DataError(f"{place} must be a file name without control characters, got {name!r}.")
    path = PureWindowsPath(name)  # splits at / and \, and knows drives
    if path.anchor or ".." in path.parts:
        raise DataError(f"{place} must stay inside its folder, got {name!r}.")


def _check_prompts(prompts: object, place: str) -> dict[str, Variants]:
    if not isinstance(prompts, dict) or not prompts:
        raise DataError(f"{place}: prompts must be an object such as {{'p1': 'polyp'}}, got {reprlib.repr(prompts)}.")
    for family, value in prompts.items():
        if not is_wordings(value):
            got = reprlib.repr(value)
            raise DataError(f"{place}: prompt '{family}' must be a string or a list of strings, got {got}.")
        for text in (family, *([value] if isinstance(value, str) else value)):
            _check_text(text, f"{place}: prompt '{family!a}'")
    return dict(prompts)


def is_wordings(value: object) -> bool:
    """Whether a prompt is of the right form: a text, or a list of one text or more."""
    several = isinstance(value, list) and bool(value) and all(isinstance(item, str) for item in value)
    return isinstance(value, str) or several


def _check_text(text: object, place: str) -> str:
    """A text that can be written and tokenised: JSON can hold halves of characters, which are none."""
    if not isinstance(text, str):
        raise DataError(f"{place} must be a text, got {reprlib.repr(text)}.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{place} holds half a character ({text!a}); write the text as UTF-8.") from error
    return text


def ask_for_absent(root: Path, images: Iterable[tuple[ImageRecord, tuple[int, int], tuple[str, ...]]]) -> list[object]:
    """One record for each image, and in masks/absent/ an empty mask for each size.

    Args:
        root: Folder of the data set.
        images: A record of each image, its height and width, and names of what it does not show.

    Raises:
        OutputError: If a mask cannot be written.
    """
    rows: dict[str, object] = {}
    for record, (height, width), never in images:
        if not never or record.img_name in rows:
            continue
        mask_name = f"{ABSENT}/{height}x{width}.png"
        if not (root / "masks" / mask_name).exists():
            write_mask(root / "masks" / mask_name, np.zeros((height, width), dtype=bool))
        asked = ImageRecord(record.img_name, mask_name, {"p1": list(never)}, absent=True)
        rows[record.img_name] = asked.to_dict()
    return list(rows.values())


def compile_group_regex(expression: str) -> re.Pattern[str]:
    """Check what ``--group-regex`` was given.

    Raises:
        ConfigError: If it is no regular expression.
    """
    try:
        return re.compile(expression)
    except re.error as error:
        raise ConfigError(f"--group-regex: '{expression}' is no regular expression ({error}).") from error


def find_group(pattern: re.Pattern[str], name: str) -> str | None:
    """What the first bracket matches, without brackets the whole match; None if nothing matches.

    Raises:
        ConfigError: If the expression fits and names nothing, as `(patient[0-9]+)?_img` does of "_img": all such images
            would be one group, which they are not.

    >>> find_group(compile_group_regex("^([a-z]+)_"), "ann_1.png")
    'ann'
    """
    match = pattern.search(name)
    if match is None:
        return None
    group: str | None = match[min(1, pattern.groups)]
    if not group:
        empty = "its first bracket matches nothing" if pattern.groups else "matches no letter of it"
        remedy = "write one that must match the patient, without ? or * around it, so that other images have no group"
        raise ConfigError(f"--group-regex: '{pattern.pattern}' fits '{name}', but {empty}; {remedy}.")
    return group


DESCRIPTION = "dataset.json"


def read_target(root: Path) -> str:
    """What all masks of a folder outline, in plain words; "" where it is not known.

    ``dataset.json`` says it; without that file, the catalog does of folders that have one of its names.

    Raises:
        DataError: If the file is damaged.
    """
    path = root / DESCRIPTION
    if path.is_file():
        content = read_json(path)
        told = content.get(TARGET) or "" if isinstance(content, dict) else None
        if not isinstance(told, str):
            raise DataError(f'{path}: expected an object such as {{"target": "polyp"}}, got {content!r:.80}.')
        return told.strip()
    card = read_catalog().get(root.resolve().name)
    return (card.target or card.phrase).replace("_", " ") if card else ""


def write_target(root: Path, target: str) -> None:
    """Write what all masks of a folder outline into ``dataset.json``.

    Args:
        root: Folder of the data set.
        target: What all its masks outline; "" where records say it one by one.

    Raises:
        OutputError: If it cannot be written.
    """
    write_json(root / DESCRIPTION, {TARGET: target or None})


@cache
def find_row(target: str) -> str | None:
    """The row of the prompt bank that has the words for a target; None if it has none.

    >>> find_row("breast tumour"), find_row("Polyp"), find_row("bicycle")
    ('breast_tumour', 'polyp', None)
    """
    name = " ".join(target.replace("_", " ").replace("-", " ").lower().split())
    if not name:
        return None
    row = name.replace(" ", "_")
    if row in list_targets():
        return row
    return next((each for each in list_targets() if name in map(str.lower, read_bank()[each].phrases)), None)


def check_size(image: Path, image_size: tuple[int, ...], mask: Path, mask_size: tuple[int, ...], place: str) -> None:
    """See that a mask has its image's size.

    Args:
        image: The file, which may be turned by its EXIF orientation.
        image_size: Its height and width, upright.
        mask: The file of the mask.
        mask_size: Its height and width.
        place: What to call the mask.

    Raises:
        DataError: If it has not, with both sizes, and the EXIF orientation where that explains it.
    """
    if image_size != mask_size:
        told = f"expected the image's {tell_size(image_size)}, got {tell_size(mask_size)} (height × width)"
        raise DataError(f"{place}: a mask of another size; {told}{explain_turn(image, image_size, mask, mask_size)}.")


def read_pair(root: Path, record: ImageRecord) -> tuple[Slice, NDArray[np.bool_]]:
    """Picture and mask [H, W] of a record.

    Raises:
        ImageError: If one of them cannot be read.
        DataError: If they differ in size.
    """
    image, outlined = record.files(root)
    picture, mask = read_image(image).slices()[0], read_mask(outlined)
    check_size(image, picture.rgb.shape[:2], outlined, mask.shape, str(outlined))
    return picture, mask


def explain_turn(image: Path, image_size: tuple[int, ...], mask: Path, mask_size: tuple[int, ...]) -> str:
    """What EXIF has to do with two sizes that differ, beginning with a semicolon; "" where it has nothing."""
    if image_size != mask_size[::-1]:
        return ""
    for path, other in ((image, "mask"), (mask, "image")):
        tag = find_orientation(path)
        if tag in SIDEWAYS:
            turned = f"; the EXIF orientation of {path.name} ({tag}) turns it by 90°, and its {other} is not turned"
            return f"{turned}: turn the {other} likewise, or remove that tag"
    return ""


def tell_size(size: tuple[int, ...]) -> str:
    """Height and width in words."""
    return f"{size[0]} × {size[1]}"
