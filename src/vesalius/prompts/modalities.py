"""Kinds of pictures: DICOM's codes for them, what naming calls them, and their plain names."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from vesalius.files import read_package_toml

MODALITIES = "prompts/modalities.toml"
UNTOLD = frozenset({"", "OT", "SC"})
"""DICOM's codes for pictures of any kind: none, other, screen shots."""


@dataclass(frozen=True)
class Modality:
    """A kind of pictures, as finely as targets are learnt by it."""

    dicom: tuple[str, ...]
    """Codes of DICOM for it."""
    label: str
    """What naming calls such pictures; dermoscopy is a photograph to it."""
    pictures: str
    """Plain name of such pictures."""


@cache
def modalities() -> Mapping[str, Modality]:
    """All kinds of pictures by their short names, such as "xray"."""
    rows = read_package_toml(MODALITIES).items()
    return {kind: Modality(tuple(row["dicom"]), row["label"], row["pictures"]) for kind, row in rows}


def find_modality(text: str) -> str | None:
    """Short name of the kind of pictures that somebody calls so.

    >>> find_modality("DX"), find_modality("ultrasound"), find_modality("PT")
    ('xray', 'us', None)

    Args:
        text: The short name, DICOM's code or naming's label, in any case; or "MRI".
    """
    return _kinds().get(text.casefold())


def find_label(text: str) -> str | None:
    """What naming calls the pictures that somebody calls so; None if they have no name here.

    >>> find_label("DX"), find_label("ultrasound"), find_label("PT")
    ('X-ray', 'ultrasound', None)

    Args:
        text: As for `find_modality`.
    """
    kind = find_modality(text)
    return modalities()[kind].label if kind else None


@cache
def _kinds() -> Mapping[str, str]:
    """All that kinds are called -> their short names; a label of several kinds is the last one's."""
    said = {name.casefold(): kind for kind, row in modalities().items() for name in (*row.dicom, row.label)}
    return said | {"mri": "mr"} | {kind: kind for kind in modalities()}
