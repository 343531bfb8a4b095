"""Codes of what is outlined and named: SNOMED CT and DICOM's own, else a private scheme that says it is one."""

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from highdicom import AlgorithmIdentificationSequence
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

from vesalius import __version__
from vesalius.errors import PromptError
from vesalius.models.checkpoint_file import EMBEDDED
from vesalius.prompts.codes import codes_of

SCHEME = "99VESALIUS"
"""Designator of the private scheme; those that are registered do not begin with 99."""
MANUFACTURER = "Vesalius"
LONGEST = 64
"""Longest short text of DICOM (labels, meanings, names); meant are characters, and some readers count bytes."""

STRUCTURE = "AnatomicalStructure"
ABNORMAL = "MorphologicallyAbnormalStructure"

_STRUCTURES = {
    "aorta": "Aorta", "bladder": "Bladder", "carotid artery": "CarotidArtery", "colon": "Colon", "femur": "Femur",
    "left atrium": "LeftAtrium", "left ventricle": "LeftVentricle", "nerve": "Nerve", "pancreas": "Pancreas",
    "prostate": "Prostate", "pulmonary artery": "PulmonaryArtery", "right atrium": "RightAtrium",
    "right ventricle": "RightVentricle", "skull": "Skull", "spine": "Spine", "spleen": "Spleen", "stomach": "Stomach",
    "teeth": "Tooth", "thyroid gland": "Thyroid", "trachea": "Trachea",
}  # fmt: skip
"""Targets that `vesalius.prompts.codes` does not hold -> keyword of pydicom's dictionary of SNOMED CT codes, which is
that of DICOM PS3.16."""
_UNCODED_STRUCTURES = {
    "cell nuclei", "fetal head", "glands", "hepatic vessels", "hip bones", "myocardium", "optic cup", "optic disc",
    "retinal vessels", "white blood cell",
}  # fmt: skip
_ABNORMALITIES: Mapping[str, tuple[str | None, str | None]] = {
    "brain haemorrhage": ("Hemorrhage", "Brain"),
    "brain tumour": ("Neoplasm", "Brain"),
    "breast tumour": ("Neoplasm", "Breast"),
    "foot ulcer": ("Ulcer", "Foot"),
    "glioma": (None, "Brain"),
    "kidney tumour": ("Neoplasm", "Kidney"),
    "liver tumour": ("Neoplasm", "Liver"),
    "lung tumour": ("Neoplasm", "Lung"),
    "meningioma": (None, "Meninges"),
    "multiple sclerosis lesions": ("Lesion", "Brain"),
    "myocardial infarction": ("MyocardialInfarction", None),
    "nasopharyngeal carcinoma": ("Carcinoma", "Nasopharynx"),
    "ovarian tumour": ("Neoplasm", "Ovary"),
    "pituitary tumour": ("Neoplasm", "Pituitary"),
    "polyp": (None, None),
    "skin lesion": ("SkinLesion", None),
}
"""Targets that no body should have -> what they are, and where; None if no code means just that."""


@dataclass(frozen=True)
class Concept:
    """What something is called in codes."""

    kind: Code
    """Code of the thing itself."""
    category: Code
    """Anatomical structure, abnormal structure, or not classified."""
    region: Code | None = None
    """Where it is, if the kind does not say so."""


def concept_of(name: str) -> Concept:
    """Code a target, an organ, a station, or any phrase.

    Args:
        name: Plain name, as `Understanding.target` has it, or words that no model explains.
    """
    plain = name.strip().casefold()
    if plain in _ABNORMALITIES:
        kind, region = _ABNORMALITIES[plain]
        coded = private(plain) if kind is None else _known(kind)
        return Concept(coded, _known(ABNORMAL), None if region is None else _known(region))
    if plain in _STRUCTURES:
        return Concept(_known(_STRUCTURES[plain]), _known(STRUCTURE))
    try:
        found = codes_of(plain).sct
    except PromptError:
        is_structure = plain in _UNCODED_STRUCTURES
        return Concept(private(plain), _known(STRUCTURE) if is_structure else private("not classified"))
    if len(found) > 1:  # several codes that cover it together, as no single one does
        return Concept(private(plain), _known(STRUCTURE))
    return Concept(Code(found[0].value, "SCT", found[0].meaning), _known(STRUCTURE))


def private(meaning: str) -> Code:
    """A code of the private scheme: ten digits of the SHA-256 of the meaning, the same wherever it is made.

    >>> private("polyp")
    Code(value='da9c0f9e5d', scheme_designator='99VESALIUS', meaning='polyp', scheme_version=None)
    """
    value = hashlib.sha256(meaning.encode()).hexdigest()[:10]
    return Code(value, SCHEME, to_label(meaning))


def scheme() -> CodingSchemeIdentificationItem:
    """What an object that holds private codes says of them."""
    return CodingSchemeIdentificationItem(
        SCHEME, name="Private scheme of Vesalius", responsible_organization=MANUFACTURER
    )


def to_label(text: str, longest: int = LONGEST) -> str:
    """One line of printable letters without DICOM's separator; longer texts end in an ellipsis.

    Args:
        text: Any.
        longest: Bytes in UTF-8.
    """
    letters = "".join(letter if letter.isprintable() else " " for letter in text)
    line = " ".join(letters.split()).replace("\\", "/").encode()
    return line.decode() if len(line) <= longest else line[: longest - 3].decode(errors="ignore") + "…"


@dataclass(frozen=True)
class Maker:
    """The model and program that a result comes from, as all objects name it."""

    model: str
    """Its name; a checkpoint's path, which may tell more than it should, is not written."""

    @staticmethod
    def of(model: str) -> "Maker":
        """Of a request's model: a name, a checkpoint or a run's folder."""
        own = model not in EMBEDDED and Path(model).exists()
        return Maker("own model" if own else model)

    @property
    def name(self) -> str:
        """Of the algorithm."""
        return to_label(f"vesalius {self.model}")

    @property
    def device_uid(self) -> str:
        """The same wherever this version of the algorithm runs."""
        return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'{self.name} {__version__}').int}"

    def algorithm(self) -> AlgorithmIdentificationSequence:
        """Name, version and family."""
        return AlgorithmIdentificationSequence(
            name=self.name, family=codes.DCM.ArtificialIntelligence, version=__version__, source=MANUFACTURER
        )

    def new_object(self, series_number: int, description: str) -> dict[str, Any]:
        """Arguments with which highdicom makes a new object, the only one of its series, and names its maker.

        Args:
            series_number: Number of the series.
            description: What the series is called.
        """
        return {
            "series_instance_uid": generate_uid(prefix=None),
            "series_number": series_number,
            "series_description": description,
            "sop_instance_uid": generate_uid(prefix=None),
            "instance_number": 1,
            "manufacturer": MANUFACTURER,
            "manufacturer_model_name": self.name,
            "software_versions": __version__,
            "device_serial_number": __version__,
        }


def _known(keyword: str) -> Code:
    found: Code = getattr(codes.SCT, keyword)
    return found
