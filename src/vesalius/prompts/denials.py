"""Phrases that say what is not there, or leave something out: "no polyp", "liver but not the tumour"."""

import re

_DENIALS = re.compile(
    r"^(?:there (?:is|are) |i see )?"
    r"(?:no|not(?: an?| the| any)?|never an?|neither|no longer an?|absence of|lack of|absent|missing|negative for|"
    r"without|free of)\s+"
    r"(?:(?:sign|evidence|trace|part)s? of )?(?:an?y? |the )?(?P<what>.+)$"
)
_FREE = re.compile(r"^(?:an? |the )?(?P<what>[\w ]+?)[ -]free(?:\s+(?P<whole>.+))?$")
_LACKING = re.compile(
    r"^(?P<whole>.+?)\s+(?:without|with no|(?:is |are )?free of|lacking|with not an?)\s+(?:an?y? |the )?(?P<what>.+)$"
)
_BOUNDED = re.compile(
    r"^(?P<whole>.+?),?\s+(?:excluding|except(?: for)?|excepting|minus|but not|but no|apart from|not including|"
    r"other than|including|and (?:its|their))\s+.+$"
)
_ALL_ELSE = re.compile(
    r"^(?:everything|anything|everywhere|all|whatever|what|the rest)?,?\s*(?:is |that is |which is )?"
    r"(?:but|except(?: for)?|other than|apart from|excluding|outside(?: of)?)\s"
)
_NON = re.compile(r"^non[ -]?(?P<what>\w+)(?: (?:tissue|region|area|part|structure)s?)?$")


def find_denial(phrase: str) -> tuple[str, str] | None:
    """Split a denial into what it speaks of, empty if nothing, and what is said to be absent; None if it is none.

    >>> find_denial("a colon free of polyps")
    ('a colon', 'polyps')
    """
    plain = _plain(phrase)
    if match := _DENIALS.match(plain):
        return "", match["what"]
    if match := _LACKING.match(plain) or _FREE.match(plain):
        return match["whole"] or "", match["what"]
    return None


def find_bounded(phrase: str) -> str | None:
    """What a phrase names that then leaves something out, or puts something in; None if it does neither.

    >>> find_bounded("the liver but not the tumour")
    'the liver'
    """
    match = _BOUNDED.match(_plain(phrase))
    return match["whole"] if match else None


def find_all_else(phrase: str) -> str | None:
    """What a phrase for all else leaves out, as "everything but the liver" or "non-lung tissue"; None for others.

    >>> find_all_else("everything but the liver")
    'the liver'
    """
    plain = _plain(phrase)
    if match := _ALL_ELSE.match(plain):
        return plain[match.end() :]
    match = _NON.match(plain)
    return match["what"] if match else None


def _plain(phrase: str) -> str:
    return " ".join(phrase.split()).rstrip(".!?").casefold()
