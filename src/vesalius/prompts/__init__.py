"""Prompts: the words asked of an image. Knows no model.

Masks become words in `vesalius.prompts.attributes`, which loads scipy and so is not imported here.
"""

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
