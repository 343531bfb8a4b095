"""Phrases that say what is not there, or leave something out: "no polyp", "liver but not the tumour"."""

import re

_ARTICLE = r"(?:an?y? |the )?"
_SIGN = r"(?:(?:clear |definite |obvious |visible )?(?:sign|evidence|trace|part|suspicion)s? (?:of|for) )?"
_SUBJECT = (
    r"(?:there|here|i|we|you|one|he|she|they|it|this|that|(?:(?:the|this) )?"
    r"(?:image|picture|scan|slice|frame|patient|ct|mri?|x-ray|ultrasound|endoscopy|colonoscopy|examination))"
)
_SEEN = (
    r"(?:seen|found|visible|visuali[sz](?:ed|able)|present|there|detect(?:ed|able)|identif(?:ied|iable)|evident|"
    r"demonstrated|noted|observed|shown|included|recogni[sz](?:ed|able)|discernible|appreciated)"
)
_BEING = r"(?:(?:is|are|was|were|has|have|had|can|could|be|been|seems?|appears?|to) )"
_SEEING = (
    r"(?:(?:see|seen|find|found|show|shown|detect|identify|recogni[sz]e|visuali[sz]e|depict|reveal|contain|have|include|be|appear|seem|to|"
    r"want|segment|outline|mark|delineate|draw|any longer) )"
)
_DENIALS = re.compile(
    rf"^(?:{_SUBJECT} (?:{_BEING}|(?:still|also|clearly|sees?|finds?|found|show(?:s|ed)?|contains?|reveals?) )*)?"
    r"(?:no longer (?:an?y?|visible)|no more|no|not|never|neither|nor|absence of|lack(?:s|ing)?(?: of)?|absent|missing|"
    r"negative for|without|free (?:of|from)|clear of|devoid of|sans|nil|zero|none of|nothing (?:like|resembling)|"
    r"den(?:ies|ied)|non[ -]?visuali[sz]ed|unseen|invisible)\s+"
    rf"{_SIGN}{_ARTICLE}(?P<what>.+?)(?: {_BEING}*{_SEEN})?$"
)
_UNDONE = re.compile(
    rf"^(?:{_SUBJECT} )?(?:(?:do|does|did|can|could|would|should|is|are|was|were|has|have|must) not|fail(?:s|ed)?) "
    rf"{_SEEING}*{_SIGN}{_ARTICLE}(?P<what>.+)$"
)
_ABSENT = re.compile(
    rf"^(?P<what>.+?)(?: ?[,:;?=(–-]+ ?| )\(?{_BEING}*"
    rf"(?:(?:not|never|no longer) (?:\w+ly )?{_BEING}*{_SEEN}(?: (?:here|anywhere|(?:in|on) (?:this|the) .+))?|"
    r"(?:\w+ly )?absent|none|nil|nothing|missing|negative|neg|unlikely|invisible|ruled out|excluded|0|-)\)?$"
)
_FREE = re.compile(r"^(?:an? |the )?(?P<what>[\w ]+?)[ -](?:free|negative)(?:\s+(?P<whole>.+))?$")
_STATED = re.compile(rf"^.+? {_BEING}?negative for {_ARTICLE}(?P<what>.+)$")
_LACKING = re.compile(
    rf"^(?P<whole>.+?)(?<! but)(?: ?[,;:(–-]+)?\s+(?:(?:is|are|has|have|had|show(?:s|ed)?|contains?) )?"
    r"(?:without|with no|no|not(?! including)|nil|(?:free|clear|devoid) of|free from|lacking|lacks|sans|with not)\s+"
    rf"{_SIGN}{_ARTICLE}(?P<what>.+?)\)?$"
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
_LISTED = re.compile(r"\s*(?:[,;/]|\b(?:and|or|nor)\b)\s*(?:(?:no|any)\b\s*)?")


def find_denial(phrase: str) -> tuple[str, str] | None:
    """Split a denial into what it speaks of, empty if nothing, and what is said to be absent; None if it is none.

    >>> find_denial("a colon free of polyps")
    ('a colon', 'polyps')
    """
    plain = _plain(phrase)
    for pattern in (_ABSENT, _UNDONE, _DENIALS, _STATED):
        if match := pattern.match(plain):
            return "", match["what"]
    if match := _LACKING.match(plain) or _FREE.match(plain):
        return match["whole"] or "", match["what"]
    return None


def list_denied(what: str) -> list[str]:
    """Each of the things that are said to be absent together.

    >>> list_denied("polyp nor ulcer, no bleeding")
    ['polyp', 'ulcer', 'bleeding']
    """
    return [each for each in _LISTED.split(what) if each]


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
