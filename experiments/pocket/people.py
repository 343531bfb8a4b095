"""Slices of the people in anatomy/series and anatomy/ct_slices, labelled by looking: recipes/anatomy/people.toml.

Two persons labelled each series without seeing the other's labels; where they differed, a third looked again, and what
stayed open is uncertain. Indices are inclusive, in the order in which `vesalius.imaging.read_image` gives the slices.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from labelled_slice import LabelledSlice
from numpy.typing import NDArray

from vesalius.data.slices.cutting import PLANES, TISSUE_ABOVE, to_square
from vesalius.imaging import MedicalImage, read_image
from vesalius.imaging.orientation import to_display_order
from vesalius.prompts.anatomy import ORGANS, PROTOCOLS, STATIONS, AnatomyLabel

TABLE = Path(__file__).parents[2] / "recipes" / "anatomy" / "people.toml"
UPPER_LIMB = "upper limb"
SAME_PROTOCOL = {"T1CE": "T1"}
"""What the labels know and ours do not."""
MOST_ACROSS = 12
"""Slices of a plane in which a series was not taken."""
LEAST_ACROSS = 0.3
"""Of the tissue that the fullest slice of the plane has, the part that others have."""
LEAST_DEPTH = 100.0
"""Millimetres that a series has to reach across its own plane."""
STATION_SHARE = 0.2
"""Of a slice's tissue, the part that has to be of a station which it shows; a smaller part leaves it open."""
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


def read_across(anatomy: Path, size: int) -> Iterator[LabelledSlice]:
    """Slices of the series in the planes in which they were not taken, for training: people look at these, too.

    Args:
        anatomy: Folder with series/.
        size: Side of the pictures.
    """
    for row in read_rows():
        if not row["file"].startswith("ct_"):
            image = read_image(anatomy / "series" / row["file"])
            yield from cut_across(row, image, row["file"].removesuffix(".nii.gz"), size)


def cut_across(row: Row, image: MedicalImage, name: str, size: int) -> Iterator[LabelledSlice]:
    """A series in the two other planes; nothing where it is only a thin slab."""
    assert image.affine is not None
    assert image.spacing is not None
    count = len(image.pixels)
    if count * image.spacing[0] < LEAST_DEPTH:
        return
    labels = [label_of(row, index) for index in range(count)]
    origins = np.broadcast_to(np.arange(count)[:, None, None], image.pixels.shape[:3])
    for plane in PLANES:
        if plane == image.nearest_plane:
            continue
        origin, stack = to_display_order(origins, image.affine, plane)[0], image.slices(plane)
        tissue = [
            np.bincount(places[each.rgb[..., 0] > TISSUE_ABOVE], minlength=count)
            for places, each in zip(origin, stack, strict=True)
        ]
        totals = np.array([each.sum() for each in tissue])
        inside = np.flatnonzero(totals > LEAST_ACROSS * totals.max()).tolist()
        for index in inside[:: -(-len(inside) // MOST_ACROSS)]:
            label = label_across(row, labels, tissue[index], plane)
            picture = to_square(stack[index].rgb_square(), size)
            yield LabelledSlice(picture, label, f"{name} across", row["patient"], native=False, made="across")


def label_across(
    row: Row, labels: Sequence[AnatomyLabel | None], tissue: NDArray[np.int64], plane: str
) -> AnatomyLabel:
    """What a slice across others shows, from their labels and its tissue in each.

    Of stations and organs, those are absent that none of these shows. A station shows where enough of the slice lies in
    it; across slices that are not axial that says little, so there it has to be the only one. Of organs nobody knows
    whether the slice meets them.
    """
    met = [(each, count) for each, count in zip(labels, tissue.tolist(), strict=True) if each is not None and count]
    perhaps = frozenset[str]().union(*(each.stations | each.organs | each.uncertain for each, _ in met))
    shares = {station: sum(count for each, count in met if station in each.stations) for station in STATIONS}
    stations = frozenset(name for name, share in shares.items() if share >= STATION_SHARE * tissue.sum())
    if row["plane"] != "axial" and len(perhaps & frozenset(STATIONS)) > 1:
        stations = frozenset()
    protocol = met[0][0].protocol if met else None
    return AnatomyLabel(row["modality"], protocol, plane, stations, frozenset(), perhaps - stations)


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
