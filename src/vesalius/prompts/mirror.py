"""Keep a prompt true when its image is flipped: "top left" becomes "top right"."""

import re

_HORIZONTAL = {"left": "right", "right": "left"}
_VERTICAL = {"top": "bottom", "bottom": "top", "upper": "lower", "lower": "upper"}


def mirror_prompt(prompt: str, *, horizontal: bool = False, vertical: bool = False) -> str:
    """Swap the words for sides that a flip exchanges.

    >>> mirror_prompt("one small polyp, located in top left of the image", horizontal=True)
    'one small polyp, located in top right of the image'
    """
    swaps = (_HORIZONTAL if horizontal else {}) | (_VERTICAL if vertical else {})
    if not swaps:
        return prompt

    def swap(word: re.Match[str]) -> str:
        other = swaps[word[0].lower()]
        return other.capitalize() if word[0][0].isupper() else other

    return re.sub(rf"\b({'|'.join(swaps)})\b", swap, prompt, flags=re.IGNORECASE)
