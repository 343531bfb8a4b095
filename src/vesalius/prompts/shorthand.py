"""Shorthand of reports and of speech, spelt out before a phrase is read: "w/o", "isn't", a size that says no more.

>>> spell_out("polyp w/o stalk, > 5 mm in diameter")
'polyp without stalk'
"""

import re
from functools import lru_cache

_ASKED = re.compile(
    r"^(?:why |where )?(is|are|ca|could|would|wo|do|does|did)n['’]t (?=(?:there|you|we|i|this|it|that|the)\b)",
    re.IGNORECASE,
)
"""A question that begins so asks for what it seems to deny: "isn't there a polyp?"."""
_VERBS = {"ca": "can", "wo": "will"}
_SPELT = tuple(
    (re.compile(pattern, re.IGNORECASE), spelt)
    for pattern, spelt in (
        (r"\bw/(?:o|out)\b", "without"),
        (r"\bw/(?=\s?\w)", "with "),
        (r"\br/o\b", "rule out"),
        (r"\bincl\b\.?", "including"),
        (r"\bexcl\b\.?", "excluding"),
        (r"\(\s*[-–−]\s*\)|[-–−]ve\b", " negative"),
        (r"\bca(?:n['’]?t|nnot)\b", "can not"),
        (r"\bi['’]m\b", "i am"),
        (r"\b(?:can not|could not) (?:exclude|rule out)\b|\bnot (?:excluded|ruled out)\b", "possible"),
        (r"\bwon['’]t\b", "will not"),
        (r"(?<=[a-z])n['’]t\b", " not"),
        (r"\b(is|are|was|were|do|does|did|has|have|could)nt\b", r"\1 not"),
        (r"\b(there|here|it|that|this|what)['’]s\b", r"\1 is"),
        (r"\bnot (?:only|just|merely|simply)\b", ""),
    )
)
_NUMBER = r"\d*[.,]?\d+"
_UNIT = (
    r"(?:mm|cm|dm|[µμu]m|ml|cl|dl|cc|hu|mg|kg|(?:milli|centi|micro)met(?:er|re)s?|(?:milli)?lit(?:er|re)s?)"
    r"(?:\s?[²³]|\^?[23])?"
)
_BEFORE = r"(?:about|approx(?:imately|\.)?|circa|ca\.?|up to|at least|at most|nearly|almost|over|under|around)"
_DIMENSION = r"(?:diameter|size|length|width|height|thickness|depth|volume)"
_SIZE = re.compile(
    rf"(?:\b(?:measur(?:ing|es)|sized?|of|(?:with|has) an?(?: \w+)? {_DIMENSION} of|(?:\w+er|more|less) than)\s+)*"
    rf"(?:{_BEFORE}\s+)*[<>≤≥~≈=±ø\s]*(?<![\w.,])"
    rf"(?:{_NUMBER}(?:[\s-]?{_UNIT})?\s*(?:x|×|by|-|–|to|and|/)\s*)*{_NUMBER}[\s-]?{_UNIT}(?!\w)"
    rf"(?:\s+(?:in\s+)?(?:(?:max\w*|mean|greatest|largest)\.?\s+)?(?:{_DIMENSION}|long|wide|thick|across|each)\b)?"
    r"(?!\s+(?:away|from|of|off|to the|above|below|under|beneath|behind|beside|(?:left|right) of|\w+al to)\b)",
    re.IGNORECASE,
)
"""A length, a volume or a density with its unit; one that tells how far off something is stays."""

_EMPTY = re.compile(r"\s*\(\s*\)|\s*[,;](?=\s*[,;])|\s*[,;]$")


@lru_cache(maxsize=1024)
def spell_out(phrase: str) -> str:
    """A phrase with its shorthand spelt out and without sizes, unless nothing else is in it."""
    plain = _ASKED.sub(lambda found: f"{_VERBS.get(found[1].casefold(), found[1])} ", " ".join(phrase.split()))
    for pattern, spelt in _SPELT:
        plain = pattern.sub(spelt, plain)
    bare = _EMPTY.sub("", " ".join(_SIZE.sub(" ", plain).split()))
    return bare if re.search(r"[^\W\d_]", bare) else plain
