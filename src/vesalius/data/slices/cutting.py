"""One volume to a few labelled pictures: which slices are taken, how they look, and what each shows.

Labels come from outlines (``visibility.py``) or from what a person says of a series.
"""

import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vesalius.data.prepare.pictures import merge_channels
from vesalius.data.slices.outlines import Structures, read_structures
from vesalius.data.slices.series_table import SeriesDescription, SliceRange
from vesalius.data.slices.sources import CutSettings, LabelledVolume
from vesalius.data.slices.visibility import (
    Rules,
    States,
    StationLevels,
    organ_states,
    organs_of,
    read_visibility_rules,
    station_levels,
)
from vesalius.errors import DataError, join_first
from vesalius.imaging import MedicalImage, Plane, Slice, read_image
from vesalius.imaging.intensity import CT_WINDOWS, percentile_range, to_display_values, window_range
from vesalius.imaging.nifti import THICK_SLICES
from vesalius.imaging.orientation import to_display_order
from vesalius.imaging.slices import to_bytes
from vesalius.prompts.anatomy import ORGANS, STATIONS, AnatomyLabel, stations_of
from vesalius.prompts.modalities import UNTOLD, find_label

PLANES: tuple[Plane, ...] = ("axial", "coronal", "sagittal")
TISSUE_ABOVE = 0.06
"""Display values in [0, 1] above this are tissue, below it air."""
LEAST_TISSUE = 0.04
"""Part of a slice that must be tissue for it to be taken."""


def tissue_of(image: MedicalImage, values: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Voxels that are no air: CT above about −135 HU, anything else above 6 % of its usual display range.

    Args:
        image: The volume.
        values: Its values in any order of axes.
    """
    display_range = (
        window_range(CT_WINDOWS["soft tissue"]) if image.modality == "CT" else percentile_range(image.pixels)
    )
    return np.asarray(to_display_values(values, display_range) > TISSUE_ABOVE)


def usable_planes(image: MedicalImage) -> Sequence[Plane]:
    """All planes of a volume with voxels about as thick as wide, else only that in which it was taken.

    An oblique volume counts as its nearest plane.
    """
    own, spacing = image.nearest_plane, image.spacing
    if own is None or spacing is None:
        return ()
    if len(image.pixels) == 1 or spacing[0] > THICK_SLICES * max(spacing[1:]):
        return (own,)
    return PLANES


def choose_slices(tissue: NDArray[np.bool_], spacing_mm: float, settings: CutSettings) -> list[int]:
    """Indices along the first axis.

    Args:
        tissue: [n, a, b].
        spacing_mm: Distance between slices.
        settings: How many, how far apart.

    Returns:
        At most `per_plane` indices, at least `spacing_mm` apart, in the middle of equal parts of the range that holds
        tissue; [] where there is none.
    """
    shares = np.count_nonzero(tissue, axis=(1, 2)) / tissue[0].size
    inside = np.flatnonzero(shares >= LEAST_TISSUE)
    if not inside.size:
        return []
    first, length = int(inside[0]), int(inside[-1] - inside[0]) + 1
    step = max(1, int(np.ceil(settings.spacing_mm / spacing_mm - 1e-6)))
    count = max(1, min(settings.per_plane, length // step))
    return [first + int((number + 0.5) * length / count) for number in range(count)]


NEIGHBOURS: Mapping[str, frozenset[str]] = {
    "head": frozenset({"chest"}),
    "chest": frozenset({"head", "abdomen", "upper limb"}),
    "abdomen": frozenset({"chest", "pelvis", "upper limb"}),
    "pelvis": frozenset({"abdomen", "lower body", "upper limb"}),
    "lower body": frozenset({"pelvis", "upper limb"}),
    "upper limb": frozenset({"chest", "abdomen", "pelvis", "lower body"}),
}
"""Stations that begin where one ends; an arm may lie beside the trunk and the thighs."""


def distant_organs(stations: Collection[str]) -> frozenset[str]:
    """Organs that belong neither to the stations that show nor to one beside them.

    >>> sorted(distant_organs({"head"}) & {"lungs", "liver", "neck"})
    ['liver']

    Args:
        stations: All that show; one or more.
    """
    near = frozenset(stations).union(*(NEIGHBOURS[station] for station in stations))
    return frozenset(organ for organ in ORGANS if not stations_of(organ) & near)


Labeller = Callable[[Plane, int], AnatomyLabel]
"""Plane, and place of a slice in display order → its label."""


@dataclass(frozen=True, eq=False)
class LabelledPicture:
    """A slice as it is written."""

    levels: NDArray[np.uint8]
    """Square grey picture [S, S]."""
    slice: Slice
    plane: Plane
    window: str | None
    obliquity: float
    label: AnatomyLabel


def cut(
    volume: LabelledVolume, settings: CutSettings, on_mask: Callable[[], None] = lambda: None
) -> Iterator[LabelledPicture]:
    """Cut a volume and say what its slices show.

    Args:
        volume: The volume, with outlines or with what a person says.
        settings: Which slices, and how they look.
        on_mask: Called after each structure, for progress.

    Raises:
        ImageError: If a file is damaged or outlines do not fit.
        DataError: If it shows no slices of anatomy, has no place in the patient, is in colour, or what is said of it
            contradicts its header.
    """
    image = _read(volume)
    assert image.affine is not None
    values, affine = to_display_order(np.asarray(image.pixels), image.affine, "axial")
    tissue = tissue_of(image, values)
    if volume.description is not None:
        label = _described(volume.description, image)
    else:
        rules = read_visibility_rules()
        structures = read_structures(volume, values, affine, rules.structures, on_mask)
        label = OutlinedLabeller(image, structures, tissue, rules)
    yield from _pictures(image, tissue, settings, label)


def _read(volume: LabelledVolume) -> MedicalImage:
    image = read_image(volume.image)
    if image.affine is None:
        raise DataError(f"{volume.image}: has no place in the patient, so its planes are unknown; it cannot be cut.")
    if image.is_colour:
        raise DataError(f"{volume.image}: is in colour, so its values tell no tissue; it cannot be cut.")
    if image.purpose.label is not None:
        raise DataError(f"{volume.image}: is a {image.purpose.label} ({image.purpose.source}); leave it out.")
    return replace(image, modality=_modality(image, volume))


def _pictures(
    image: MedicalImage, tissue: NDArray[np.bool_], settings: CutSettings, label: Labeller
) -> Iterator[LabelledPicture]:
    windows: tuple[str | None, ...] = settings.windows if image.modality == "CT" else (None,)
    for plane in usable_planes(image):
        across = to_plane(tissue, plane)
        for window in windows:
            slices = image.slices(plane, window)
            spacing = np.linalg.norm(slices.affine[:3, 0]) if slices.affine is not None else 1.0
            for index in choose_slices(across, float(spacing), settings):
                shown = slices[index]
                levels = to_square(shown.rgb_square(), settings.size)
                yield LabelledPicture(levels, shown, plane, window, image.obliquity or 0.0, label(plane, index))


def to_plane(axial: NDArray[np.bool_], plane: Plane) -> NDArray[np.bool_]:
    """A volume in axial display order, its first axis turned to run along the slices of another plane.

    Coronal slices run from back to front and sagittal ones from left to right, against the rows and columns of axial
    slices.
    """
    axis = PLANES.index(plane)
    across = np.moveaxis(axial, axis, 0)
    return across if axis == 0 else across[::-1]


def to_square(rgb: NDArray[np.float32], size: int) -> NDArray[np.uint8]:
    """Pad a picture with black to a square, nothing cut off, and resize it.

    Args:
        rgb: [H, W, 3] in [0, 1], with square pixels.
        size: Side of the result.
    """
    height, width = rgb.shape[:2]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    padded = np.zeros((side, side, 3), np.float32)
    padded[top : top + height, left : left + width] = rgb
    picture = Image.fromarray(merge_channels(to_bytes(padded))).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(picture)


class OutlinedLabeller:
    """Labels the slices of a volume by what is outlined on them.

    Args:
        image: The volume, its modality known.
        structures: What is outlined.
        tissue: Voxels that are no air, [D, H, W] in axial display order.
        rules: Thresholds.
    """

    def __init__(self, image: MedicalImage, structures: Structures, tissue: NDArray[np.bool_], rules: Rules) -> None:
        self.modality, self.protocol = find_label(image.modality or ""), _protocol(image)
        self.structures, self.tissue, self.rules = structures, tissue, rules
        self.states: list[dict[str, States]] = [dict(organ_states(structures, axis, rules)) for axis in range(3)]
        self.levels: StationLevels = station_levels(structures, self.states[0], rules)

    def __call__(self, plane: Plane, index: int) -> AnatomyLabel:
        """The label of one slice, by its place in display order."""
        axis = PLANES.index(plane)
        place = index if axis == 0 else self.structures.shape[axis] - 1 - index
        organs, unsure = organs_of(self.states[axis], place)
        stations, doubtful = self._stations(axis, place)
        if stations and not doubtful:
            unsure -= distant_organs(stations)
        return AnatomyLabel(self.modality, self.protocol, plane, stations, organs, unsure | doubtful)

    def _stations(self, axis: int, place: int) -> tuple[frozenset[str], frozenset[str]]:
        if axis == 0:
            return self.levels.on_level(place)
        spacing = self.structures.spacing
        width_mm = np.count_nonzero(self.tissue.take(place, axis), axis=1) * spacing[3 - axis]
        return self.levels.on_rows(width_mm, spacing[0], self.rules)


def _described(description: SeriesDescription, image: MedicalImage) -> Labeller:
    """What a person says holds for the plane in which the series was taken; ranges of slices are counted in it."""
    _check_described(description, image)
    modality, protocol = find_label(image.modality or ""), description.protocol or _protocol(image)

    def label(plane: Plane, index: int) -> AnatomyLabel:
        if plane == image.nearest_plane:
            stations, organs = _held(description.stations, index), _held(description.organs, index)
            told = frozenset(each.name for each in description.organs)
        else:
            stations = _whole(description.stations) if all(each.whole for each in description.stations) else frozenset()
            told = organs = _whole(description.organs)
        unsure = frozenset(ORGANS) - told - (distant_organs(stations) if stations else frozenset())
        uncertain = unsure | (frozenset() if stations else frozenset(STATIONS))
        return AnatomyLabel(modality, protocol, plane, stations, organs, uncertain)

    return label


def _check_described(description: SeriesDescription, image: MedicalImage) -> None:
    """Refuse ranges beyond the volume, and warn of organs far from all stations."""
    count = len(image.slices(image.nearest_plane))
    for each in (*description.stations, *description.organs):
        last = max(each.first or 0, each.last or 0)
        if last >= count:
            raise DataError(f"{image.source}: {each.name} is said of slice {last}; there are 0 to {count - 1}.")
    if not description.stations:
        return
    distant = distant_organs({each.name for each in description.stations})
    far = [each.name for each in description.organs if each.name in distant]
    if far:
        said = join_first(each.name for each in description.stations)
        warnings.warn(f"{image.source}: said to show {join_first(far)}, far from {said}; see if it does.", stacklevel=2)


def _held(ranges: Sequence[SliceRange], index: int) -> frozenset[str]:
    return frozenset(each.name for each in ranges if each.holds(index))


def _whole(ranges: Sequence[SliceRange]) -> frozenset[str]:
    return frozenset(each.name for each in ranges if each.whole)


def _modality(image: MedicalImage, volume: LabelledVolume) -> str:
    told = (volume.description.modality if volume.description else None) or volume.modality
    code = image.header.get("Modality", "")
    if told and code not in UNTOLD and told != find_label(code):
        raise DataError(f"{volume.image}: is said to be {told}, but its header says {code}; correct one of them.")
    modality = told or find_label(image.modality or "")
    if modality is None:
        remedy = "say which with --modality CT or MR" if code in UNTOLD else "it has no name here; leave it out"
        raise DataError(f"{volume.image}: modality {code or 'unknown'}; {remedy}.")
    return modality


def _protocol(image: MedicalImage) -> str | None:
    return image.protocol.label if image.protocol else None
