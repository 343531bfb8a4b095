"""Prompts: the words asked of an image. Knows no model.

The names below load their modules when first used: a command that asks one phrase needs few of the tables. Masks become
words in `vesalius.prompts.attributes`, which loads scipy.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vesalius.prompts.anatomy import SINGLE_LABEL_KINDS, AnatomyLabel, Statement, anatomy_phrases
    from vesalius.prompts.attributes import RULES, AttributeRules, find_rules
    from vesalius.prompts.bank import Target, find_target, foreign_phrases, list_targets, read_bank
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
    "SINGLE_LABEL_KINDS",
    "Statement",
    "Target",
    "Templates",
    "Variants",
    "anatomy_phrases",
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
    "AnatomyLabel": "anatomy",
    "AttributeRules": "attributes",
    "FamilySet": "templates",
    "ObjectWords": "templates",
    "RULES": "attributes",
    "SINGLE_LABEL_KINDS": "anatomy",
    "Statement": "anatomy",
    "Target": "bank",
    "Templates": "templates",
    "Variants": "templates",
    "anatomy_phrases": "anatomy",
    "find_rules": "attributes",
    "find_target": "bank",
    "foreign_phrases": "bank",
    "list_targets": "bank",
    "mirror_prompt": "captions",
    "read_bank": "bank",
    "read_templates": "templates",
    "sort_families": "templates",
    "swap_words": "captions",
    "variants": "templates",
    "write_prompts": "captions",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'vesalius.prompts' has no attribute '{name}'")
    return getattr(importlib.import_module(f"vesalius.prompts.{_HOMES[name]}"), name)
