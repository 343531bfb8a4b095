"""What the masks of a data set outline: told once, in ``dataset.json`` or in its records, and kept with the data."""

from functools import cache
from pathlib import Path

from vesalius.data.catalog import read_catalog
from vesalius.errors import DataError
from vesalius.files import read_json, write_json
from vesalius.prompts import list_targets, read_bank

DESCRIPTION = "dataset.json"
FIELD = "target"


def read_target(root: Path) -> str:
    """What all masks of a folder outline, in plain words; "" where nobody says.

    ``dataset.json`` says it; without that file, the catalog does of folders that have one of its names.

    Raises:
        DataError: If the file is damaged.
    """
    path = root / DESCRIPTION
    if path.is_file():
        content = read_json(path)
        told = content.get(FIELD) or "" if isinstance(content, dict) else None
        if not isinstance(told, str):
            raise DataError(f'{path}: expected an object such as {{"target": "polyp"}}, got {content!r:.80}.')
        return told.strip()
    card = read_catalog().get(root.resolve().name)
    return (card.target or card.phrase).replace("_", " ") if card else ""


def write_target(root: Path, target: str) -> None:
    """Write ``dataset.json``.

    Args:
        root: Folder of the data set.
        target: What all its masks outline; "" where records say it one by one.

    Raises:
        OutputError: If it cannot be written.
    """
    write_json(root / DESCRIPTION, {FIELD: target or None})


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
