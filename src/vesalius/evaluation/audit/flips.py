"""One attribute of a prompt turned into another: left into right, small into large."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from vesalius.prompts import mirror_prompt, swap_words

_BLUE = ("brown", "orange", "pink", "red", "white", "yellow")
_RED = ("black", "blue", "gray", "green", "purple")
_MANY = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "several", "multiple")
_ROUND = ("irregular", "rectangular", "square", "triangular")
_OTHERS: Mapping[str, Mapping[str, str]] = MappingProxyType({
    "shape": {"circle": "triangular", "oval": "triangular", "round": "triangular"} | dict.fromkeys(_ROUND, "round"),
    "colour": dict.fromkeys(_BLUE, "blue") | dict.fromkeys(_RED, "red"),
    "size": {"tiny": "large", "small": "large", "medium": "tiny", "large": "tiny"},
    "number": {"one": "three"} | dict.fromkeys(_MANY, "one"),
    "kind": {"benign": "malignant", "malignant": "benign"},
})  # fmt: skip


def flip(prompt: str, attribute: str) -> str | None:
    """Say something else of one attribute and leave the rest as it is.

    Args:
        prompt: Any.
        attribute: One of ``ATTRIBUTES``.

    Returns:
        None if the prompt does not speak of it, or would say the same, as "left and right lung" would.

    >>> flip("one small pink polyp, located in top left of the image", "side")
    'one small pink polyp, located in top right of the image'
    >>> flip("left and right lung", "side")
    """
    flipped = ATTRIBUTES[attribute](prompt)
    same = sorted(flipped.lower().split()) == sorted(prompt.lower().split())
    return None if same else flipped


ATTRIBUTES: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {name: partial(swap_words, swaps=others) for name, others in _OTHERS.items()}
    | {
        "side": lambda prompt: mirror_prompt(prompt, horizontal=True),
        "height": lambda prompt: mirror_prompt(prompt, vertical=True),
    }
)
"""What can be turned round: the prompt's words for it, exchanged."""
