"""The attributes of a header that are kept, and typed access to them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

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
"""Where people and scanners write in words what a series is."""


@dataclass(frozen=True)
class Finding:
    """What a header says about one question."""

    label: str | None
    """None if it does not say, or contradicts itself."""
    confidence: float
    """0 to 1: .95 a technique, .90 a flag, .85 words, .70 physics; 0 without a label."""
    source: str
    """The attribute that said so, and its value."""


@dataclass(frozen=True)
class HeaderFacts:
    """Typed access to `MedicalImage.header`, several values of an attribute being joined by backslashes."""

    header: Mapping[str, str]

    def values(self, keyword: str) -> list[str]:
        """Values of an attribute in upper case; [] if absent."""
        return [value.strip().upper() for value in self.header.get(keyword, "").split("\\") if value.strip()]

    def number(self, *keywords: str) -> float | None:
        """First value of the first attribute that is there and a number."""
        for keyword in keywords:
            try:
                return float(self.header.get(keyword, "").split("\\")[0])
            except ValueError:
                continue
        return None

    def find_words(self, pattern: re.Pattern[str]) -> str | None:
        """The first of `DESCRIPTIONS` in which a pattern occurs, as a source; None if none has it.

        The pattern sees lower case, and a space for anything but letters, digits and asterisks.
        """
        for keyword in DESCRIPTIONS:
            text = self.header.get(keyword, "")
            if pattern.search(re.sub(r"[^a-z0-9*]+", " ", text.lower())):
                return quote(keyword, text)
        return None


def quote(keyword: str, value: object) -> str:
    """An attribute and its value, as findings name their source."""
    return f"{keyword} {str(value).strip()}"
