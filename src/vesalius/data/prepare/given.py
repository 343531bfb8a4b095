"""Annotation files that exist already, the benchmark's for example: their splits, names and prompts are kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from vesalius.data.annotations import ImageRecord, to_record
from vesalius.data.prepare.naming import stem_of
from vesalius.data.prepare.report import Problem
from vesalius.data.prepare.tables import SPLITS
from vesalius.errors import DataError
from vesalius.files import read_json

COCO = ("images", "annotations", "categories")


@dataclass(frozen=True)
class GivenRow:
    """One record, and where it stands."""

    place: str
    record: ImageRecord


@dataclass(frozen=True)
class Given:
    """The annotation files of a folder."""

    rows: Mapping[str, tuple[GivenRow, ...]]
    """Split -> records in their order, doubled ones included."""
    problems: tuple[Problem, ...]
    """Rows that are no records."""

    @cached_property
    def names(self) -> Mapping[str, ImageRecord]:
        """Stem of the mask -> the first record that names it."""
        names: dict[str, ImageRecord] = {}
        for rows in self.rows.values():
            for row in rows:
                names.setdefault(stem_of(row.record.mask_name), row.record)
        return names


def read_given(folder: Path) -> Given:
    """Read train.json, val.json and test.json; a list may be empty.

    Args:
        folder: Where they lie, or the folder above their anns/.

    Raises:
        DataError: If a file is missing or of another form; single rows that are wrong become problems.
    """
    home = folder / "anns" if (folder / "anns").is_dir() else folder
    rows: dict[str, tuple[GivenRow, ...]] = {}
    problems: list[Problem] = []
    for split in SPLITS:
        rows[split] = tuple(_read_rows(home / f"{split}.json", problems))
    return Given(rows, tuple(problems))


def _read_rows(path: Path, problems: list[Problem]) -> list[GivenRow]:
    rows = []
    for index, row in enumerate(_read_list(path)):
        place = f"{path}, record {index}"
        try:
            rows.append(GivenRow(place, to_record(row, place)))
        except DataError as error:
            problems.append(Problem(place, str(error)))
    return rows


def _read_list(path: Path) -> list[object]:
    content = read_json(path, "--annotations needs train.json, val.json and test.json")
    if isinstance(content, dict) and all(key in content for key in COCO):
        raise DataError(f"{path}: is COCO JSON; expected a list of records with img_name, mask_name and prompts.")
    if not isinstance(content, list):
        raise DataError(f"{path}: expected a list of records, got {type(content).__name__}.")
    return content
