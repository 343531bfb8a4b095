"""Images and answers in notebooks, by NiiVue (the extra ``notebook``)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import ImageError, require
from vesalius.imaging import SliceStack
from vesalius.imaging.memory import ImageLike, as_image
from vesalius.imaging.slices import to_bytes
from vesalius.segmentation import Segmentation
from vesalius.volumes import VolumeSegmentation

if TYPE_CHECKING:
    from ipyniivue import NiiVue

Answers = Segmentation | VolumeSegmentation | Sequence[Segmentation | VolumeSegmentation]
COLOURS = ("red", "blue", "green", "warm", "cool", "copper", "violet")
"""NiiVue's colour maps of the masks, from the first."""
NOWHERE = np.array([[0.0, 0, -1, 0], [0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
"""Affine of what has no place in space: shown as it is, a millimetre a pixel."""
HEIGHT = 400
"""Height of the widget, in CSS pixels."""


def view(image: ImageLike, results: Answers = (), *, opacity: float = 0.5) -> "NiiVue":
    """Show an image and masks over it, in a notebook: slices, crosshair, zoom, and volumes in 3D.

    Args:
        image: What was segmented: a file or folder, an image, an array, or a picture of Pillow.
        results: Answers about it, of `vesalius.segment` or `vesalius.segment_volume`; each in a colour of its own.
        opacity: Of the masks, 0 to 1.

    Returns:
        NiiVue's widget, which shows itself at the end of a cell; its ``volumes`` are the image and the masks.

    Raises:
        ImageError: If the image cannot be read, or an answer is about an image of another size.
        MissingPackageError: If ipyniivue is not installed.
    """
    niivue = require("ipyniivue", extra="notebook")
    answers = list(results) if isinstance(results, Sequence) else [results]
    volumes = [each for each in answers if isinstance(each, VolumeSegmentation)]
    slices = as_image(image, volume=bool(volumes)).slices(plane=volumes[0].slices.plane if volumes else None)
    layers = [_draw(slices)]
    for place, each in enumerate(answers):
        mask = _mask_of(each)
        if mask.shape != slices.pixels.shape[:3]:
            raise ImageError(
                f"{each!r} is {list(mask.shape)}, the image {list(slices.pixels.shape[:3])}: not the same image."
            )
        colour = {"colormap": COLOURS[place % len(COLOURS)], "opacity": opacity, "cal_min": 0.0, "cal_max": 1.0}
        layers.append(_layer(each.prompt, mask.astype(np.uint8), slices, **colour))
    widget: NiiVue = niivue.NiiVue(height=HEIGHT, is_radiological_convention=True)
    widget.load_volumes(layers)
    return widget


def _mask_of(answer: Segmentation | VolumeSegmentation) -> NDArray[np.bool_]:
    """The mask in display order, [D, H, W]."""
    parts = answer.answers if isinstance(answer, VolumeSegmentation) else (answer,)
    return np.stack([each.mask for each in parts])


def _draw(slices: SliceStack) -> dict[str, object]:
    """The image; colours as bytes, grey as stored, so that its values can be read."""
    if slices.pixels.ndim == 4:
        return _layer("image", np.stack([to_bytes(each.rgb) for each in slices]), slices)
    sign = -1 if slices.inverted else 1
    black, white = sorted(sign * float(each) for each in slices.display_range)
    values = np.asarray(slices.pixels).astype(np.float32) * sign
    return _layer("image", values, slices, colormap="gray", cal_min=black, cal_max=white)


def _layer(name: str, values: NDArray[np.generic], slices: SliceStack, **settings: object) -> dict[str, object]:
    """One of the widget's volumes: a NIfTI file in memory, its axes columns, rows and slices as displayed."""
    import nibabel as nib

    placed = NOWHERE if slices.affine is None else slices.affine
    if values.ndim == 4:
        values = np.ascontiguousarray(values).view([(each, "u1") for each in "RGB"])[..., 0]
    image = nib.Nifti1Image(values.transpose(2, 1, 0), placed[:, [2, 1, 0, 3]])
    return {"name": f"{name}.nii", "data": image.to_bytes(), **settings}
