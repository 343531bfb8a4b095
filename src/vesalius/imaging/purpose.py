"""Whether a series shows slices of anatomy: planning images, projections and reports do not."""

import re

from vesalius.imaging.header import Finding, HeaderFacts, quote

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
"""SOP class of screen shots; its multi-frame kinds begin the same."""
LOCALIZER_TYPES = {"LOCALIZER", "SCOUT"}
PROJECTION = "PROJECTION IMAGE"
LOCALIZER_WORDS = re.compile(
    r"\b(?:loc|localizers?|localisers?|scouts?|pilots?|survey|surview|topogram|scanogram|scano|(?:3|three) ?plane)\b"
)


def find_purpose(facts: HeaderFacts) -> Finding:
    """Say of localizers, projections and reports that they are such.

    A derived, secondary image of a scanner's own SOP class is an image like others: anonymisers and converters mark
    whole series so. Screen shots are reports.

    Args:
        facts: The header.

    Returns:
        "localizer", "projection", "report", or no label for everything else.
    """
    types = facts.values("ImageType")
    kind = facts.header.get("SOPClassUID", "")
    told = quote("ImageType", "\\".join(types))
    if LOCALIZER_TYPES & set(types):
        return Finding("localizer", 0.95, told)
    if PROJECTION in types:
        return Finding("projection", 0.95, told)
    if "SCREEN SAVE" in types:
        return Finding("report", 0.95, told)
    if kind.startswith(SECONDARY_CAPTURE) and types[:2] == ["DERIVED", "SECONDARY"]:
        return Finding("report", 0.95, quote("SOPClassUID", kind))
    words = facts.find_words(LOCALIZER_WORDS)
    return Finding("localizer", 0.85, words) if words else Finding(None, 0.0, "")
