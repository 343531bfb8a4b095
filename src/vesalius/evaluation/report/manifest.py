"""How an evaluation was made, as ``vesalius evaluate`` wrote it beside the numbers."""

from collections.abc import Mapping
from pathlib import Path

from vesalius.evaluation.stored import EVALUATION_NAME, MANIFEST
from vesalius.files import read_json

LONGEST = 300
"""Characters of a line that readers see."""


def read_manifest(folder: Path) -> dict[str, object]:
    """The manifest of an evaluation that ``stored.read_evaluation`` has read; empty if it was made without."""
    content = read_json(folder / EVALUATION_NAME)
    assert isinstance(content, dict)
    manifest, versions = content.get(MANIFEST), content.get("versions")
    return (manifest if isinstance(manifest, dict) else {}) | ({"versions": versions} if versions else {})


def find_group_regex(manifest: Mapping[str, object]) -> str | None:
    """What named the patients when the evaluation was made."""
    settings = manifest.get("settings")
    regex = settings.get("group_regex") if isinstance(settings, dict) else None
    return regex if isinstance(regex, str) else None


def flatten(manifest: Mapping[str, object]) -> dict[str, str]:
    """Short lines of text by name: fields within fields joined, what would be long taken apart once, then cut.

    >>> flatten({"machine": {"threads": 2, "lists": {"a": 1, "b": None}}, "seconds": 3})
    {'machine': 'threads 2 · lists.a 1', 'seconds': '3'}
    """
    lines: dict[str, str] = {}
    for name, value in manifest.items():
        text = _join(value)
        if len(text) > LONGEST and isinstance(value, Mapping):
            lines |= {f"{name}, {inner}": _cut(_join(each)) for inner, each in value.items()}
        elif text:
            lines[name] = _cut(text)
    return lines


def _join(value: object) -> str:
    return " · ".join(f"{name} {leaf}".strip() for name, leaf in _leaves("", value) if leaf is not None)


def _leaves(name: str, value: object) -> list[tuple[str, object]]:
    if not isinstance(value, Mapping):
        return [(name, value)]
    return [leaf for inner, each in value.items() for leaf in _leaves(f"{name}.{inner}".strip("."), each)]


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[:LONGEST].rstrip() + " …"
