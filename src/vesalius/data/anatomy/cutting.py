"""One volume → a few labelled pictures."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vesalius.data.anatomy.choosing import PLANES, choose_slices, tissue_of, usable_planes
from vesalius.data.anatomy.distant import distant_organs
from vesalius.data.anatomy.outlines import read_structures
from vesalius.data.anatomy.regions import Structures
from vesalius.data.anatomy.rules import Rules, read_rules
from vesalius.data.anatomy.settings import CutSettings, Said, SliceRange
from vesalius.data.anatomy.sources import LabelledVolume
from vesalius.data.anatomy.stations import StationLevels, organs_of, station_levels
from vesalius.data.anatomy.visibility import States, organ_states
from vesalius.data.prepare.reading import to_bytes
from vesalius.errors import DataError
from vesalius.imaging import MedicalImage, Plane, Slice, read_image
from vesalius.imaging.orientation import to_display_order
from vesalius.prompts.anatomy import MODALITIES, ORGANS, STATIONS, AnatomyLabel

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
    if volume.said is not None:
        label = _as_said(volume.said, image)
    else:
        rules = read_rules()
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
    picture = Image.fromarray(to_bytes(padded)).resize((size, size), Image.Resampling.BICUBIC)
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
        self.modality, self.protocol = image.modality, _protocol(image)
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


def _as_said(said: Said, image: MedicalImage) -> Labeller:
    """What a person says holds for the plane in which the series was taken; ranges of slices are counted in it."""
    protocol = said.protocol or _protocol(image)

    def label(plane: Plane, index: int) -> AnatomyLabel:
        if plane == image.nearest_plane:
            stations, organs = _held(said.stations, index), _held(said.organs, index)
            told = frozenset(each.name for each in said.organs)
        else:
            stations = _whole(said.stations) if all(each.whole for each in said.stations) else frozenset()
            told = organs = _whole(said.organs)
        unsure = frozenset(ORGANS) - told - (distant_organs(stations) if stations else frozenset())
        uncertain = unsure | (frozenset() if stations else frozenset(STATIONS))
        return AnatomyLabel(image.modality, protocol, plane, stations, organs, uncertain)

    return label


def _held(ranges: Sequence[SliceRange], index: int) -> frozenset[str]:
    return frozenset(each.name for each in ranges if each.holds(index))


def _whole(ranges: Sequence[SliceRange]) -> frozenset[str]:
    return frozenset(each.name for each in ranges if each.whole)


def _modality(image: MedicalImage, volume: LabelledVolume) -> str:
    told = (volume.said.modality if volume.said else None) or volume.modality
    header = image.header.get("Modality")
    if told and header and told != header:
        raise DataError(f"{volume.image}: is said to be {told}, but its header says {header}; correct one of them.")
    modality = told or image.modality
    if modality not in MODALITIES:
        raise DataError(f"{volume.image}: modality {modality or 'unknown'}; say which with --modality CT or MR.")
    return modality


def _protocol(image: MedicalImage) -> str | None:
    return image.protocol.label if image.protocol else None
