"""The benchmark's annotation files: which mask and which prompts belong to an image."""

import os
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from vesalius.errors import DataError
from vesalius.files import read_json
from vesalius.prompts import Variants

FIELDS = ("img_name", "mask_name", "prompts")
ABSENT = "absent"
"""Field of records that ask for what their image does not show, and folder of their masks, which are empty."""
TARGET = "target"
"""Field of records that says what their mask outlines."""


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


def read_annotations(path: Path) -> list[ImageRecord]:
    """Read and check a JSON list of records.

    Raises:
        DataError: Naming the file, the record and the field that is wrong.
    """
    rows = read_json(path, "annotation files are DIR/anns/{train,val,test}.json")
    if not isinstance(rows, list) or not rows:
        raise DataError(f"{path}: expected a JSON list of one record or more, got {type(rows).__name__}.")
    return [to_record(row, f"{path}, record {index}") for index, row in enumerate(rows)]


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
        several = isinstance(value, list) and value and all(isinstance(item, str) for item in value)
        if not (isinstance(value, str) or several):
            got = reprlib.repr(value)
            raise DataError(f"{place}: prompt '{family}' must be a string or a list of strings, got {got}.")
        for text in (family, *([value] if isinstance(value, str) else value)):
            _check_text(text, f"{place}: prompt '{family!a}'")
    return dict(prompts)


def _check_text(text: object, place: str) -> str:
    """A text that can be written and tokenised: JSON can hold halves of characters, which are none."""
    if not isinstance(text, str):
        raise DataError(f"{place} must be a text, got {reprlib.repr(text)}.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{place} holds half a character ({text!a}); write the text as UTF-8.") from error
    return text
