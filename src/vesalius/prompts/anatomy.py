"""The labels of anatomy naming and the phrases that stand for them, read from ``anatomy.toml``."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

ASPECTS = ("modality", "plane", "station")
"""What is asked of a slice; each aspect has one true label among its own, or none."""


@dataclass(frozen=True)
class AnatomyLabel:
    """What a slice shows; None where unknown or without meaning (an endoscopy picture has no plane)."""

    modality: str | None = None
    plane: str | None = None
    station: str | None = None


@cache
def anatomy_phrases() -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    """Aspect -> label -> phrases."""
    tables = tomllib.loads(files("vesalius.prompts").joinpath("anatomy.toml").read_text(encoding="utf-8"))
    return {aspect: {label: tuple(row) for label, row in tables[aspect].items()} for aspect in ASPECTS}
