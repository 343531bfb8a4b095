"""Prompts: the words asked of an image. Knows no model.

The names below load their modules when first used: a command that asks one phrase needs few of the tables. Masks become
words in `vesalius.prompts.attributes`, which loads scipy.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vesalius.prompts.anatomy import ASPECTS, AnatomyLabel, Statement, anatomy_phrases
    from vesalius.prompts.bank import Target, find_target, foreign_phrases, list_targets, read_bank
    from vesalius.prompts.captions import write_prompts
    from vesalius.prompts.families import Variants, sort_families, variants
    from vesalius.prompts.mirror import mirror_prompt, swap_words
    from vesalius.prompts.rules import RULES, AttributeRules, find_rules
    from vesalius.prompts.templates import FamilySet, ObjectWords, Templates, read_templates

__all__ = [
    "ASPECTS",
    "AnatomyLabel",
    "AttributeRules",
    "FamilySet",
    "ObjectWords",
    "RULES",
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
    "ASPECTS": "anatomy",
    "AnatomyLabel": "anatomy",
    "AttributeRules": "rules",
    "FamilySet": "templates",
    "ObjectWords": "templates",
    "RULES": "rules",
    "Statement": "anatomy",
    "Target": "bank",
    "Templates": "templates",
    "Variants": "families",
    "anatomy_phrases": "anatomy",
    "find_rules": "rules",
    "find_target": "bank",
    "foreign_phrases": "bank",
    "list_targets": "bank",
    "mirror_prompt": "mirror",
    "read_bank": "bank",
    "read_templates": "templates",
    "sort_families": "families",
    "swap_words": "mirror",
    "variants": "families",
    "write_prompts": "captions",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'vesalius.prompts' has no attribute '{name}'")
    return getattr(importlib.import_module(f"vesalius.prompts.{_HOMES[name]}"), name)
