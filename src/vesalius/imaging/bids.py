"""The JSON file that BIDS keeps beside a NIfTI volume: what the DICOM header said."""

import json
import warnings
from pathlib import Path

from vesalius.imaging.formats import VOLUME_SUFFIXES
from vesalius.imaging.header import HEADER_KEYWORDS

LARGEST_SIDECAR = 16 * 2**20
"""Bytes; a header is a few kilobytes."""
IN_SECONDS = ("EchoTime", "InversionTime", "RepetitionTime")
"""Times that BIDS gives in seconds and DICOM in milliseconds."""


def read_sidecar(volume: Path) -> dict[str, str]:
    """Read what stands beside a volume, in DICOM's terms: times in ms, several values joined by backslashes.

    A file that is no JSON object, or too large, is passed over with a warning: the volume itself is sound.

    Args:
        volume: ``scan.nii.gz``, described by ``scan.json`` if that exists.

    Returns:
        Those of `HEADER_KEYWORDS` that are there.
    """
    path = sidecar_path(volume)
    if path == volume or not path.is_file():
        return {}
    try:
        if path.stat().st_size > LARGEST_SIDECAR:
            raise ValueError("too large")
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        warnings.warn(f"{path}: is not read, as it is no JSON header ({error}); repair or remove it.", stacklevel=2)
        return {}
    if not isinstance(content, dict):
        return {}
    texts = {keyword: _to_text(keyword, content[keyword]) for keyword in HEADER_KEYWORDS if keyword in content}
    return {keyword: text for keyword, text in texts.items() if text}


def sidecar_path(volume: Path) -> Path:
    """Where the JSON file of a volume lies, if it has one."""
    suffix = next((each for each in VOLUME_SUFFIXES[::-1] if volume.name.lower().endswith(each)), volume.suffix)
    return volume.with_name(volume.name[: len(volume.name) - len(suffix)] + ".json") if suffix else volume


def _to_text(keyword: str, value: object) -> str:
    values = value if isinstance(value, list) else [value]
    return "\\".join(_to_dicom(keyword, each) for each in values if isinstance(each, str | int | float))


def _to_dicom(keyword: str, value: str | int | float) -> str:
    if keyword in IN_SECONDS and not isinstance(value, str):
        return f"{value * 1000:.6g}"
    return str(value)
