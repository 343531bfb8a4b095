"""Prompts of one record from templates; their mirrored wording for flipped pictures; and the templates' lint.

The lint renders every template with every word it may get and looks for gaps, repeats, prompts that CLIP would cut
off, and sides that a flip would swap wrongly.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from itertools import product

from vesalius.prompts.attributes import COLOURS, NUMBERS, PLACES, SHAPES, SIZES
from vesalius.prompts.templates import PLACEHOLDER, FamilySet, ObjectWords, Templates, Variants, variants

Words = Mapping[str, str]


def write_prompts(
    family_set: FamilySet,
    outlined: ObjectWords,
    attributes: Words | None,
    *,
    file_name: str = "",
    present: Sequence[str] = (),
) -> dict[str, Variants]:
    """All families of one record.

    >>> from vesalius.prompts import read_templates
    >>> templates = read_templates()
    >>> found = {"number": "one", "size": "small", "location": "top", "shape": "oval", "colour": "pink"}
    >>> write_prompts(templates.find_set("endoscopy"), templates.find_object("polyp"), found)["p5"]
    'one small pink oval polyp'

    Args:
        family_set: The templates.
        outlined: Names and definitions of the object.
        attributes: Words for number, size, location, shape and colour; None if the mask is empty.
        file_name: Name from which the set's `file_words` are told.
        present: Names of all that is outlined on the image.

    Returns:
        A string for each family, or a list where it has several wordings. Families of which every template asks for a
        word that is not known are left out.
    """
    words = _name_object(outlined, attributes) | _read_file_words(family_set, file_name)
    if attributes is None:
        return {family: _write_absent(family_set, family, words) for family in family_set.families}
    words |= {"present": ", ".join(present or (outlined.name,)), **attributes}
    made = {family: _fill_family(family_set, family, words, outlined.definitions) for family in family_set.families}
    return {family: _unwrap(wordings) for family, wordings in made.items() if wordings}


def fill_template(template: str, words: Words, *, sentence: bool = False) -> str | None:
    """One prompt.

    >>> fill_template("{number} {kind?} {class}", {"number": "one", "class": "cyst"})
    'one cyst'

    Args:
        template: Text with {word} or {word?}.
        words: What they stand for.
        sentence: Begin with a capital letter.

    Returns:
        None if a word is not known; one with a question mark is then left blank instead.
    """
    if not words.keys() >= _words_needed(template):
        return None
    filled = PLACEHOLDER.sub(lambda match: words.get(match["word"], ""), template)
    prompt = " ".join(filled.split())
    return prompt[:1].upper() + prompt[1:] if sentence else prompt


@cache
def _words_needed(template: str) -> frozenset[str]:
    return frozenset(match["word"] for match in PLACEHOLDER.finditer(template) if not match["optional"])


def _name_object(outlined: ObjectWords, attributes: Words | None) -> dict[str, str]:
    alone = attributes is not None and attributes.get("number") == "one"
    return {"class": outlined.name, "classes": outlined.name if alone else outlined.plural}


def _read_file_words(family_set: FamilySet, file_name: str) -> dict[str, str]:
    """The word of the first piece that the name holds."""
    name, found = file_name.lower(), {}
    for word, pieces in family_set.file_words.items():
        said = next((said for piece, said in pieces.items() if piece.lower() in name), None)
        if said is not None:
            found[word] = said
    return found


def _write_absent(family_set: FamilySet, family: str, words: Words) -> Variants:
    if family_set.families[family] == ("",):
        return ""
    return _unwrap(list(_fill_all(family_set.absent, words, family_set)))


def _fill_family(family_set: FamilySet, family: str, words: Words, definitions: Sequence[str]) -> list[str]:
    choices = [{**words, "definition": definition} for definition in definitions] or [dict(words)]
    filled = [prompt for each in choices for prompt in _fill_all(family_set.families[family], each, family_set)]
    return list(dict.fromkeys(filled))


def _fill_all(templates: Sequence[str], words: Words, family_set: FamilySet) -> Iterator[str]:
    for template in templates:
        prompt = fill_template(template, words, sentence=family_set.sentence)
        if prompt is not None:
            yield prompt


def _unwrap(wordings: list[str]) -> Variants:
    return wordings[0] if len(wordings) == 1 else wordings


_HORIZONTAL = {"left": "right", "right": "left"}
_VERTICAL = {"top": "bottom", "bottom": "top", "upper": "lower", "lower": "upper"}
_SIDE = r"(?:left|right)"
_NAMES = re.compile(
    rf"(\b{_SIDE}(?:\s+(?:and|or)\s+{_SIDE})?[\s-]+(?:(?:upper|lower)[\s-]+)?(?:atri|auric|cardiac|chamber|heart|ventric)\w*)",
    re.IGNORECASE,
)
"""Parts whose name holds a side and does not change with the picture: a left ventricle stays one in a mirror."""


def mirror_prompt(prompt: str, *, horizontal: bool = False, vertical: bool = False) -> str:
    """Swap the words for sides that a flip exchanges; sides that belong to a name stay ("left ventricle").

    >>> mirror_prompt("one small polyp, located in top left of the image", horizontal=True)
    'one small polyp, located in top right of the image'
    """
    swaps = (_HORIZONTAL if horizontal else {}) | (_VERTICAL if vertical else {})
    if not swaps:
        return prompt
    pieces = _NAMES.split(prompt)
    return "".join(piece if place % 2 else swap_words(piece, swaps) for place, piece in enumerate(pieces))


def swap_words(prompt: str, swaps: Mapping[str, str]) -> str:
    """Put other words in the place of whole words, all at once; capitals stay capitals.

    Args:
        prompt: Any.
        swaps: Lower-case words, one or more, and what replaces them.

    >>> swap_words("Small or large", {"small": "large", "large": "small"})
    'Large or small'
    """

    def swap(word: re.Match[str]) -> str:
        other = swaps[word[0].lower()]
        return other.capitalize() if word[0][0].isupper() else other

    return re.sub(rf"\b({'|'.join(swaps)})\b", swap, prompt, flags=re.IGNORECASE)


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
class LintIssue:
    """Something wrong with the templates."""

    place: str
    """Set, object and family."""
    message: str


@dataclass(frozen=True)
class TemplateLint:
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

    def issues(self) -> list[LintIssue]:
        """Everything that is wrong, in order of families."""
        found = [*self._find_left_out(), *self._find_repeats(), *self._find_wrong_wordings(), *self._find_false_sides()]
        place = f"set {self.family_set.name}, {self.outlined.name}"
        return sorted({LintIssue(f"{place}, {family}", message) for family, message in found})

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


def lint_templates(templates: Templates, count_tokens: Callable[[str], int]) -> list[TemplateLint]:
    """Every set with every object that uses it, or with an unknown one if none does.

    Args:
        templates: As `read_templates` gives them; it has refused unknown words in braces.
        count_tokens: Tokens of a prompt for CLIP, start and end included.
    """
    lints = []
    for family_set in templates.sets.values():
        objects = [each for each in templates.classes.values() if each.family_set == family_set.name]
        objects = objects or [ObjectWords("object", "objects", family_set.name)]
        lints += [TemplateLint(family_set, outlined, count_tokens) for outlined in objects]
    return lints
