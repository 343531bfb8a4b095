"""The Basic Application Level Confidentiality Profile (PS3.15, annex E): what becomes of each attribute.

Table E.1-1 is dicom-anonymizer's; where it is silent, what may tell of a patient goes, too.
"""

import re
from collections.abc import Callable, Mapping
from enum import StrEnum

from dicomanonymizer import simpledicomanonymizer as kept
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

EDITION = "dicomfields_2026c"
"""Edition of the standard whose table is followed."""
NAMES_AND_TIMES = ("PN", "DA", "DT", "TM")
"""Value representations that are replaced even where the table does not list the attribute."""
OF_CLASSES = re.compile("SOPClass|TransferSyntax|CodingScheme|Context|MappingResource")
"""Keywords of UIDs that name kinds of things, not single ones."""
STANDARD = "1.2.840.10008."
"""UIDs that the standard itself defines begin so."""
TEXTS = ("LO", "LT", "SH", "ST", "UC", "UT")
OF_PATIENT = ("PatientID", "OtherPatientIDs", "AccessionNumber", "MedicalRecordLocator", "IssuerOfPatientID")
SHORTEST_NAME, SHORTEST_ID = 3, 4
"""Letters from which parts of names, and identifiers, are looked for in the texts that stay."""
OVERLAYS, CURVES = 0x6000, 0x5000
"""First of their groups; there are 256 of each."""
DUMMIES = {"DA": "19000101", "DT": "19000101000000"}
"""Instead of the library's own, of the year 1, which validators refuse."""


class ProfileRule(StrEnum):
    """Actions of the table, as far as they differ here."""

    REMOVE = "X"
    EMPTY = "Z"
    DUMMY = "D"
    NEW_UID = "U"


_RULES: Mapping[Callable[..., None], ProfileRule] = {
    kept.delete: ProfileRule.REMOVE,
    kept.empty: ProfileRule.EMPTY,
    kept.delete_or_empty: ProfileRule.EMPTY,
    kept.replace: ProfileRule.DUMMY,
    kept.empty_or_replace: ProfileRule.DUMMY,
    kept.delete_or_replace: ProfileRule.DUMMY,
    kept.delete_or_empty_or_replace: ProfileRule.DUMMY,
    kept.replace_UID: ProfileRule.NEW_UID,
    kept.delete_or_empty_or_replace_UID: ProfileRule.NEW_UID,
}
TABLE = {BaseTag(tag[0] << 16 | tag[1]): _RULES[what] for tag, what in kept.initialize_actions(EDITION).items()}
"""Attribute -> what the basic profile does with it."""


def rule_of(tag: BaseTag) -> ProfileRule | None:
    """What becomes of an attribute; None if it stays."""
    if tag.is_private or tag.group & 0xFF00 in (OVERLAYS, CURVES):
        return ProfileRule.REMOVE
    if tag in TABLE:
        return TABLE[tag]
    if not dictionary_has_tag(tag):  # nobody knows what it tells
        return ProfileRule.REMOVE
    representation = dictionary_VR(tag)
    if representation in NAMES_AND_TIMES:
        return ProfileRule.DUMMY
    if representation == "UR":
        return ProfileRule.REMOVE
    return ProfileRule.NEW_UID if representation == "UI" and not OF_CLASSES.search(keyword_for_tag(tag)) else None


def words_of(dataset: Dataset) -> re.Pattern[str] | None:
    """Names of persons and numbers of the patient, to find them in texts that stay; None if there are none."""
    words: set[str] = set()
    for element in dataset.iterall():
        values = element.value if isinstance(element.value, MultiValue) else [element.value]
        if element.VR == "PN":
            parts = (part for value in values for part in re.split(r"[\^=\s,.]+", str(value)))
            words |= {part.casefold() for part in parts if len(part) >= SHORTEST_NAME}
        elif element.keyword in OF_PATIENT:
            words |= {str(value).casefold() for value in values if len(str(value)) >= SHORTEST_ID}
    joined = "|".join(re.escape(word) for word in sorted(words))
    return re.compile(rf"(?<!\w)(?:{joined})(?!\w)") if words else None


def put_dummy(element: DataElement) -> bool:
    """Replace a value by one of its kind that tells nothing; False if there is none."""
    if element.VR == "SQ":  # its item would have to be one of the attribute's own kind
        return False
    if element.VR in DUMMIES:
        element.value = DUMMIES[element.VR]
        return True
    try:
        kept.replace_element(element)
    except NotImplementedError:
        return False
    return True
