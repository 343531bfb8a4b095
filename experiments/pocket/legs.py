"""Legs of formulas, as CT and MR show them, for naming.

One person of the series has legs on CT; held out, all her slices were called a head: a round section with a bright rim
of fat. Here a leg is a tube of fat and muscle around a femur, or a tibia and a fibula, whose widths along the leg are a
table's, drawn anew each time, with a foot of many small bones and toes apart; two stand side by side, or one alone. Cut
in three planes, in a window of CT or painted as a sequence of MR.
"""

from collections.abc import Iterator

import numpy as np
from ct_as_mr import CHANCE, SEQUENCES, draw_curve, light, read_tissues
from labelled_slice import LabelledSlice, partial
from numpy.typing import NDArray
from scipy import ndimage

from vesalius.data.slices.cutting import to_square
from vesalius.imaging.intensity import CT_WINDOWS, apply_window
from vesalius.prompts.anatomy import AnatomyLabel

Values = NDArray[np.float32]
Numbers = NDArray[np.float64]
NAME = "legs of formulas"
COUNT, EVERY_TEST = 100, 10
"""Drawings, and how many come before one that is for testing: sets of pictures have a test part."""
PAIR, FEET, MR = 0.65, 0.25, 0.25
"""Shares of drawings with two legs, of those that begin at the sole, and of those painted as MR."""
SLICES = {"axial": 10, "coronal": 3, "sagittal": 3}
"""Of each drawing, by plane."""
STEP, PIXEL = 6.0, 2.0
"""Millimetres between slices, and between pixels."""
HEIGHTS = (0.0, 60.0, 90.0, 250.0, 380.0, 420.0, 450.0, 500.0, 650.0, 800.0)
"""Of the widths below, in mm over the sole."""
LEG = (38.0, 40.0, 36.0, 55.0, 52.0, 58.0, 60.0, 62.0, 78.0, 90.0)
"""Radius of the leg, mm."""
LARGE = (20.0, 26.0, 18.0, 14.0, 24.0, 36.0, 36.0, 18.0, 14.0, 15.0)
"""Radius of the tibia, up to the knee, and of the femur over it."""
SMALL = (9.0, 12.0, 11.0, 7.0, 9.0, 0.0, 0.0, 0.0, 0.0, 0.0)
"""Radius of the fibula."""
SHELL = (1.5, 1.5, 2.5, 5.0, 2.0, 1.2, 1.2, 3.0, 6.0, 6.0)
"""Thickness of compact bone."""
KNEE = (370.0, 480.0)
"""Heights between which it is."""
TOES, FOOT, ANKLE = 30.0, 60.0, 100.0
"""Heights under which they are."""
AIR, FAT, MUSCLE, MARROW, SPONGE, COMPACT = -1000.0, -100.0, 55.0, -40.0, 180.0, 900.0
"""HU."""


def read_legs(size: int) -> Iterator[LabelledSlice]:
    """Slices of all drawings.

    Args:
        size: Side of the pictures.
    """
    for number in range(COUNT):
        rng, test = np.random.default_rng(number), number % EVERY_TEST == 0
        low, hu = draw_legs(rng)
        protocol = str(rng.choice([*SEQUENCES, CHANCE])) if rng.random() < MR else None
        shades = apply_window(hu, CT_WINDOWS["soft tissue" if rng.random() < 0.7 else "bone"])
        if protocol:
            shades = read_tissues(hu, draw_curve(protocol, rng))
        for plane, height, section in cut(hu, shades, rng):
            picture = to_square(np.repeat(section[..., None], 3, 2).clip(0, 1), size)
            yield LabelledSlice(
                light(picture, rng) if protocol else picture,
                name_slice("MR" if protocol else "CT", plane, None if height is None else low + height),
                series=NAME if test else f"{NAME} {number}",
                patient=NAME,
                native=False,
                test=test,
            )


def cut(hu: Values, shades: Values, rng: np.random.Generator) -> Iterator[tuple[str, float | None, Values]]:
    """Plane, mm over the lowest slice (None across), and shades [H, W] of some slices that show something."""
    for axis, (plane, most) in enumerate(SLICES.items()):
        there = np.flatnonzero((hu > AIR / 2).mean(axis=tuple({0, 1, 2} - {axis})) > 0.01)
        for index in rng.choice(there, min(most, len(there)), replace=False):
            section = np.take(shades, index, axis=axis)
            if axis:
                section = ndimage.zoom(section[::-1], (STEP / PIXEL, 1), order=1)
            yield plane, None if axis else STEP * float(index), section


def name_slice(modality: str, plane: str, height: float | None) -> AnatomyLabel:
    """What a slice shows, by its height over the sole; across, and of feet, organs are not said."""
    if height is None or height < ANKLE:
        return partial(modality, plane, "lower body")
    organ = "knee" if KNEE[0] < height < KNEE[1] else "leg" if height < KNEE[0] else "thigh"
    return partial(modality, plane, "lower body", organ)


def draw_legs(rng: np.random.Generator) -> tuple[float, Values]:
    """Height of the lowest slice, and HU [D, H, W] from there up, rows to the back and columns to the left."""
    pair = rng.random() < PAIR
    side = int((rng.uniform(340, 500) if pair else rng.uniform(150, 300)) / PIXEL)
    low, length = (0.0, rng.uniform(60, 200)) if rng.random() < FEET else (rng.uniform(0, 500), rng.uniform(150, 500))
    heights = np.arange(low, min(low + length, HEIGHTS[-1]), STEP)
    scale, fat = rng.uniform(0.85, 1.2), rng.uniform(4, 22)
    shift = scale * 70 + rng.uniform(0, 30) if pair else 0.0
    turns = (-1, 1) if pair else (int(rng.choice((-1, 1))),)
    waves, places = rng.normal(0, 0.025, (2, 3)), rng.uniform(-1, 1, (12, 3))
    noise = ndimage.gaussian_filter(rng.normal(size=(len(heights), side, side)), (2, 5, 5))
    septa = np.abs(noise / noise.std()) < 0.12
    found = np.full(noise.shape, AIR, np.float32)
    rows, columns = (np.mgrid[:side, :side] - side / 2) * PIXEL / scale
    for hu, height, fatty in zip(found, heights, septa, strict=True):
        for turn in turns:
            outwards = turn * columns - shift / scale
            if height < TOES:
                _draw_toes(hu, rows, outwards, places)
            else:
                _draw_flesh(hu, rows, outwards, fatty, height, fat, waves)
                _draw_bones(hu, rows, outwards, height, places)
    return low, (ndimage.gaussian_filter(found, (0.3, 0.5, 0.5)) + rng.normal(0, 12, found.shape)).astype(np.float32)


def _draw_flesh(
    hu: Values, rows: Values, columns: Values, septa: NDArray[np.bool_], height: float, fat: float, waves: Numbers
) -> None:
    """Fat and muscle of a leg, or of a foot, which reaches forward."""
    reach = 1.8 if height < FOOT else 1.0
    radius, angle = np.hypot(rows / reach, columns), np.arctan2(rows, columns)
    uneven = sum(even * np.cos(n * angle) + odd * np.sin(n * angle) for n, (even, odd) in enumerate(waves.T, start=2))
    edge = np.interp(height, HEIGHTS, LEG) * (1 + uneven)
    hu[radius < edge] = FAT
    hu[(radius < edge - fat / reach) & ~septa] = MUSCLE


def _draw_toes(hu: Values, rows: Values, columns: Values, places: Numbers) -> None:
    """Five in a row, each round a bone."""
    for number, (wide, along, _) in enumerate(places[:5]):
        away = np.hypot(rows + 8 * along, columns - 17 * (number - 2))
        hu[away < 8 + wide] = FAT
        hu[away < 6 + wide] = MUSCLE
        hu[away < 4] = 2 * SPONGE


def _draw_bones(hu: Values, rows: Values, columns: Values, height: float, places: Numbers) -> None:
    leg, large, small, shell = (float(np.interp(height, HEIGHTS, each)) for each in (LEG, LARGE, SMALL, SHELL))
    if height < FOOT:
        bones = [(55 * along, 25 * across, 10 + 4 * wide) for along, across, wide in places]
    elif KNEE[0] < height < KNEE[1]:
        bones = [(0.0, place * 0.4 * leg, 0.75 * large) for place in (-1, 1)] + [(-0.75 * leg, 0.0, 0.4 * large)]
    else:
        bones = [(0.0, 0.0, large) if height > KNEE[1] else (-0.25 * leg, -0.15 * leg, large)]
    bones += [(0.1 * leg, 0.45 * leg, small)] if small > 1 and height > FOOT else []
    for row, column, width in bones:
        away = np.hypot(rows - row, columns - column)
        bone = (away < width) & (hu > AIR)
        hu[bone] = MARROW if shell > 2.5 else SPONGE
        hu[bone & (away > width - shell)] = COMPACT if shell > 2 else 3 * SPONGE
