"""One DICOM image without what tells of its patient: the profile applied to its attributes, and bare pixels.

The profile is applied to the items of all sequences, too. New UIDs are the same wherever the old ones were, within one
run, and nothing keeps a list of them.
"""

import re
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from uuid import uuid4

from pydicom import dcmread
from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.sr.codedict import codes
from pydicom.tag import BaseTag
from pydicom.uid import UID, generate_uid

from vesalius import __version__
from vesalius.clinical.profile import (
    OVERLAYS,
    TEXTS,
    ProfileRule,
    empty_told,
    patient_of,
    put_dummy,
    rule_of,
    rule_of_declared,
    words_of,
)
from vesalius.clinical.source import UNICODE, building, burned_in, check_uids
from vesalius.errors import ImageError
from vesalius.imaging.dicom_file import DicomFile, open_dicom, pixel_bytes, reading_dicom
from vesalius.imaging.safeguards import MEGABYTES, megabytes

PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
OFFSETS = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")
"""Where compressed frames begin."""
PREAMBLE = bytes(128)


class Change(StrEnum):
    """What became of an attribute."""

    REMOVED = "removed"
    EMPTIED = "emptied"
    REPLACED = "replaced"


@dataclass(frozen=True)
class AttributeChange:
    """How often an attribute was changed in all copies; values are told nowhere."""

    tag: str
    """Its tag as (gggg,eeee); of a private one as (gggg,xxxx)."""
    attribute: str
    change: Change
    count: int

    def to_row(self) -> tuple[object, ...]:
        """For a table."""
        return self.tag, self.attribute, self.change, self.count


class Cleaner:
    """Copies of one run, in which equal UIDs and patients stay equal."""

    def __init__(self) -> None:
        self._uids: dict[str, str] = {}
        self._patients: dict[tuple[str, ...], str] = {}
        self._counts: Counter[tuple[str, str, Change]] = Counter()

    def copy(self, path: Path) -> Dataset:
        """A de-identified copy of an image.

        Raises:
            ImageError: If it is no image, or cannot be de-identified.
        """
        file = open_dicom(path)
        check_uids(file.header, path)
        with reading_dicom(path):
            whole = dcmread(path, force=True)
            _refuse_shown_text(whole, path)
            _bare_pixels(whole, file)
            with building(path):
                whole.decode()
                texts, patient = words_of(whole), patient_of(whole)
                self._clean(whole, texts)
                self._label(whole, patient)
                _replace_meta(whole, file)
        return whole

    def changes(self) -> tuple[AttributeChange, ...]:
        """What was changed so far, by tag."""
        return tuple(AttributeChange(*what, count) for what, count in sorted(self._counts.items()))

    def _clean(self, dataset: Dataset, texts: re.Pattern[str] | None) -> None:
        for tag in sorted(dataset.keys()):
            rule = rule_of(tag)
            if rule is ProfileRule.REMOVE:
                self._note(dataset, tag, Change.REMOVED)
                del dataset[tag]
                continue
            element = dataset[tag]
            rule = rule or rule_of_declared(element)
            if element.VR == "SQ" and rule in (None, ProfileRule.NEW_UID):
                for item in element.value:
                    self._clean(item, texts)
            elif rule is not None:
                self._apply(rule, dataset, element)
            elif element.VR in TEXTS and empty_told(element, texts):
                self._note(dataset, tag, Change.EMPTIED)

    def _apply(self, rule: ProfileRule, dataset: Dataset, element: DataElement) -> None:
        if element.is_empty:
            return
        if rule is ProfileRule.NEW_UID:
            self._renew(dataset, element)
            return
        if rule is ProfileRule.EMPTY:
            element.clear()
            self._note(dataset, element.tag, Change.EMPTIED)
            return
        if rule is ProfileRule.DUMMY and put_dummy(element):
            self._note(dataset, element.tag, Change.REPLACED)
            return
        del dataset[element.tag]
        self._note(dataset, element.tag, Change.REMOVED)

    def _renew(self, dataset: Dataset, element: DataElement) -> None:
        if element.VR != "UI":
            del dataset[element.tag]
            self._note(dataset, element.tag, Change.REMOVED)
            return
        old = element.value if isinstance(element.value, MultiValue) else [element.value]
        new = [self._new_uid(str(each)) for each in old]
        if new != list(old):
            element.value = new if len(new) > 1 else new[0]
            self._note(dataset, element.tag, Change.REPLACED)

    def _new_uid(self, old: str) -> str:
        if UID(old).type:  # of the standard's own list
            return old
        return self._uids.setdefault(old, str(generate_uid(prefix=None)))

    def _label(self, dataset: Dataset, patient: tuple[str, ...]) -> None:
        """Say that, and how, it was de-identified, and whose other images belong to it, by no name."""
        name = self._patients.setdefault(patient, f"DEID-{uuid4().hex[:8].upper()}")
        dataset.PatientID = dataset.PatientName = name
        dataset.SpecificCharacterSet = UNICODE
        dataset.PatientIdentityRemoved = "YES"
        dataset.DeidentificationMethod = f"Vesalius {__version__}, DICOM PS3.15 basic profile"
        code, method = codes.DCM.BasicApplicationConfidentialityProfile, Dataset()
        method.CodeValue, method.CodingSchemeDesignator, method.CodeMeaning = code.value, "DCM", code.meaning
        dataset.DeidentificationMethodCodeSequence = [method]
        dataset.LongitudinalTemporalInformationModified = "REMOVED"

    def _note(self, dataset: Dataset, tag: BaseTag, change: Change) -> None:
        private = tag.is_private
        name = "private" if private else keyword_for_tag(tag) or "unknown"
        self._counts[f"({tag.group:04X},{'xxxx' if private else f'{tag.element:04X}'})", name, change] += 1


def _refuse_shown_text(dataset: Dataset, path: Path) -> None:
    """Refuse pixels that show text, or may, as their header says."""
    if burned_in(dataset) == "YES":
        raise ImageError(
            f"{path}: its header says that its pixels show identifying text (BurnedInAnnotation), which cannot be "
            "removed here; blank it with a tool that can, or leave the file out."
        )
    groups = {tag.group for tag in dataset.keys() if tag.group & 0xFF00 == OVERLAYS}  # noqa: SIM118 - see `source`
    if any((group, 0x0010) in dataset and (group, 0x3000) not in dataset for group in groups):
        raise ImageError(
            f"{path}: has an overlay in its pixels, which may be text and cannot be removed here; export it without "
            "overlays, or leave the file out."
        )


def _bare_pixels(dataset: Dataset, file: DicomFile) -> None:
    """Decode compressed pixels, in whose streams comments may hide, and cut off what follows the others."""
    size = pixel_bytes(file.pixels.options)
    MEGABYTES.check(megabytes(size), file.path)
    dataset.file_meta = file.header.file_meta
    if dataset.file_meta.TransferSyntaxUID.is_compressed:
        file.pixels.decompress(dataset)
        size = len(dataset.PixelData)
    for keyword in OFFSETS:
        dataset.pop(keyword, None)
    for keyword in PIXELS:
        if keyword in dataset:
            dataset[keyword].value = _cut(dataset[keyword], size, file.header.original_encoding == (False, False))


def _cut(element: DataElement, size: int, swapped: bool) -> bytes:
    """So many bytes of pixels and, if odd, a zero, which stands before the last one where words are swapped."""
    value: bytes = element.value
    if size % 2 and swapped and element.VR == "OW":
        return value[: size - 1] + bytes(1) + value[size : size + 1]
    return value[:size] + bytes(size % 2)


def _replace_meta(dataset: Dataset, file: DicomFile) -> None:
    syntax = dataset.file_meta.TransferSyntaxUID
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.preamble = PREAMBLE
