"""Slices of the people in anatomy/series and anatomy/ct_slices, labelled by looking: recipes/anatomy/people.toml.

Two persons labelled each series without seeing the other's labels; where they differed, a third looked again, and what
stayed open is uncertain. Indices are inclusive, in the order in which `vesalius.imaging.read_image` gives the slices.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from labelled_slice import LabelledSlice

from vesalius.data.slices.cutting import to_square
from vesalius.imaging import read_image
from vesalius.prompts.anatomy import ORGANS, PLANES, PROTOCOLS, STATIONS, AnatomyLabel

TABLE = Path(__file__).parents[2] / "recipes" / "anatomy" / "people.toml"
UPPER_LIMB = "upper limb"
SAME_PROTOCOL = {"T1CE": "T1"}
"""What the labels know and ours do not."""
Row = Mapping[str, Any]


def read_people(anatomy: Path, looks: Sequence[str], size: int) -> Iterator[LabelledSlice]:
    """Every slice as it was taken; a CT's in other windows, too, for training.

    Args:
        anatomy: Folder with series/ and ct_slices/.
        looks: Names of CT windows, the first of which is native.
        size: Side of the pictures.
    """
    for row in read_rows():
        single = row["file"].startswith("ct_")
        image = read_image(anatomy / ("ct_slices" if single else "series") / row["file"])
        name = f"{row['patient']} (single slices)" if single else row["file"].removesuffix(".nii.gz")
        windows = looks if row["modality"] == "CT" else [None]
        for look, window in enumerate(windows):
            slices = image.slices(None, window)
            for index in range(len(slices)):
                label = label_of(row, index)
                if label is not None:
                    picture = to_square(slices[index].rgb_square(), size)
                    yield LabelledSlice(picture, label, name, row["patient"], native=look == 0)


def read_patients() -> set[str]:
    """Everybody in the table."""
    return {row["patient"] for row in read_rows()}


def read_rows() -> list[Row]:
    """The table, a row a series or single slice."""
    rows: list[Row] = tomllib.loads(TABLE.read_text(encoding="utf-8"))["series"]
    return rows


def label_of(row: Row, index: int) -> AnatomyLabel | None:
    """What a slice shows; None for one that shows nothing."""
    stations, organs, unsure = (
        {name for name, ranges in row.get(field, {}).items() if within(ranges, index)}
        for field in ("stations", "organs", "uncertain")
    )
    if row.get("upper_limb"):
        stations.add(UPPER_LIMB)
    if within(row.get("empty", ()), index):
        return None
    if not stations and not unsure & set(STATIONS):
        unsure |= set(STATIONS)
    protocol = SAME_PROTOCOL.get(row.get("protocol", ""), row.get("protocol", ""))
    plane = row["plane"] if row["plane"] in PLANES else None
    known = frozenset(stations) - unsure, (frozenset(organs) & frozenset(ORGANS)) - unsure
    return AnatomyLabel(row["modality"], protocol if protocol in PROTOCOLS else None, plane, *known, frozenset(unsure))


def within(ranges: Sequence[Sequence[int]], index: int) -> bool:
    """Whether one of the ranges has it."""
    return any(first <= index <= last for first, last in ranges)
