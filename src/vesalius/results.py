"""Segmentations on their way to disk: masks, overlays and a few numbers for each phrase."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vesalius.imaging import MedicalImage, Slice, SliceStack, overlay, to_square_pixels, write_mask, write_rgb
from vesalius.predict import Segmentation

SHEET_SLICES = 12
SHEET_COLUMNS = 4
LONGEST_SLUG = 40


@dataclass(frozen=True)
class Result:
    """What was found and written for one phrase."""

    prompt: str
    existence: float | None
    """Highest probability over slices that the phrase's object is shown."""
    share: float
    """Of all pixels that are marked."""
    volume_ml: float | None
    """Of the marked voxels, where a volume's spacing is known."""
    mask: Path
    overlay: Path

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return asdict(self)


class Results:
    """Collects the answers slice by slice and writes them all at the end.

    Args:
        out: Folder, made when writing.
        image: Where the slices came from.
        slices: In the plane that was asked for.
        prompts: Phrases, in the order of every slice's answers.
    """

    def __init__(self, out: Path, image: MedicalImage, slices: SliceStack, prompts: Sequence[str]) -> None:
        self.out = out
        self.image = image
        self.slices = slices
        self.prompts = list(prompts)
        self.names = file_names(image.source, prompts)
        self._masks: list[list[NDArray[np.bool_]]] = [[] for _ in prompts]
        self._existence: list[list[float]] = [[] for _ in prompts]

    def add(self, answers: Sequence[Segmentation]) -> None:
        """Take the answers for the next slice."""
        for place, answer in enumerate(answers):
            self._masks[place].append(answer.mask)
            if answer.existence is not None:
                self._existence[place].append(answer.existence)

    def write(self) -> list[Result]:
        """Write mask and overlay of every phrase.

        Raises:
            OutputError: If the folder cannot be written.
        """
        return [self._write_one(place) for place in range(len(self.prompts))]

    def _write_one(self, place: int) -> Result:
        masks = np.stack(self._masks[place])
        name = self.names[place]
        mask_path, overlay_path = self.out / f"{name}.mask.png", self.out / f"{name}.overlay.png"
        if len(masks) == 1:
            write_mask(mask_path, masks[0])
            write_rgb(overlay_path, overlay(self.slices[0].rgb, masks[0]))
        else:
            mask_path = self.out / f"{name}.mask.nii.gz"
            # Volumes alone need nibabel, which takes a fifth of a second to load.
            from vesalius.imaging.nifti import write_mask_volume

            write_mask_volume(mask_path, masks, self.slices.affine)
            write_rgb(overlay_path, contact_sheet(self.slices, masks))
        existence = max(self._existence[place], default=None)
        return Result(self.prompts[place], existence, float(masks.mean()), self._volume(masks), mask_path, overlay_path)

    def _volume(self, masks: NDArray[np.bool_]) -> float | None:
        if self.slices.affine is None or len(masks) == 1:
            return None
        return float(masks.sum() * abs(np.linalg.det(self.slices.affine[:3, :3])) / 1000)


def contact_sheet(slices: SliceStack, masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Overlays of up to 12 slices, evenly spread over those with a mark (or over all, if none has one).

    Args:
        slices: D slices.
        masks: [D, H, W].

    Returns:
        RGB in [0, 1], slices in reading order.
    """
    marked = np.flatnonzero(masks.any(axis=(1, 2)))
    first, last = (marked[0], marked[-1]) if len(marked) else (0, len(masks) - 1)
    chosen = sorted({int(each) for each in np.linspace(first, last, SHEET_SLICES).round()})
    tiles = [_tile(slices[each], masks[each]) for each in chosen]
    columns = min(SHEET_COLUMNS, len(tiles))
    grid = tiles + [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [np.concatenate(grid[start : start + columns], axis=1) for start in range(0, len(grid), columns)]
    return np.concatenate(rows)


def _tile(each: Slice, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The overlay with pixels as wide as high."""
    drawn = np.divide(overlay(each.rgb, mask), 255, dtype=np.float32)
    return to_square_pixels(drawn, each.pixel_spacing_mm)


def file_names(source: Path, prompts: Sequence[str]) -> list[str]:
    """One short, distinct file name a phrase: the image's name and the phrase's letters.

    >>> file_names(Path("scan.nii.gz"), ["left lung", "left lung!"])
    ['scan.left-lung', 'scan.left-lung-2']
    """
    stem = source.name.split(".")[0] or "image"
    names: list[str] = []
    for prompt in prompts:
        slug = re.sub(r"[^\w]+", "-", prompt.lower()).strip("-")[:LONGEST_SLUG] or "prompt"
        name, number = f"{stem}.{slug}", 1
        while name in names:
            number += 1
            name = f"{stem}.{slug}-{number}"
        names.append(name)
    return names
