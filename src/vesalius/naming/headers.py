"""What files say of themselves, before anybody looks at pixels."""

from collections.abc import Mapping, Sequence

from vesalius.imaging import MedicalImage
from vesalius.imaging.mr_protocol import find_protocol
from vesalius.imaging.orientation import common_plane
from vesalius.naming.names import Answer
from vesalius.prompts.anatomy import PROTOCOL_MODALITY

CODES: Mapping[str, str] = {
    "CT": "CT",
    "MR": "MR",
    **dict.fromkeys(("CR", "DX", "DR", "RG", "MG", "XA", "RF", "PX", "IO"), "X-ray"),
    "US": "ultrasound",
    "ES": "endoscopy",
}
"""DICOM modality codes and the labels they stand for."""
SAYS_NOTHING = ("OT", "SC", "")
"""Codes of screen shots and others, which may show any modality."""
CROSS_SECTIONAL = ("CT", "MR")
"""Modalities whose slices have a plane."""


def tell_modality(image: MedicalImage) -> Answer | None:
    """Modality as the header, or HU among the values, tell it; None if neither does."""
    code = image.modality or ""
    if code in SAYS_NOTHING:
        return None
    if "Modality" not in image.header:
        return Answer(CODES.get(code), None, "values", "stored values are HU")
    label = CODES.get(code)
    return Answer(label, None, "header", f"Modality {code}" + ("" if label else ", which has no name here"))


def tell_protocol(image: MedicalImage, modality: Answer) -> Answer | None:
    """Protocol as an MR header tells it; None if it says nothing at all, and pixels must.

    A header that names another technique (T2*, angiography) or contradicts itself is an answer without a label.
    """
    if modality.label != PROTOCOL_MODALITY:
        return Answer(None, None, modality.source, "of MR only" if modality.label else "")
    found = image.protocol
    if found is None or found == find_protocol({}):
        return None
    return Answer(found.label, None, "header", found.source, found.confidence or None)


def tell_plane(stacks: Sequence[MedicalImage], modality: Answer) -> Answer | None:
    """Plane as the header places the slices; None if it does not, and slices of that modality have one.

    Args:
        stacks: One, or all of a localizer.
        modality: As found before.
    """
    planes = [stack.plane for stack in stacks]
    if len(stacks) > 1 and common_plane(planes) is None:
        kinds = ", ".join(dict.fromkeys(plane or "unplaced" for plane in planes))
        return Answer(None, None, "header", f"{len(stacks)} stacks: {kinds}")
    first = stacks[0]
    if first.plane is None:
        placeless = modality.label is not None and modality.label not in CROSS_SECTIONAL
        return Answer(None, None, modality.source, f"{modality.label} has none") if placeless else None
    return Answer(first.plane, None, "header", f"{first.obliquity or 0:.0f}° from {first.nearest_plane}")
