"""Prompts: the words asked of an image. Knows no model.

The names below load their modules when first used: a command that asks one phrase needs few of the tables. Masks become
words in `vesalius.prompts.attributes`, which loads scipy.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vesalius.prompts.anatomy import AnatomyLabel
    from vesalius.prompts.attributes import RULES, AttributeRules, find_rules
    from vesalius.prompts.bank import find_target, foreign_phrases, list_targets, read_bank
    from vesalius.prompts.captions import mirror_prompt, swap_words, write_prompts
    from vesalius.prompts.templates import (
        FamilySet,
        ObjectWords,
        Templates,
        Variants,
        read_templates,
        sort_families,
        variants,
    )

__all__ = [
    "AnatomyLabel",
    "AttributeRules",
    "FamilySet",
    "ObjectWords",
    "RULES",
    "Templates",
    "Variants",
    "find_rules",
    "find_target",
    "foreign_phrases",
    "list_targets",
    "mirror_prompt",
    "read_bank",
    "read_templates",
    "sort_families",
    "swap_words",
    "variants",
    "write_prompts",
]

_HOMES = {
    **dict.fromkeys(("AnatomyLabel",), "anatomy"),
    **dict.fromkeys(("AttributeRules", "RULES", "find_rules"), "attributes"),
    **dict.fromkeys(("find_target", "foreign_phrases", "list_targets", "read_bank"), "bank"),
    **dict.fromkeys(("mirror_prompt", "swap_words", "write_prompts"), "captions"),
}
"""Module of each name; all others are in `templates`."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'vesalius.prompts' has no attribute '{name}'")
    return getattr(importlib.import_module(f"vesalius.prompts.{_HOMES.get(name, 'templates')}"), name)
