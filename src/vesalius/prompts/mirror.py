"""Words exchanged for others, such as those that keep a prompt true when its image is flipped."""

import re
from collections.abc import Mapping

_HORIZONTAL = {"left": "right", "right": "left"}
_VERTICAL = {"top": "bottom", "bottom": "top", "upper": "lower", "lower": "upper"}
_SIDE = r"(?:left|right)"
_NAMES = re.compile(
    rf"(\b{_SIDE}(?:\s+(?:and|or)\s+{_SIDE})?[\s-]+(?:(?:upper|lower)[\s-]+)?(?:atri|auric|cardiac|chamber|heart|ventric)\w*)",
    re.IGNORECASE,
)
"""Parts whose name holds a side and does not change with the picture: a left ventricle stays one in a mirror."""


def mirror_prompt(prompt: str, *, horizontal: bool = False, vertical: bool = False) -> str:
    """Swap the words for sides that a flip exchanges; sides that belong to a name stay ("left ventricle").

    >>> mirror_prompt("one small polyp, located in top left of the image", horizontal=True)
    'one small polyp, located in top right of the image'
    """
    swaps = (_HORIZONTAL if horizontal else {}) | (_VERTICAL if vertical else {})
    if not swaps:
        return prompt
    pieces = _NAMES.split(prompt)
    return "".join(piece if place % 2 else swap_words(piece, swaps) for place, piece in enumerate(pieces))


def swap_words(prompt: str, swaps: Mapping[str, str]) -> str:
    """Put other words in the place of whole words, all at once; capitals stay capitals.

    Args:
        prompt: Any.
        swaps: Lower-case words, one or more, and what replaces them.

    >>> swap_words("Small or large", {"small": "large", "large": "small"})
    'Large or small'
    """

    def swap(word: re.Match[str]) -> str:
        other = swaps[word[0].lower()]
        return other.capitalize() if word[0][0].isupper() else other

    return re.sub(rf"\b({'|'.join(swaps)})\b", swap, prompt, flags=re.IGNORECASE)
