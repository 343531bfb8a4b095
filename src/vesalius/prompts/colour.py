"""A word for a colour."""

import colorsys
from collections.abc import Sequence

from vesalius.prompts.rules import AttributeRules

COOL = ((170.0, "green"), (255.0, "blue"), (320.0, "purple"), (345.0, "pink"), (360.0, "red"))
"""Hues beyond yellow, by the degree at which each ends; no rule changes them."""


def name_colour(rgb: Sequence[float], rules: AttributeRules) -> str:
    """The word for a colour by its hue, saturation and value (HSV).

    >>> from vesalius.prompts.rules import PLAIN
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
