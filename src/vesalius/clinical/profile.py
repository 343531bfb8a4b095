"""The Basic Application Level Confidentiality Profile (PS3.15, annex E): what becomes of each attribute.

Table E.1-1 is dicom-anonymizer's; where it is silent, what may tell of a patient goes, too: private, unknown and
misdeclared attributes, names, dates, UIDs, and those of `REMOVED`, `EMPTIED` and `NUMBERS`. What stays as text is
searched for the patient's names and numbers, see `words_of`.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum

from dicomanonymizer import simpledicomanonymizer as kept
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

from vesalius.prompts.codes import stations_of_body_part

EDITION = "dicomfields_2026c"
"""Edition of the standard whose table is followed."""
NAMES_AND_TIMES = ("PN", "DA", "DT", "TM")
"""Value representations that are replaced even where the table does not list the attribute."""
OF_CLASSES = re.compile("SOPClass|TransferSyntax|CodingScheme|Context|MappingResource")
"""Keywords of UIDs that name kinds of things, not single ones."""
REMOVED = re.compile(
    "Comment|Notes$|Trial$"  # what people write freely, and attributes that were never more than a trial
    "|Encrypt|^Signature$|^MACParameters"  # copies of what is removed, and seals of what is changed
    "|Alternat(e|ive)Calendar|BodyMassIndex|^PatientSizeCode|BreedRegistrationNumber|HL7|RecordKey|StorageMedia"
    "|^IssuerOf|^Order(Placer|Filler)|^(Placer|Filler)OrderNumber|^AssigningAgency|RouteOfAdmissions|^ResourceDescr"
    "|(Physician|Author|Asserter|User)Identification|Welder|ContactDisplay|^HangingProtocol(Creator|UserGroup)"
    "|Address|^TimeSource$|^DeviceID$|AdministrationDeviceID|Product(Lot|Package)|^ModifiedImageID$|^PrinterName$|^OwnerID$"
    "|CodingScheme(Name|ResponsibleOrganization)|^RTImage(Name|Description)$"  # of a hospital's own scheme
    "|^AcquisitionProtocolName$|^PerformedProcedureTypeDescription$"  # whose siblings the table lists
)
"""Keywords of further attributes that are removed; no image needs them."""
EMPTIED = ("RadiationMachineName",)
"""Keywords of attributes that have to be there, if only without a value."""
NUMBERS = re.compile("(ID|IDs|Identifier|Identification|EntityID)$|Number|^RTImageLabel$")
"""Keywords of texts that may number a single person, order or device."""
NUMBERS_OF_KINDS = ("StackID", "OpticalPathIdentifier", "ReferencedOpticalPathIdentifier", "FiducialIdentifier",
                    "CodingSchemeExternalID")  # fmt: skip
"""Those of them by which the parts of one image refer to each other, or which number kinds of things."""
SCREENING = 0x4010
"""Group of attributes of passengers and their luggage."""
FREE_TEXTS = ("AE", "AS", "LO", "LT", "SH", "ST", "UC", "UT")
TEXTS = (*FREE_TEXTS, "CS", "DS", "IS")
"""All value representations of letters but those that are replaced or removed wherever they are."""
BYTES = {"UN", "OB", "OD", "OF", "OL", "OV", "OW"}
UNSEARCHED = {*BYTES, "UI", "UR"}
"""Where the standard has texts or numbers instead, nobody knows what these tell."""
CODES = frozenset((
    "ORIGINAL", "DERIVED", "PRIMARY", "SECONDARY", "MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL",
    "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_PARTIAL_422", "YBR_ICT", "YBR_RCT", "COLOR", "MONOCHROME", "VOLUME",
    "SAMPLED", "DISTORTED", "MIXED", "NONE", "PRODUCT", "RESEARCH", "SERVICE", "YES",
))  # fmt: skip
"""Codes without which an image is none; a patient's name among them is a word like others."""
NUMBER = re.compile(r"[\s\0]*[-+]?\d*[.,]?\d*([eE][-+]?\d+)?[\s\0]*")
"""What tells no more than a number, some of them written as the standard does not."""
OF_PATIENT = (
    "PatientID", "OtherPatientIDs", "AccessionNumber", "MedicalRecordLocator", "IssuerOfPatientID", "AdmissionID",
    "ServiceEpisodeID", "PlacerOrderNumberProcedure", "FillerOrderNumberProcedure",
    "PlacerOrderNumberImagingServiceRequest", "FillerOrderNumberImagingServiceRequest",
)  # fmt: skip
SHORTEST_NAME, SHORTEST_FOREIGN, SHORTEST_ID = 3, 2, 4
"""Letters from which parts of names, those with letters beyond ASCII, and identifiers are looked for in texts."""
UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\U0010ffff]")
"""Letters of scripts that put no, or not always, spaces between words."""
UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})
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
    if not dictionary_has_tag(tag) or not keyword_for_tag(tag):  # nobody knows what it tells
        return ProfileRule.REMOVE
    return _rule_of_unlisted(tag, keyword_for_tag(tag), dictionary_VR(tag))


def _rule_of_unlisted(tag: BaseTag, keyword: str, representation: str) -> ProfileRule | None:
    if representation == "UR" or tag.group == SCREENING or REMOVED.search(keyword):
        return ProfileRule.REMOVE
    if representation in NAMES_AND_TIMES:
        return ProfileRule.DUMMY
    if keyword in EMPTIED:
        return ProfileRule.EMPTY
    if representation == "UI":
        return None if OF_CLASSES.search(keyword) else ProfileRule.NEW_UID
    numbers = representation in FREE_TEXTS and NUMBERS.search(keyword) and keyword not in NUMBERS_OF_KINDS
    return ProfileRule.DUMMY if numbers else None


def rule_of_declared(element: DataElement) -> ProfileRule | None:
    """What becomes of an attribute that would stay, as its file declares another value representation than it has."""
    if element.VR in NAMES_AND_TIMES:
        return ProfileRule.DUMMY
    known = set(dictionary_VR(element.tag).split(" or "))
    fits = element.VR in known or element.VR in BYTES and known & BYTES
    return ProfileRule.REMOVE if element.VR in UNSEARCHED and not fits else None


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


def words_of(dataset: Dataset) -> re.Pattern[str] | None:
    """Names of persons, numbers and birth date of the patient, to find them in texts that stay; None if there are none.

    Names are found part by part, and those of which a part is too short as a whole, too, beside digits and signs, with
    and without accents. Texts have to be searched as `spellings` gives them.
    """
    words: set[str] = set()
    for element in dataset.iterall():
        values = [str(each) for each in _values(element)]
        if element.VR == "PN":
            words.update(word for value in values for group in value.split("=") for word in _words_of_name(group))
        elif element.keyword == "PatientBirthDate":
            words.update(_as_word(*parts) for value in values for parts in _order_date(value))
        elif element.keyword in OF_PATIENT:
            numbers = (spelling for value in values for spelling in spellings(value.strip()))
            words.update(_as_word(each) for each in numbers if len(each) >= SHORTEST_ID)
    return re.compile("|".join(sorted(words))) if words else None


def _order_date(value: str) -> Iterator[tuple[str, ...]]:
    """Parts of a date, stored as YYYYMMDD, in the orders in which people write it, with and without leading zeros."""
    if not re.fullmatch(r"\d{8}", value):
        return
    year, month, day = value[:4], value[4:6], value[6:]
    for parts in ((year, month, day), (day, month, year), (month, day, year)):
        yield parts
        yield tuple(each.lstrip("0") for each in parts)


def spellings(text: str) -> set[str]:
    """A text in small letters without accents, and with ä, ö and ü in two letters.

    >>> sorted(spellings("Müller"))
    ['mueller', 'muller']
    """
    small = unicodedata.normalize("NFC", text).casefold()
    return {_without_accents(small), _without_accents(small.translate(UMLAUTS))}


def patient_of(dataset: Dataset) -> tuple[str, ...]:
    """Who it is: an issuer's number, else a name however it is written, else whoever the study is of."""
    number, issuer = (str(dataset.get(each) or "").strip() for each in ("PatientID", "IssuerOfPatientID"))
    if number:
        return "number", issuer, number
    spelling = next((each for each in str(dataset.get("PatientName") or "").split("=") if each.strip("^ ")), "")
    name = " ".join(re.split(r"[\W_]+", min(spellings(spelling)))).strip()
    return ("name", name) if name else ("study", str(dataset.StudyInstanceUID))


def empty_told(element: DataElement, words: re.Pattern[str] | None) -> bool:
    """Empty those values of a text that hold a word of the patient, and numbers that are none; False if none do."""
    if element.is_empty:
        return False
    values = _values(element)
    kept = ["" if _tells(element, str(each), words) else each for each in values]
    if kept == values:
        return False
    element.value = kept if any(str(each) for each in kept) else None
    return True


def _values(element: DataElement) -> list[object]:
    return list(element.value) if isinstance(element.value, MultiValue) else [element.value]


def _tells(element: DataElement, value: str, words: re.Pattern[str] | None) -> bool:
    """A number tells nothing, even if it is that of the patient: it measures something; a term of DICOM neither."""
    if element.VR in ("DS", "IS"):
        return not NUMBER.fullmatch(value)
    if words is None or element.VR == "CS" and (value.strip() in CODES or _is_body_part(element, value)):
        return False
    return any(words.search(spelling) for spelling in spellings(value))


def _is_body_part(element: DataElement, value: str) -> bool:
    return element.keyword == "BodyPartExamined" and bool(stations_of_body_part(value))


def _words_of_name(name: str) -> Iterator[str]:
    parts = [part for part in re.split(r"[\W_]+", unicodedata.normalize("NFC", name)) if part]
    long = [part for part in parts if len(part) >= (SHORTEST_NAME if part.isascii() else SHORTEST_FOREIGN)]
    yield from (_as_word(spelling) for part in long for spelling in spellings(part))
    whole = "".join(parts[:2])
    if len(long) == len(parts) or len(whole) < (2 * SHORTEST_FOREIGN if whole.isascii() else SHORTEST_FOREIGN):
        return
    for first, second in (parts[:2], parts[1::-1]) if len(parts) > 1 else ():
        for one, other in zip(sorted(spellings(first)), sorted(spellings(second)), strict=False):
            yield _as_word(one, other)


def _as_word(*parts: str) -> str:
    """A pattern of parts that follow each other, beside no other letter of a word and no other digit of a number."""
    first, last = parts[0][0], parts[-1][-1]
    before, after = (_kind(each) for each in (first, last))
    joined = r"[\W_]*".join(re.escape(part) for part in parts)
    return (f"(?<!{before})" if before else "") + joined + (f"(?!{after})" if after else "")


def _kind(letter: str) -> str:
    """Pattern of what may not stand beside a letter, if it is to begin or end a word."""
    if letter.isdecimal():
        return r"\d"
    return "" if UNSPACED.match(letter) or not letter.isalpha() else r"[^\W\d_]"


def _without_accents(text: str) -> str:
    plain = "".join(each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each))
    return unicodedata.normalize("NFC", plain).casefold()
