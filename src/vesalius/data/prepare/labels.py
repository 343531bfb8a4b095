"""Names of the numbers in a label map."""

import reprlib
from collections.abc import Mapping
from pathlib import Path

from vesalius.errors import DataError
from vesalius.files import read_json


def read_label_names(path: Path) -> Mapping[int, str]:
    """Read a JSON object of numbers and names, either way round; ``{"labels": {…}}`` counts as well.

    Background, 0, is left out.

    Raises:
        DataError: If it is of another form, or two names share a number.
    """
    content = read_json(path, "expected JSON such as {'1': 'liver'}")
    table = content.get("labels", content) if isinstance(content, dict) else content
    if not isinstance(table, dict) or not table:
        raise DataError(f"{path}: expected an object of numbers and names such as {{'1': 'liver'}}.")
    names: dict[int, str] = {}
    for key, value in table.items():
        number, name = _to_pair(key, value, path)
        if number in names:
            raise DataError(f"{path}: {number} is both '{names[number]}' and '{name}'.")
        names[number] = name
    return {number: name for number, name in sorted(names.items()) if number != 0}


def _to_pair(key: str, value: object, path: Path) -> tuple[int, str]:
    if key.isascii() and key.isdigit() and isinstance(value, str) and value.strip():
        return int(key), value
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value, key
    raise DataError(f"{path}: '{key}': {reprlib.repr(value)} is no pair of a number and a name, such as '1': 'liver'.")
