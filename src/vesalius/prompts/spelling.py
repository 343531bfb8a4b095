"""Misspelt words of phrases: the word of a learnt name, or for asking, that was meant."""

import difflib
from functools import cache
from string import ascii_lowercase

from vesalius.prompts.lexicon import Names, Words, join, read_lexicon, strip_request

SHORTEST = 5
"""Letters of the names that a misspelt word may stand for; the word may have one less."""
ALIKE = 0.79
"""How alike (difflib) a misspelt word and the name are."""


def correct(word: str, names: Names) -> str:
    """The word of a learnt name that a misspelt word stands for; the word itself if it is one, or resembles none."""
    if not _is_strange(word, names):
        return word
    candidates = [each for each in names.correct if each[0] == word[0] and len(each) >= SHORTEST]
    return next(iter(difflib.get_close_matches(word, candidates, 1, ALIKE)), word)


def correct_request(words: Words, names: Names) -> Words:
    """Without what asks, a word of which may be misspelt; the words themselves if no word for asking is.

    >>> from vesalius.prompts.lexicon import read_names, to_words
    >>> correct_request(to_words("whre is the polyp, pleas"), read_names(frozenset({"polyp"})))
    ('polyp',)
    """
    meant = {place: word for place in range(len(words)) if (word := _find_asking(words, place, names))}
    spelt = tuple(meant.get(place, word) for place, word in enumerate(words))
    rest = strip_request(spelt)
    return words if not meant or set(meant.values()) & set(rest) or join(spelt) in names.unlearnt else rest


def _find_asking(words: Words, place: int, names: Names) -> str:
    """The word for asking that a misspelt one stands for, "" if it is right or may be another.

    Its first letter is right and one slip was made. Other words with one slip less count, too, unless the next word
    or the one before tells: "whre" may be a wire, "whre is" not.
    """
    word = words[place]
    if not _is_strange(word, names):
        return ""
    asking, pairs = _read_asking()
    near = {each for each in _find_slips(word) & names.words if each[0] == word[0]}
    told = {each for each in near if {(each, *words[place + 1 : place + 2]), (*words[place - 1 : place], each)} & pairs}
    return min(told or (near if near <= asking else set()), default="")


@cache
def _read_asking() -> tuple[frozenset[str], frozenset[Words]]:
    """All words that ask, and all pairs of neighbours among them."""
    entries = read_lexicon().requests | read_lexicon().closings
    pairs = frozenset(entry[place : place + 2] for entry in entries for place in range(len(entry) - 1))
    return frozenset(word for entry in entries for word in entry), pairs


def _is_strange(word: str, names: Names) -> bool:
    return len(word) >= SHORTEST - 1 and word.isalpha() and word not in names.words


def _find_slips(word: str) -> set[str]:
    """All that a word may stand for if one letter is missing, too many or wrong, or two changed places."""
    cuts = [(word[:place], word[place:]) for place in range(len(word) + 1)]
    fewer = {a + b[1:] for a, b in cuts if b}
    changed = {a + b[1] + b[0] + b[2:] for a, b in cuts if len(b) > 1}
    return fewer | changed | {a + letter + rest for a, b in cuts for letter in ascii_lowercase for rest in (b, b[1:])}
