"""Prompts: the words asked of an image. Knows no model."""

from vesalius.prompts.anatomy import ASPECTS, AnatomyLabel, anatomy_phrases
from vesalius.prompts.bank import Target, find_target, foreign_phrases, read_bank
from vesalius.prompts.families import Variants, sort_families, variants
from vesalius.prompts.mirror import mirror_prompt

__all__ = [
    "ASPECTS",
    "AnatomyLabel",
    "Target",
    "Variants",
    "anatomy_phrases",
    "find_target",
    "foreign_phrases",
    "mirror_prompt",
    "read_bank",
    "sort_families",
    "variants",
]
