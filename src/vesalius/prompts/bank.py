"""Ordinary phrases for segmentation targets, read from ``bank.toml``."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from vesalius.errors import PromptError, unknown_name

DISTRACTORS = "distractors"


@dataclass(frozen=True)
class Target:
    """Something that can be outlined, and the words for it."""

    phrases: tuple[str, ...]
    """Ordinary ways to name it."""
    absences: tuple[str, ...] = ()
    """Phrases that assert it is not there."""


@cache
def read_bank() -> Mapping[str, Target]:
    """All targets by name; ``distractors`` holds phrases for things that no training image shows."""
    tables = tomllib.loads(files("vesalius.prompts").joinpath("bank.toml").read_text(encoding="utf-8"))
    return {name: Target(tuple(row["phrases"]), tuple(row.get("absences", ()))) for name, row in tables.items()}


def find_target(name: str) -> Target:
    """One target of the bank.

    Raises:
        PromptError: Naming the closest target that exists.
    """
    bank = read_bank()
    if name not in bank or name == DISTRACTORS:
        raise PromptError(unknown_name("target", name, bank.keys() - {DISTRACTORS}))
    return bank[name]


def foreign_phrases(target: str) -> list[str]:
    """Phrases whose answer on an image of ``target`` is "nothing": its absences, other targets, distractors."""
    others = [phrase for name, row in read_bank().items() if name != target for phrase in row.phrases]
    return [*find_target(target).absences, *others]
