"""Every number that decides which word an attribute gets, in one table with two columns: PLAIN and BENCHMARK."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

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
