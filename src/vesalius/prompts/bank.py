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


def foreign_phrases(target: str) -> tuple[tuple[str, ...], ...]:
    """Phrases whose answer on an image of ``target`` is "nothing", in groups that matter alike.

    Returns:
        The target's absences, the plain names of all other targets, each one's phrases, and the distractors.
    """
    others = {name: row for name, row in read_bank().items() if name != target}
    names = tuple(row.phrases[0] for name, row in others.items() if name != DISTRACTORS)
    return (find_target(target).absences, names, *(row.phrases for row in others.values()))
