"""T1-weighted slices as other MR sequences would show them, for naming.

Few people of the series were examined by diffusion or with suppressed fat, and whoever is held out takes half of them
along. What these sequences make of a tissue is known, and on T1 its shade says which it is: within the brain, fluid is
dark, grey matter between, white matter bright. So a brain, outlined by pocket itself, is painted anew by one curve of
shades for each sequence, and what lies outside by another; of spines and limbs, fluid turns bright, and with STIR fat
and marrow dark. Edges of bone and air, which are as dark as fluid, come out wrong; the drawn changes of every curve are
larger than that. As painted slices are coarse and noisy as such sequences are, slices of CT are made so, too: without
them, a blurred CT was taken for MR. Whatever is made of a slice is held out with its person.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from labelled_slice import LabelledSlice, Made
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull

Shades = NDArray[np.float32]


@dataclass(frozen=True)
class Contrast:
    """How a sequence shows what T1 shows."""

    brain: tuple[float, ...]
    """Shade of each of ``TISSUES``."""
    outside: tuple[float, ...]
    """Shade of each of ``OUTSIDE``."""
    side: tuple[int, int] = (256, 320)
    """Pixels across, from and to."""


TISSUES = (0.0, 0.3, 0.5, 0.72, 1.0, 1.3)
"""Shades within the brain, in those of its white matter: fluid up to the second, grey matter at the fourth."""
OUTSIDE = (0.0, 0.1, 0.22, 0.45, 0.75, 1.2)
"""Shades outside it, likewise: air, bone, fluid, muscle, marrow, fat."""
SEQUENCES = {
    "T2": Contrast((1.0, 0.95, 0.75, 0.55, 0.38, 0.35), (0.0, 0.04, 0.1, 0.22, 0.4, 0.65)),
    "FLAIR": Contrast((0.05, 0.12, 0.45, 0.62, 0.5, 0.5), (0.0, 0.04, 0.1, 0.27, 0.5, 0.7)),
    "DWI": Contrast((0.05, 0.12, 0.5, 0.62, 0.52, 0.5), (0.0, 0.02, 0.03, 0.05, 0.06, 0.06), (96, 192)),
    "ADC": Contrast((1.0, 0.8, 0.5, 0.42, 0.38, 0.36), (0.0, 0.03, 0.04, 0.06, 0.08, 0.08), (96, 192)),
}
BODY_SEQUENCES = {
    "T2": Contrast((), (0.0, 0.05, 0.9, 0.22, 0.5, 0.8)),
    "STIR": Contrast((), (0.0, 0.1, 0.9, 0.45, 0.2, 0.1)),
}
COARSE = (96, 320)
"""Pixels across a coarse CT, from and to."""
MOST, MOST_CT = 24, 12
"""Slices of a series that are painted or made coarse."""
GROWN = 4
"""Pixels by which an outlined brain is grown, so that the fluid around it counts as its own."""
JITTER = 0.25
"""Largest change of a shade, as a share of it."""
LEAST_BRAIN, LEAST_SOLID = 0.05, 0.88
"""Share of a slice that is brain, and of its convex hull: outlines that fail are smaller or in pieces."""


def repaint(slices: Sequence[LabelledSlice], outline: Callable[[Shades], NDArray[np.bool_]]) -> Iterator[LabelledSlice]:
    """T1-weighted slices as other sequences show them, and slices of CT as coarse as those.

    Args:
        slices: All of them.
        outline: The brain of a picture [S, S, 3] in [0, 1], a mask [S, S].
    """
    usable = [each for each in slices if each.native and not each.test]
    for each, rng in spread([each for each in usable if each.label.protocol == "T1"], MOST):
        if "brain" in each.label.organs:
            brain = grow(outline(each.rgb))
            if brain.mean() >= LEAST_BRAIN and solidity(brain) >= LEAST_SOLID:
                for name, contrast in SEQUENCES.items():
                    yield made(each, paint(each.rgb[..., 0], brain, contrast, rng), name)
        elif each.label.stations and "head" not in each.label.stations | each.label.uncertain:
            none = np.zeros(each.rgb.shape[:2], bool)
            for name, contrast in BODY_SEQUENCES.items():
                yield made(each, paint(each.rgb[..., 0], none, contrast, rng), name)
    for each, rng in spread([each for each in usable if each.label.modality == "CT" and each.label.stations], MOST_CT):
        yield made(each, resample(each.rgb[..., 0], COARSE, rng))


def spread(slices: Sequence[LabelledSlice], most: int) -> Iterator[tuple[LabelledSlice, np.random.Generator]]:
    """Up to so many slices of each series, evenly, and what decides how each is changed."""
    lengths, taken = Counter(each.series for each in slices), Counter[str]()
    for place, each in enumerate(slices):
        taken[each.series] += 1
        if taken[each.series] % -(-lengths[each.series] // most) == 0:
            yield each, np.random.default_rng(place)


def made(each: LabelledSlice, shades: Shades, protocol: str | None = None) -> LabelledSlice:
    """A slice for training, counted apart from the series that it comes from."""
    picture = np.round(255 * shades.clip(0, 1)).astype(np.uint8)
    label, series = replace(each.label, protocol=protocol), f"{each.series} as {protocol or 'coarse'}"
    how: Made = "contrast" if protocol else "coarse"
    return replace(each, picture=picture, label=label, series=series, native=False, made=how)


def grow(brain: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """With what it encloses and the fluid around it."""
    return np.asarray(ndimage.binary_dilation(ndimage.binary_fill_holes(brain), iterations=GROWN))


def solidity(mask: NDArray[np.bool_]) -> float:
    """Share of its convex hull."""
    hull = ConvexHull(np.argwhere(mask))
    return float(mask.sum() / hull.volume)


def paint(shades: Shades, brain: NDArray[np.bool_], contrast: Contrast, rng: np.random.Generator) -> Shades:
    """One slice [S, S] in [0, 1] as a sequence shows it."""
    lit = shades[brain] if brain.any() else shades[shades > 0.1]
    white = max(0.2, float(np.quantile(lit, 0.85))) if lit.size else 1.0
    relative = shades / white
    found = np.interp(relative, OUTSIDE, changed(contrast.outside, rng))
    if brain.any():
        edge = ndimage.gaussian_filter(brain.astype(np.float32), 1.5)
        found = edge * np.interp(relative, TISSUES, changed(contrast.brain, rng)) + (1 - edge) * found
    return resample(found, contrast.side, rng)


def resample(shades: Shades, side: tuple[int, int], rng: np.random.Generator) -> Shades:
    """The same [S, S] from fewer pixels, whose number across is drawn, and with noise."""
    across = int(rng.integers(*side))
    coarse = ndimage.zoom(ndimage.gaussian_filter(shades, 0.4 * len(shades) / across), across / len(shades), order=1)
    coarse = coarse + rng.normal(0, 0.02 * rng.random(), coarse.shape)
    fine = np.asarray(ndimage.zoom(coarse, len(shades) / across, order=1), np.float32)
    return fine[: len(shades), : len(shades)]


def changed(shades: tuple[float, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """Each a little brighter or darker."""
    return np.array(shades) * (1 + JITTER * rng.uniform(-1, 1, len(shades)))
