"""Words for number, size, location, shape and colour of an object, from its mask and the picture.

`AttributeRules` holds every threshold; `measure` measures once, `describe_measurements` applies the rules.
"""

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, label
from scipy.spatial import ConvexHull

from vesalius.errors import PromptError, unknown_name


@dataclass(frozen=True)
class AttributeRules:
    """Thresholds of number, size, location, shape and colour; the defaults are PLAIN's.

    Shares are fractions of the image's area, hues are degrees, saturation and value lie in [0, 1] (HSV).
    """

    speck: float = 1e-4
    """Parts (8-connected) of a smaller share are specks; they have no size word, and neither shape nor colour."""
    count_specks: bool = False
    """Whether a speck counts as a part, with a place of its own. A mask of nothing but specks keeps its largest."""

    tiny: float = 0.0013
    """Parts of a smaller share are "tiny" …"""
    small: float = 0.0825
    """… below this one "small" …"""
    medium: float = 0.306
    """… below this one "medium", and "large" above it. Parts of several sizes: "small, medium"."""

    within_cell: float = 0.88
    """A part with more of its pixels than this in one cell of the 3 × 3 grid is located there …"""
    columns_by_height: bool = False
    """… others by the centre of their box: thirds of the height tell the row; thirds of the width, or if this is set
    of the height too, tell the column."""
    repeat_places: bool = False
    """Whether two parts in one place are named twice: "center, center"."""

    triangular: float = 0.62
    """A largest part that fills less of its smallest upright or tilted box is "triangular" (1/2 for a triangle, 0.785
    for an ellipse) …"""
    rectangular: float = 0.9
    """… more than this, "square" or "rectangular" …"""
    irregular: float = 0.85
    """… and if it fills less than this of its convex hull, "irregular", which is asked first."""
    oval: float = 0.8
    """Short over long side of that box, below which a part is "oval" (or not square)."""
    circle: float = 0.05
    """What is neither is a "circle" below this share of the image and "round" above: two words for one shape."""

    black: float = 0.2
    """Median colours of a lower value are "black" …"""
    colourless: float = 0.15
    """… of a lower saturation, "white" or "gray" …"""
    white: float = 0.75
    """… by whether their value is above this."""
    brown: float = 0.6
    """Red to yellow hues of a lower value are "brown" …"""
    pink_saturation: float = 0.6
    """… reddish ones, up to `pink_hue`, of a lower saturation "pink"; all others go by their hue."""
    pink_hue: float = 20
    """Largest hue that may be pink."""
    red: float = 12
    """Hues below this, and from 345, are "red" …"""
    orange: float = 45
    """… below this "orange" …"""
    yellow: float = 70
    """… below this "yellow"; then follow green, blue and purple."""


PLAIN = AttributeRules()
"""What a person would say who knows only the mask and the picture."""
BENCHMARK = AttributeRules(
    count_specks=True,
    columns_by_height=True,
    repeat_places=True,
    irregular=0,
    triangular=0.5,
    rectangular=1.01,
    oval=0.35,
    colourless=0.725,
    white=0.2,
    red=0,
    orange=14,
)
"""What reproduces the benchmark's own words, as far as they can be told from mask and picture; see docs/prompts.md."""
RULES: Mapping[str, AttributeRules] = MappingProxyType({"plain": PLAIN, "benchmark": BENCHMARK})


def find_rules(name: str) -> AttributeRules:
    """One column of the table.

    Raises:
        PromptError: If there is none of this name.
    """
    if name not in RULES:
        raise PromptError(unknown_name("attribute rules", name, RULES))
    return RULES[name]


NUMBERS = (
    "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip
"""Numbers in words; larger ones are written in digits."""
SIZES = ("tiny", "small", "medium", "large")
PLACES = (
    "top left", "top", "top right",
    "left", "center", "right",
    "bottom left", "bottom", "bottom right",
)  # fmt: skip
"""Cells of a 3 × 3 grid over the image, row by row. They are sides of the picture, never of the patient."""
SHAPES = ("circle", "irregular", "oval", "rectangular", "round", "square", "triangular")
COLOURS = ("black", "blue", "brown", "gray", "green", "orange", "pink", "purple", "red", "white", "yellow")


TOUCHING = np.ones((3, 3), dtype=int)
"""Pixels that share a corner belong together."""


@dataclass(frozen=True, eq=False)
class MaskPart:
    """One connected piece of a mask."""

    top: int
    """First row of its box."""
    left: int
    """First column of its box."""
    pixels: NDArray[np.bool_]
    """The piece alone, [h, w], as large as its box."""
    image_size: tuple[int, int]
    """Height and width of the whole mask."""

    @cached_property
    def area(self) -> int:
        """Number of pixels."""
        return int(np.count_nonzero(self.pixels))

    @property
    def share(self) -> float:
        """Fraction of the image it covers."""
        return self.area / (self.image_size[0] * self.image_size[1])

    @property
    def centre(self) -> tuple[float, float]:
        """Row and column of the middle of its box, in pixels from the image's corner."""
        height, width = self.pixels.shape
        return self.top + height / 2, self.left + width / 2

    @cached_property
    def cells(self) -> NDArray[np.float64]:
        """Fraction of its pixels in each cell of a 3 × 3 grid over the image, [3, 3]."""
        rows, columns = (self._count_thirds(axis) for axis in (0, 1))
        counts = [[np.count_nonzero(self.pixels[row, column]) for column in columns] for row in rows]
        return np.array(counts, dtype=np.float64) / self.area

    def _count_thirds(self, axis: int) -> list[slice]:
        """The image's thirds along one axis, as ranges of `pixels`."""
        start, length = (self.top, self.left)[axis], self.image_size[axis]
        edges = [max(0, round(length * third / 3) - start) for third in range(4)]
        return [slice(low, high) for low, high in zip(edges, edges[1:], strict=False)]


@dataclass(frozen=True)
class PartShape:
    """Shape of a part, from its convex hull and the smallest box around it, however tilted; all in (0, 1]."""

    solidity: float
    """Area over the hull's."""
    fill: float
    """Area over the box's: 1 for a rectangle, π/4 for an ellipse, 1/2 for a triangle."""
    ratio: float
    """Short over long side of the box."""


def find_parts(mask: NDArray[np.bool_]) -> tuple[MaskPart, ...]:
    """The 8-connected pieces of a mask [H, W], in reading order of their first pixels; none if it is empty."""
    numbers, _ = label(mask, TOUCHING)
    size = (mask.shape[0], mask.shape[1])
    boxes = enumerate(find_objects(numbers), start=1)
    return tuple(MaskPart(box[0].start, box[1].start, numbers[box] == number, size) for number, box in boxes)


def measure_shape(part: MaskPart) -> PartShape:
    """Measure the shape of a part."""
    hull = ConvexHull(_corners(part.pixels))
    long, short = _smallest_box(hull.points[hull.vertices])
    return PartShape(solidity=part.area / hull.volume, fill=part.area / (long * short), ratio=short / long)


def _corners(pixels: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Corners of the first and last pixel of every row, [N, 2]: they hold the hull's, as every row has a pixel."""
    rows = np.arange(len(pixels))
    first, last = pixels.argmax(axis=1), pixels.shape[1] - pixels[:, ::-1].argmax(axis=1)
    ends = [np.stack([row, column], axis=1) for row in (rows, rows + 1) for column in (first, last)]
    return np.concatenate(ends).astype(np.float64)


def _smallest_box(corners: NDArray[np.float64]) -> tuple[float, float]:
    """Long and short side of the smallest box around a convex polygon; one of its sides lies on the polygon's.

    Args:
        corners: In order, [N, 2].
    """
    edges = np.roll(corners, -1, axis=0) - corners
    along = edges / np.linalg.norm(edges, axis=1, keepdims=True)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    lengths, widths = (np.ptp(corners @ direction.T, axis=0) for direction in (along, across))
    best = int((lengths * widths).argmin())
    sides = float(lengths[best]), float(widths[best])
    return max(sides), min(sides)


COOL = ((170.0, "green"), (255.0, "blue"), (320.0, "purple"), (345.0, "pink"), (360.0, "red"))
"""Hues beyond yellow, by the degree at which each ends; no rule changes them."""


def name_colour(rgb: Sequence[float], rules: AttributeRules) -> str:
    """The word for a colour by its hue, saturation and value (HSV).

    >>> from vesalius.prompts.attributes import PLAIN
    >>> name_colour((0.9, 0.6, 0.55), PLAIN)
    'pink'

    Args:
        rgb: Red, green and blue in [0, 1].
        rules: Where one word ends and another begins.
    """
    turn, saturation, value = colorsys.rgb_to_hsv(*rgb)
    hue = turn * 360
    if value < rules.black:
        return "black"
    if saturation < rules.colourless:
        return "white" if value >= rules.white else "gray"
    if value < rules.brown and hue < rules.yellow:
        return "brown"
    if hue <= rules.pink_hue and saturation < rules.pink_saturation:
        return "pink"
    return _name_hue(hue, rules)


def _name_hue(hue: float, rules: AttributeRules) -> str:
    warm = ((rules.red, "red"), (rules.orange, "orange"), (rules.yellow, "yellow"))
    return next(word for end, word in (*warm, *COOL) if hue < end or end == 360)


@dataclass(frozen=True, eq=False)
class Measurements:
    """What is measured once; rules then turn it into words."""

    parts: tuple[MaskPart, ...]
    """One or more, in reading order."""
    shape: PartShape
    """Shape of the largest part."""
    colour: tuple[float, float, float]
    """Median red, green and blue inside the mask, in [0, 1]."""

    @property
    def largest(self) -> MaskPart:
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
        rules: Thresholds; `vesalius.prompts.attributes` documents each.

    Returns:
        None if the mask is empty.
    """
    measured = measure(mask, rgb)
    return describe_measurements(measured, rules) if measured else None


def measure(mask: NDArray[np.bool_], rgb: NDArray[np.floating]) -> Measurements | None:
    """Measure an object; arguments as of `describe`.

    Returns:
        None if the mask is empty.
    """
    parts = find_parts(mask)
    if not parts:
        return None
    red, green, blue = np.median(rgb[mask], axis=0).tolist()
    return Measurements(parts, measure_shape(max(parts, key=lambda part: part.area)), (red, green, blue))


def describe_measurements(measured: Measurements, rules: AttributeRules) -> Attributes:
    """Apply the rules."""
    solid = [part for part in measured.parts if part.share >= rules.speck] or [measured.largest]
    counted = measured.parts if rules.count_specks else solid
    return Attributes(
        number=NUMBERS[len(counted) - 1] if len(counted) <= len(NUMBERS) else str(len(counted)),
        size=", ".join(_name_sizes(solid, rules)),
        location=", ".join(_name_places(counted, rules)),
        shape=_name_shape(measured.shape, measured.largest.share, rules),
        colour=name_colour(measured.colour, rules),
    )


def _name_sizes(parts: Sequence[MaskPart], rules: AttributeRules) -> list[str]:
    """Each size that occurs, from tiny to large."""
    limits = (rules.tiny, rules.small, rules.medium)
    found = {sum(part.share >= limit for limit in limits) for part in parts}
    return [SIZES[index] for index in sorted(found)]


def _name_places(parts: Sequence[MaskPart], rules: AttributeRules) -> list[str]:
    places = [_name_place(part, rules) for part in parts]
    return places if rules.repeat_places else list(dict.fromkeys(places))


def _name_place(part: MaskPart, rules: AttributeRules) -> str:
    if part.cells.max() > rules.within_cell:
        return PLACES[int(part.cells.argmax())]
    height, width = part.image_size
    row, column = part.centre
    return PLACES[3 * _third(row, height) + _third(column, height if rules.columns_by_height else width)]


def _third(position: float, length: int) -> int:
    return min(2, int(3 * position / length))


def _name_shape(shape: PartShape, share: float, rules: AttributeRules) -> str:
    if shape.solidity < rules.irregular:
        return "irregular"
    if shape.fill < rules.triangular:
        return "triangular"
    if shape.fill > rules.rectangular:
        return "square" if shape.ratio >= rules.oval else "rectangular"
    if shape.ratio < rules.oval:
        return "oval"
    return "circle" if share < rules.circle else "round"
