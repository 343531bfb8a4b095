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

NO_IMAGES = {
    "1.2.840.10008.1.3.10": "an index of other files (DICOMDIR), not an image; name the folder or one of its files",
    "1.2.840.10008.5.1.4.1.1.11": "a presentation state, not an image; name the series that it presents",
    "1.2.840.10008.5.1.4.1.1.66.1": "a registration, not an image; name the series that it moves",
    "1.2.840.10008.5.1.4.1.1.66.4": "a segmentation, the result of an analysis; name the series that it was made from",
    "1.2.840.10008.5.1.4.1.1.66.5": "a segmentation, the result of an analysis; name the series that it was made from",
    "1.2.840.10008.5.1.4.1.1.66.7": "a segmentation, the result of an analysis; name the series that it was made from",
    "1.2.840.10008.5.1.4.1.1.77.1.6": "a whole-slide image: its frames are tiles of one picture of tissue at several "
    "scales, not slices of a body; export the region of interest as PNG or TIFF",
    "1.2.840.10008.5.1.4.1.1.88": "a report, not an image; name the series that it describes",
    "1.2.840.10008.5.1.4.1.1.104": "a document, not an image; name the series that it describes",
    "1.2.840.10008.5.1.4.1.1.481.2": "a planned dose, the result of a computation; name the planning CT",
    "1.2.840.10008.5.1.4.1.1.481": "a radiotherapy object without pixels, not an image; name the planning CT",
}
"""SOP classes, each with those below it, that are no images of a patient; what they are and what to name instead."""
IMAGES_ALL_THE_SAME = ("1.2.840.10008.5.1.4.1.1.481.1",)
"""SOP classes below one of `NO_IMAGES` that are images: radiographs of radiotherapy."""


def refusal_of(sop_class: str) -> str | None:
    """What a DICOM object is that shows no image of a patient, and what to do; None for images.

    Args:
        sop_class: SOPClassUID; "" if unknown.
    """
    if sop_class in IMAGES_ALL_THE_SAME:
        return None
    parts = sop_class.split(".")
    above = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((f"is {NO_IMAGES[each]}" for each in above if each in NO_IMAGES), None)


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
