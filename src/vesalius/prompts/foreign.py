"""Phrases in other languages than English, word by word in English: sentence vectors know English alone.

Names are those of ``synonyms.toml``; ``foreign.toml`` has the words between them.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache

from vesalius.files import read_package_toml
from vesalius.prompts.bank import DISTRACTORS, find_target, list_targets, read_bank, read_synonyms
from vesalius.prompts.lexicon import Words, list_common_words, read_lexicon, read_unlearnt, to_words

FOREIGN = "prompts/foreign.toml"
LANGUAGES = ("de", "fr", "es", "it", "pt", "nl")
"""Tables of ``synonyms.toml``."""
SHORTEST = 4
"""Letters of words that tell a phrase to be foreign, and of the two that make a compound such as "Magenkrebs"."""
_LINKS = ("", "n", "en", "s", "es")
_ELIDED = (
    (re.compile(r"\b(?:[lncsj]|qu)['’](?=\w)"), " "),
    (re.compile(r"\bd['’](?=\w)"), "de "),
    (re.compile(r"\b(dell|nell|all|un)['’](?=\w)"), r"\1a "),
)
"""What an apostrophe stands for in French and Italian."""


@lru_cache(maxsize=1024)
def translate(phrase: str) -> str | None:
    """A phrase that holds a foreign word, with the words that are known in English; None for an English one.

    >>> translate("Tumor der linken Niere")
    'tumor of left kidney'
    >>> translate("tumour of the left kidney")
    """
    plain = phrase.casefold()
    for pattern, spelt in _ELIDED:
        plain = pattern.sub(spelt, plain)
    words = to_words(plain)
    if not any(map(_is_foreign, words)):
        return None
    return " ".join(_without_doubles(tuple(_translate_words(words))))


def _translate_words(words: Words) -> Iterator[str]:
    meanings, place = _read_meanings(), 0
    longest = max(map(len, meanings))
    while place < len(words):
        spans = (words[place : place + length] for length in range(longest, 0, -1))
        known = next((span for span in spans if span in meanings), None)
        yield from meanings[known] if known else _split_compound(words[place]) or words[place : place + 1]
        place += len(known or "1")


def _without_doubles(words: Words) -> Words:
    """With one word of those that end a name where two follow each other, and none at the start: "in de", "der"."""
    cuts = read_lexicon().cuts
    kept = tuple(word for place, word in enumerate(words) if word != "of" or (place and words[place - 1] not in cuts))
    return kept or words


def _is_foreign(word: str) -> bool:
    return word in _foreign_words() or (word not in _english_words() and bool(_split_compound(word)))


def _split_compound(word: str) -> Words:
    """The meanings of the two words that a German or Dutch one is made of; empty if it is none."""
    meanings = _read_meanings()
    for cut in range(SHORTEST, len(word) - SHORTEST + 1):
        first, last = word[:cut], meanings.get((word[cut:],))
        stems = (first.removesuffix(link) for link in _LINKS if first.endswith(link))
        stem = next((stem for stem in stems if len(stem) >= SHORTEST and meanings.get((stem,))), None)
        if last and stem:
            return (*meanings[stem,], *last)
    return ()


@cache
def _read_meanings() -> Mapping[Words, Words]:
    """Foreign words -> English ones."""
    found = {to_words(name): to_words(find_target(target).phrases[0]) for target, name in _list_names()}
    for meaning, row in read_package_toml(FOREIGN)["meanings"].items():
        found |= {to_words(each): tuple(meaning.split()) for each in row}
    return found


def _list_names() -> Iterator[tuple[str, str]]:
    tables = read_package_toml("prompts/synonyms.toml")
    rows = (row for language in LANGUAGES for row in tables[language].items())
    return ((target, name) for target, names in rows for name in names)


@cache
def _foreign_words() -> frozenset[str]:
    """Words that tell a phrase to be foreign."""
    words = {word for _, name in _list_names() for word in to_words(name)}
    words |= {words[0] for words in _read_meanings() if len(words) == 1}
    tables = read_package_toml(FOREIGN)
    long = {word for word in words if len(word) >= SHORTEST} - _english_words() - {*tables["english"]}
    return frozenset(long.union(word for each in tables["foreign"] for word in to_words(each)))


@cache
def _english_words() -> frozenset[str]:
    """Words that English phrases have, Latin ones among them."""
    bank, latin = read_bank(), read_package_toml("prompts/synonyms.toml")["names"]
    rows = [bank[DISTRACTORS].phrases, read_synonyms().unlearnt_descriptions, *read_unlearnt().values()]
    rows += [*read_synonyms().descriptions.values(), *latin.values()]
    rows += [phrases for name in list_targets() for phrases in (bank[name].phrases, bank[name].nouns, bank[name].vague)]
    return list_common_words() | frozenset(word for row in rows for phrase in row for word in to_words(phrase))
