"""Legs and arms of formulas, as CT and MR show them, for naming.

One person of the series has legs on CT and one a wrist on MR; held out, all their slices were called a head: a round
section with a bright rim of fat. Here a limb is a tube of fat and muscle around one long bone or two, whose widths
along it are a table's and drawn anew each time, with a joint in the middle, many small bones at its end, and digits
apart. Two limbs stand side by side, or one alone; they are cut in three planes, and shown in a window of CT or as a
sequence of MR.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from ct_as_mr import CHANCE, SEQUENCES, draw_curve, light, read_tissues
from labelled_slice import LabelledSlice, partial
from numpy.typing import NDArray
from scipy import ndimage

from vesalius.data.slices.cutting import to_square
from vesalius.imaging.intensity import CT_WINDOWS, apply_window

Values = NDArray[np.float32]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Limb:
    """A limb from the tips of its digits up, in millimetres."""

    name: str
    station: str
    heights: tuple[float, ...]
    """Of the widths below."""
    radius: tuple[float, ...]
    """Of the limb, to the sides."""
    reach: tuple[float, ...]
    """Its depth from front to back, as a share of its width."""
    large: tuple[float, ...]
    """Radius of its stronger bone."""
    small: tuple[float, ...]
    """Radius of the other, 0 where there is none."""
    shell: tuple[float, ...]
    """Thickness of compact bone."""
    digits: float
    """Height under which they are apart."""
    ends: float
    """Height under which there are many small bones instead of the two."""
    joint: tuple[float, float]
    """Heights between which it is."""
    organs: dict[str, tuple[float, float]]
    """What shows, by heights."""


LEG = Limb(
    "legs", "lower body",
    heights=(0.0, 60.0, 90.0, 250.0, 380.0, 420.0, 450.0, 500.0, 650.0, 800.0),
    radius=(38.0, 40.0, 36.0, 55.0, 52.0, 58.0, 60.0, 62.0, 78.0, 90.0),
    reach=(1.8, 1.6, 1.1, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
    large=(20.0, 26.0, 18.0, 14.0, 24.0, 36.0, 36.0, 18.0, 14.0, 15.0),
    small=(9.0, 12.0, 11.0, 7.0, 9.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    shell=(1.5, 1.5, 2.5, 5.0, 2.0, 1.2, 1.2, 3.0, 6.0, 6.0),
    digits=30.0, ends=60.0, joint=(370.0, 480.0),
    organs={"foot": (0.0, 60.0), "ankle": (60.0, 110.0), "leg": (110.0, 370.0), "knee": (370.0, 480.0),
            "thigh": (480.0, 800.0)},
)  # fmt: skip
ARM = Limb(
    "arms", "upper limb",
    heights=(0.0, 90.0, 180.0, 220.0, 300.0, 420.0, 450.0, 490.0, 520.0, 700.0),
    radius=(40.0, 42.0, 34.0, 27.0, 36.0, 46.0, 46.0, 44.0, 45.0, 52.0),
    reach=(0.4, 0.4, 0.55, 0.7, 0.8, 0.9, 0.9, 0.9, 1.0, 1.0),
    large=(8.0, 9.0, 10.0, 11.0, 7.5, 10.0, 16.0, 18.0, 11.0, 11.0),
    small=(8.0, 8.0, 8.0, 8.0, 7.0, 10.0, 10.0, 0.0, 0.0, 0.0),
    shell=(1.2, 1.2, 1.2, 1.5, 3.0, 2.0, 1.5, 1.5, 4.0, 4.0),
    digits=90.0, ends=205.0, joint=(440.0, 500.0),
    organs={"hand": (0.0, 180.0), "wrist": (180.0, 235.0), "forearm": (235.0, 430.0), "elbow": (430.0, 510.0),
            "humerus": (510.0, 700.0)},
)  # fmt: skip
COUNTS = {LEG.name: 90, ARM.name: 40}
EVERY_TEST = 10
"""How many drawings come before one that is for testing: sets of pictures have a test part."""
PAIR, LOW, MR = {LEG.name: 0.65, ARM.name: 0.1}, 0.25, {LEG.name: 0.25, ARM.name: 0.6}
"""Shares of drawings with two limbs, of those that begin at the digits, and of those painted as MR."""
SLICES = {"axial": 10, "coronal": 3, "sagittal": 3}
"""Of each drawing, by plane."""
STEP, PIXEL = 6.0, 2.0
"""Millimetres between slices, and between pixels."""
AIR, FAT, MUSCLE, MARROW, SPONGE, COMPACT = -1000.0, -100.0, 55.0, -40.0, 180.0, 900.0
"""HU."""


def read_limbs(size: int) -> Iterator[LabelledSlice]:
    """Slices of all drawings.

    Args:
        size: Side of the pictures.
    """
    for limb in (LEG, ARM):
        for number in range(COUNTS[limb.name]):
            rng, test = np.random.default_rng([number, len(limb.name)]), number % EVERY_TEST == 0
            low, hu = draw_limb(limb, rng)
            protocol = str(rng.choice([*SEQUENCES, CHANCE])) if rng.random() < MR[limb.name] else None
            shades = apply_window(hu, CT_WINDOWS["soft tissue" if rng.random() < 0.7 else "bone"])
            if protocol:
                shades = read_tissues(hu, draw_curve(protocol, rng))
            for plane, height, section in cut(hu, shades, rng):
                picture = to_square(np.repeat(section[..., None], 3, 2).clip(0, 1), size)
                at = None if height is None else low + height
                shown = [name for name, (first, last) in limb.organs.items() if at is not None and first <= at < last]
                yield LabelledSlice(
                    light(picture, rng) if protocol else picture,
                    partial("MR" if protocol else "CT", plane, limb.station, *shown),
                    series=f"{limb.name} of formulas{'' if test else f' {number}'}",
                    patient="limbs of formulas",
                    native=False,
                    test=test,
                )


def cut(hu: Values, shades: Values, rng: np.random.Generator) -> Iterator[tuple[str, float | None, Values]]:
    """Plane, height in mm over the lowest slice (None across), and shades [H, W] of some slices that show something."""
    for axis, (plane, most) in enumerate(SLICES.items()):
        there = np.flatnonzero((hu > AIR / 2).mean(axis=tuple({0, 1, 2} - {axis})) > 0.01)
        for index in rng.choice(there, min(most, len(there)), replace=False):
            section = np.take(shades, index, axis=axis)
            if axis:
                section = ndimage.zoom(section[::-1], (STEP / PIXEL, 1), order=1)
            yield plane, None if axis else STEP * float(index), section


def draw_limb(limb: Limb, rng: np.random.Generator) -> tuple[float, Values]:
    """Height of the lowest slice, and HU [D, H, W] from there up, rows to the back and columns to the left."""
    pair = rng.random() < PAIR[limb.name]
    side = int((rng.uniform(340, 500) if pair else rng.uniform(100, 300)) / PIXEL)
    top = limb.heights[-1]
    low, length = 0.0, rng.uniform(60, 200)
    if rng.random() > LOW:
        low, length = rng.uniform(0, top - 200), rng.uniform(100, 500)
    heights = np.arange(low, min(low + length, top), STEP)
    scale, fat = rng.uniform(0.85, 1.2), rng.uniform(0.05, 0.35)
    shift = scale * 70 + rng.uniform(0, 30) if pair else 0.0
    turns = (-1, 1) if pair else (int(rng.choice((-1, 1))),)
    waves, places = rng.normal(0, 0.025, (2, 3)), rng.uniform(-1, 1, (12, 3))
    noise = ndimage.gaussian_filter(rng.normal(size=(len(heights), side, side)), (2, 5, 5))
    septa = np.abs(noise / noise.std()) < 0.12
    found = np.full(noise.shape, AIR, np.float32)
    rows, columns = (np.mgrid[:side, :side] - side / 2) * PIXEL / scale
    for hu, height, fatty in zip(found, heights, septa, strict=True):
        widths = _Widths.at(limb, height)
        for turn in turns:
            outwards = turn * columns - shift / scale
            if height < limb.digits:
                _draw_digits(hu, rows, outwards, widths, places)
            else:
                _draw_flesh(hu, rows, outwards, fatty, widths, fat, waves)
                _draw_bones(hu, rows, outwards, widths, bones_at(limb, height, widths, places))
    return low, (ndimage.gaussian_filter(found, (0.3, 0.5, 0.5)) + rng.normal(0, 12, found.shape)).astype(np.float32)


@dataclass(frozen=True)
class _Widths:
    """Of a limb at a height, as `Limb` has them."""

    radius: float
    reach: float
    large: float
    small: float
    shell: float

    @staticmethod
    def at(limb: Limb, height: float) -> "_Widths":
        rows = (limb.radius, limb.reach, limb.large, limb.small, limb.shell)
        return _Widths(*(float(np.interp(height, limb.heights, each)) for each in rows))


def _draw_flesh(
    hu: Values, rows: Values, columns: Values, septa: NDArray[np.bool_], widths: _Widths, fat: float, waves: Numbers
) -> None:
    radius, angle = np.hypot(rows / widths.reach, columns), np.arctan2(rows, columns)
    uneven = sum(even * np.cos(n * angle) + odd * np.sin(n * angle) for n, (even, odd) in enumerate(waves.T, start=2))
    edge = widths.radius * (1 + uneven)
    hu[radius < edge] = FAT
    hu[(radius < edge * (1 - fat)) & ~septa] = MUSCLE


def _draw_digits(hu: Values, rows: Values, columns: Values, widths: _Widths, places: Numbers) -> None:
    """Five in a row, each round a bone."""
    apart = 2 * widths.radius / 5
    for number, (wide, along, _) in enumerate(places[:5]):
        away = np.hypot(rows + 8 * along, columns - apart * (number - 2))
        hu[away < (0.46 + 0.04 * wide) * apart] = FAT
        hu[away < 0.36 * apart] = MUSCLE
        hu[away < 0.24 * apart] = 2 * SPONGE


def bones_at(limb: Limb, height: float, widths: _Widths, places: Numbers) -> list[tuple[float, float, float]]:
    """Row, column and radius of each bone."""
    radius, depth = widths.radius, widths.radius * widths.reach
    if height < limb.ends:
        return [(0.6 * depth * a, 0.6 * radius * b, (0.22 + 0.08 * c) * min(radius, depth)) for a, b, c in places]
    bones = [(0.0, 0.0, widths.large)]
    if limb.joint[0] < height < limb.joint[1]:
        bones = [(0.0, place * 0.4 * radius, 0.75 * widths.large) for place in (-1, 1)]
        bones.append((-0.75 * depth, 0.0, 0.4 * widths.large))
    elif widths.small > 1:
        bones = [(-0.2 * depth, -0.25 * radius, widths.large)]
    return [*bones, (0.1 * depth, 0.45 * radius, widths.small)] if widths.small > 1 else bones


def _draw_bones(
    hu: Values, rows: Values, columns: Values, widths: _Widths, bones: list[tuple[float, float, float]]
) -> None:
    for row, column, width in bones:
        away = np.hypot(rows - row, columns - column)
        bone = (away < width) & (hu > AIR)
        hu[bone] = MARROW if widths.shell > 2.5 else SPONGE
        hu[bone & (away > width - widths.shell)] = COMPACT if widths.shell > 2 else 3 * SPONGE
