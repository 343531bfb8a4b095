"""Render every template with every word it may get, and say what is wrong."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import product

from vesalius.prompts.captions import write_prompts
from vesalius.prompts.families import Variants, variants
from vesalius.prompts.mirror import mirror_prompt
from vesalius.prompts.templates import FamilySet, ObjectWords, Templates
from vesalius.prompts.vocabulary import COLOURS, NUMBERS, PLACES, SHAPES, SIZES

CONTEXT_LENGTH = 77
"""Tokens that CLIP's text encoders read, start and end included."""
PLAIN_WORDS = {"number": "one", "size": "small", "location": "top left", "shape": "oval", "colour": "pink"}
EVERY_WORD: Mapping[str, tuple[str, ...]] = {
    "number": NUMBERS,
    "size": (*SIZES, ", ".join(SIZES)),
    "location": (*PLACES, ", ".join(PLACES)),
    "shape": SHAPES,
    "colour": COLOURS,
}
"""Words by attribute; the last size and place are those of an object with many parts."""
UNSWAPPED = re.compile(
    r"\b(?:(?:left|right|top|bottom|upper|lower)(?:most|wards?|hand)|above|below|beneath|underneath)\b", re.IGNORECASE
)
"""Words for sides of the image that `mirror_prompt` leaves as they are."""
STRAY = re.compile(r"\s[,.;:]|[,;:]{2}|[,;:]$|^[,.;:]")
"""Punctuation that a blank word leaves behind."""

Prompts = Mapping[str, Variants]


@dataclass(frozen=True, order=True)
class Fault:
    """Something wrong with the templates."""

    place: str
    """Set, object and family."""
    message: str


@dataclass(frozen=True)
class Proof:
    """A set rendered for one object."""

    family_set: FamilySet
    outlined: ObjectWords
    count_tokens: Callable[[str], int]
    """Tokens of a prompt for CLIP, start and end included."""

    @cached_property
    def example(self) -> Prompts:
        """One record's prompts."""
        return self._write(PLAIN_WORDS)

    @cached_property
    def wordings(self) -> tuple[tuple[str, str], ...]:
        """Family and prompt of everything that can be said, absence included."""
        longest = {attribute: words[-1] for attribute, words in EVERY_WORD.items()}
        one_by_one = ({**PLAIN_WORDS, key: word} for key, words in EVERY_WORD.items() for word in words)
        written = [self._write(words) for words in (*one_by_one, longest, None)]
        written += [self._write(PLAIN_WORDS, file_name) for file_name in self._file_names()]
        return tuple(
            dict.fromkeys((family, each) for row in written for family in row for each in variants(row, family))
        )

    def faults(self) -> list[Fault]:
        """Everything that is wrong, in order of families."""
        found = [*self._find_left_out(), *self._find_repeats(), *self._find_wrong_wordings(), *self._find_false_sides()]
        place = f"set {self.family_set.name}, {self.outlined.name}"
        return sorted({Fault(f"{place}, {family}", message) for family, message in found})

    def _write(self, words: Mapping[str, str] | None, file_name: str | None = None) -> Prompts:
        name = " ".join(next(iter(pieces), "") for pieces in self.family_set.file_words.values())
        return write_prompts(self.family_set, self.outlined, words, file_name=name if file_name is None else file_name)

    def _file_names(self) -> list[str]:
        return ["", *(piece for pieces in self.family_set.file_words.values() for piece in pieces)]

    def _find_left_out(self) -> Iterator[tuple[str, str]]:
        for family in self.family_set.families:
            if family not in self.example:
                yield (
                    family,
                    "is never written: all its templates need a word that the object lacks, such as a definition.",
                )

    def _find_repeats(self) -> Iterator[tuple[str, str]]:
        said: dict[tuple[str, ...], str] = {}
        for family in self.example:
            first = said.setdefault(variants(self.example, family), family)
            if first != family:
                yield family, f"says the same as {first}."

    def _find_wrong_wordings(self) -> Iterator[tuple[str, str]]:
        for family, prompt in self.wordings:
            if not prompt and family != "p0":
                yield family, "is empty; only p0 is."
            if STRAY.search(prompt):
                yield family, f"has stray punctuation: '{prompt}'."
            if word := UNSWAPPED.search(prompt):
                yield (
                    family,
                    f"says '{word[0]}', which stays when the image is flipped; say it with top, left and the like.",
                )
            if (tokens := self.count_tokens(prompt)) > CONTEXT_LENGTH:
                yield family, f"has {tokens} tokens, and CLIP reads {CONTEXT_LENGTH}: '{prompt}'."

    def _find_false_sides(self) -> Iterator[tuple[str, str]]:
        """A flipped prompt must be that of the flipped place; it is not where other words name sides, too."""
        for place, horizontal in product(PLACES, (True, False)):
            flip = partial(mirror_prompt, horizontal=horizontal, vertical=not horizontal)
            expected = self._write({**PLAIN_WORDS, "location": flip(place)})
            for family, value in self._write({**PLAIN_WORDS, "location": place}).items():
                flipped = [flip(each) for each in ([value] if isinstance(value, str) else value)]
                if tuple(flipped) != variants(expected, family):
                    yield family, "names a side besides {location}, which would be swapped when the image is flipped."


def prove_templates(templates: Templates, count_tokens: Callable[[str], int]) -> list[Proof]:
    """Every set with every object that uses it, or with an unknown one if none does.

    Args:
        templates: As `read_templates` gives them; it has refused unknown words in braces.
        count_tokens: Tokens of a prompt for CLIP, start and end included.
    """
    proofs = []
    for family_set in templates.sets.values():
        objects = [each for each in templates.classes.values() if each.family_set == family_set.name]
        objects = objects or [ObjectWords("object", "objects", family_set.name)]
        proofs += [Proof(family_set, outlined, count_tokens) for outlined in objects]
    return proofs
