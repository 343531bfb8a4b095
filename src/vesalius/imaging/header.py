"""Header attributes that are kept, typed access to them, BIDS sidecars, and what a series is for."""

import json
import math
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from vesalius.imaging.formats import VOLUME_SUFFIXES, in_one_line
from vesalius.imaging.safeguards import Notice

HEADER_KEYWORDS = (
    "AcquisitionContrast",
    "BodyPartExamined",
    "ContrastBolusAgent",
    "ConvolutionKernel",
    "DiffusionBValue",
    "EchoPulseSequence",
    "EchoTime",
    "EchoTrainLength",
    "EffectiveEchoTime",
    "FlipAngle",
    "ImageType",
    "InversionRecovery",
    "InversionTime",
    "InversionTimes",
    "KVP",
    "Laterality",
    "MagneticFieldStrength",
    "Manufacturer",
    "Modality",
    "PatientOrientation",
    "PatientPosition",
    "ProtocolName",
    "PulseSequenceName",
    "RepetitionTime",
    "SOPClassUID",
    "ScanOptions",
    "ScanningSequence",
    "SequenceName",
    "SequenceVariant",
    "SeriesDescription",
    "SeriesInstanceUID",
    "SliceThickness",
    "StudyDescription",
    "StudyInstanceUID",
    "ViewPosition",
)
"""Attributes kept in `MedicalImage.header`; none names the patient."""

DESCRIPTIONS = ("SeriesDescription", "ProtocolName", "SequenceName", "PulseSequenceName")
"""Attributes that describe a series in words."""
WITHOUT_SLICES = ("projection", "report")
"""Purposes, see ``find_purpose``, of images that are no slices of a body."""


@dataclass(frozen=True)
class Finding:
    """A header's answer to one question."""

    label: str | None
    """None if the header does not tell, or contradicts itself."""
    confidence: float
    """Confidence from 0 to 1: .95 a technique, .90 a flag, .85 words, .70 physics; 0 without a label."""
    source: str
    """The attribute that tells, and its value."""


@dataclass(frozen=True)
class HeaderFacts:
    """Typed access to `MedicalImage.header`, several values of an attribute being joined by backslashes."""

    header: Mapping[str, str]

    def values(self, keyword: str) -> list[str]:
        """Values of an attribute in upper case; [] if absent."""
        return [value.strip().upper() for value in self.header.get(keyword, "").split("\\") if value.strip()]

    def numbers(self, keyword: str) -> list[float]:
        """Values of an attribute that are finite numbers; [] if absent."""
        found = []
        for value in self.values(keyword):
            with suppress(ValueError):
                found.append(float(value))
        return [number for number in found if math.isfinite(number)]

    def find_words(self, pattern: re.Pattern[str]) -> str | None:
        """The first of `DESCRIPTIONS` in which a pattern occurs, as a source; None if none has it.

        The pattern sees lower case, and a space for anything but letters, digits and asterisks.
        """
        for keyword in DESCRIPTIONS:
            text = self.header.get(keyword, "")
            if pattern.search(re.sub(r"[^a-z0-9*]+", " ", text.lower())):
                return quote(keyword, text)
        return None


def modality_code(text: str) -> str:
    """The first value of Modality in upper case, as DICOM writes codes; "" if there is none."""
    return next(iter(HeaderFacts({"Modality": text}).values("Modality")), "")


def quote(keyword: str, value: object) -> str:
    """An attribute and its value, as the source of a finding."""
    return f"{keyword} {str(value).strip()}"


LARGEST_SIDECAR = 16 * 2**20
"""Largest BIDS header that is read, bytes; most take a few kilobytes."""
IN_SECONDS = ("EchoTime", "InversionTime", "RepetitionTime")
"""Attributes that BIDS gives in seconds and DICOM in milliseconds."""


def read_sidecar(volume: Path) -> tuple[dict[str, str], tuple[Notice, ...]]:
    """Read the BIDS header beside a volume, in DICOM's terms: times in ms, several values joined by backslashes.

    A file that is no JSON object, or too large, is ignored with a notice, as the volume itself is sound.

    Args:
        volume: ``scan.nii.gz``, described by ``scan.json`` if that exists.

    Returns:
        Values of `HEADER_KEYWORDS`, absent ones left out; and the notice.
    """
    path = sidecar_path(volume)
    if path == volume or not os.path.isfile(path):  # nor is one where its name would be too long
        return {}, ()
    try:
        if path.stat().st_size > LARGEST_SIDECAR:
            raise ValueError("too large")
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        if not isinstance(content, dict):
            raise ValueError(f"expected an object, got a {type(content).__name__}")
    except (OSError, ValueError, RecursionError) as error:
        why = f"{path.name} is no JSON header ({in_one_line(error)})"
        return {}, (Notice("header beside the volume is not read", why, "Repair or remove it"),)
    texts = {keyword: _to_text(keyword, content[keyword]) for keyword in HEADER_KEYWORDS if keyword in content}
    texts["Modality"] = modality_code(texts.get("Modality", ""))
    return {keyword: text for keyword, text in texts.items() if text}, ()


def sidecar_path(volume: Path) -> Path:
    """Path of the JSON file beside a volume."""
    suffix = next((each for each in VOLUME_SUFFIXES[::-1] if volume.name.lower().endswith(each)), volume.suffix)
    return volume.with_name(volume.name[: len(volume.name) - len(suffix)] + ".json") if suffix else volume


def _to_text(keyword: str, value: object) -> str:
    values = value if isinstance(value, list) else [value]
    return "\\".join(
        f"{each * 1000:.6g}" if keyword in IN_SECONDS and not isinstance(each, str) else str(each)
        for each in values
        if isinstance(each, str | int | float)
    )


SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
"""SOP class of screen shots; those of multi-frame ones begin the same."""
PURPOSE_TYPES = {
    "localizer": {"LOCALIZER", "SCOUT"},
    "projection": {"PROJECTION IMAGE"},
    "report": {"SCREEN SAVE"},
}
"""Purpose -> values of ImageType."""
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
"""SOP classes that are no images of a patient, each with those below it -> what they are, and what to name instead."""
NEVERTHELESS_IMAGES = ("1.2.840.10008.5.1.4.1.1.481.1",)
"""SOP classes below one of `NO_IMAGES` that are images: radiographs of radiotherapy."""


def refusal_of(sop_class: str) -> str | None:
    """The reason why a DICOM object is no image of a patient, and the remedy; None for images.

    Args:
        sop_class: SOPClassUID; "" if unknown.
    """
    if sop_class in NEVERTHELESS_IMAGES:
        return None
    parts = sop_class.split(".")
    above = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((f"is {NO_IMAGES[each]}" for each in above if each in NO_IMAGES), None)


def find_purpose(facts: HeaderFacts) -> Finding:
    """Recognise localizers, projections and reports by their header.

    A derived, secondary image of a scanner's own SOP class is an image like others, because anonymisers and converters
    mark whole series so. Screen shots are reports.

    Args:
        facts: The header.

    Returns:
        "localizer", "projection", "report", or no label for everything else.
    """
    types = facts.values("ImageType")
    sop_class = facts.header.get("SOPClassUID", "")
    for label, marks in PURPOSE_TYPES.items():
        if marks & set(types):
            return Finding(label, 0.95, quote("ImageType", "\\".join(types)))
    if sop_class.startswith(SECONDARY_CAPTURE) and types[:2] == ["DERIVED", "SECONDARY"]:
        return Finding("report", 0.95, quote("SOPClassUID", sop_class))
    words = facts.find_words(LOCALIZER_WORDS)
    return Finding("localizer", 0.85, words) if words else Finding(None, 0.0, "")
