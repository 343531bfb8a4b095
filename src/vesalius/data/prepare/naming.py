"""Names of prepared files, and of what a label calls an object."""

import re
from pathlib import PurePosixPath

_SIDES = ("left", "right")


def stem_of(name: str) -> str:
    """A relative file name without its suffix, its folders kept.

    >>> stem_of("mask_1/patient0001_2CH_ED_gt.png")
    'mask_1/patient0001_2CH_ED_gt'
    """
    return str(PurePosixPath(name).with_suffix(""))


def plain_stem(name: str) -> str:
    """The last part of a path without any suffix of images, .nii.gz included.

    >>> plain_stem("scans/s0001.nii.gz")
    's0001'
    """
    last = PurePosixPath(name.replace("\\", "/")).name
    return PurePosixPath(re.sub(r"(?i)\.nii\.gz$", ".nii", last)).stem


def fill_label(template: str, number: int, name: str) -> str:
    """Put a label into a mask's name.

    >>> fill_label("{name}/scan_{label}", 3, "Left kidney")
    'left_kidney/scan_3'
    """
    return template.replace("{label}", str(number)).replace("{name}", to_slug(name))


def to_phrase(name: str) -> str:
    """A label's name as one would say it; in names with underscores, the side comes first.

    >>> to_phrase("kidney_left"), to_phrase("vertebrae_L1"), to_phrase("Airspace Opacity")
    ('left kidney', 'vertebrae L1', 'airspace opacity')
    """
    words = [word if re.search(r"\d", word) else word.lower() for word in re.split(r"[_\s]+", name.strip())]
    sides = [word for word in words if word in _SIDES and "_" in name]
    return " ".join(sides + [word for word in words if word not in sides])


def to_slug(name: str) -> str:
    """A name that is safe in a file name.

    >>> to_slug("Airspace Opacity")
    'airspace_opacity'
    """
    return re.sub(r"[^\w.-]+", "_", name.strip()).strip("._").lower() or "unnamed"
