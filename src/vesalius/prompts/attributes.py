"""What can be told of an object from its mask and the picture: number, size, location, shape and colour, in words."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from vesalius.prompts.colour import name_colour
from vesalius.prompts.geometry import Outline, Part, find_parts, trace_outline
from vesalius.prompts.rules import PLAIN, AttributeRules
from vesalius.prompts.vocabulary import NUMBERS, PLACES, SIZES


@dataclass(frozen=True, eq=False)
class Measurements:
    """What is measured once; rules then turn it into words."""

    parts: tuple[Part, ...]
    """One or more, in reading order."""
    outline: Outline
    """Of the largest part."""
    colour: tuple[float, float, float]
    """Median red, green and blue inside the mask, in [0, 1]."""

    @property
    def largest(self) -> Part:
        """The part whose shape is told."""
        return max(self.parts, key=lambda part: part.area)


@dataclass(frozen=True)
class Attributes:
    """The words for one object; several of a kind are separated by commas."""

    number: str
    size: str
    location: str
    shape: str
    colour: str

    def to_dict(self) -> dict[str, str]:
        """Attribute -> word."""
        return asdict(self)


def describe(mask: NDArray[np.bool_], rgb: NDArray[np.floating], rules: AttributeRules = PLAIN) -> Attributes | None:
    """Put an object into words.

    >>> picture = np.full((90, 90, 3), (0.8, 0.1, 0.1))
    >>> mask = np.zeros((90, 90), bool)
    >>> mask[5:25, 65:85] = True
    >>> describe(mask, picture)
    Attributes(number='one', size='small', location='top right', shape='square', colour='red')

    Args:
        mask: Where the object is, [H, W].
        rgb: The picture in [0, 1], [H, W, 3].
        rules: Thresholds; `vesalius.prompts.rules` documents each.

    Returns:
        None if the mask is empty.
    """
    measured = measure(mask, rgb)
    return to_words(measured, rules) if measured else None


def measure(mask: NDArray[np.bool_], rgb: NDArray[np.floating]) -> Measurements | None:
    """Measure an object; arguments as of `describe`.

    Returns:
        None if the mask is empty.
    """
    parts = find_parts(mask)
    if not parts:
        return None
    red, green, blue = np.median(rgb[mask], axis=0).tolist()
    return Measurements(parts, trace_outline(max(parts, key=lambda part: part.area)), (red, green, blue))


def to_words(measured: Measurements, rules: AttributeRules) -> Attributes:
    """Apply the rules."""
    solid = [part for part in measured.parts if part.share >= rules.speck] or [measured.largest]
    counted = measured.parts if rules.count_specks else solid
    return Attributes(
        number=NUMBERS[len(counted) - 1] if len(counted) <= len(NUMBERS) else str(len(counted)),
        size=", ".join(_name_sizes(solid, rules)),
        location=", ".join(_name_places(counted, rules)),
        shape=_name_shape(measured.outline, measured.largest.share, rules),
        colour=name_colour(measured.colour, rules),
    )


def _name_sizes(parts: Sequence[Part], rules: AttributeRules) -> list[str]:
    """Each size that occurs, from tiny to large."""
    limits = (rules.tiny, rules.small, rules.medium)
    found = {sum(part.share >= limit for limit in limits) for part in parts}
    return [SIZES[index] for index in sorted(found)]


def _name_places(parts: Sequence[Part], rules: AttributeRules) -> list[str]:
    places = [_name_place(part, rules) for part in parts]
    return places if rules.repeat_places else list(dict.fromkeys(places))


def _name_place(part: Part, rules: AttributeRules) -> str:
    if part.cells.max() > rules.within_cell:
        return PLACES[int(part.cells.argmax())]
    height, width = part.image_size
    row, column = part.centre
    return PLACES[3 * _third(row, height) + _third(column, height if rules.columns_by_height else width)]


def _third(position: float, length: int) -> int:
    return min(2, int(3 * position / length))


def _name_shape(outline: Outline, share: float, rules: AttributeRules) -> str:
    if outline.solidity < rules.irregular:
        return "irregular"
    if outline.fill < rules.triangular:
        return "triangular"
    if outline.fill > rules.rectangular:
        return "square" if outline.ratio >= rules.oval else "rectangular"
    if outline.ratio < rules.oval:
        return "oval"
    return "circle" if share < rules.circle else "round"
