"""Words of phrases in one spelling and number, their head and complement, and the names of all targets as keys.

``lexicon.toml`` has the word lists, ``unlearnt.toml`` and the prompt bank the names.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache

from vesalius.files import read_package_toml
from vesalius.prompts.bank import DISTRACTORS, find_target, list_targets, read_bank, read_families, read_synonyms

Words = tuple[str, ...]
LEXICON = "prompts/lexicon.toml"
CACHED = 16384
"""Phrases whose words are remembered: all names of the package, some 13,000, and what is asked."""
_WORD = re.compile(r"[^\W_]+|[,;:(]")
_POSSESSIVE = re.compile(r"['’`]s?\b")
_ARTICLES = frozenset({"the", "a", "an", "this", "these", "those", "my", "our", "her", "his", "their", "your"})
_KEPT_ENDINGS = ("ss", "us", "is", "as", "ies")


@dataclass(frozen=True)
class NounPhrase:
    """What a phrase names, and of or in what, by its words."""

    head: Words
    """Up to the first word that ends a name; its last word says what it is."""
    complement: Words
    """Words from there to the next such word."""
    link: str
    """What lies between them, empty if nothing does."""
    rest: Words = field(default=(), repr=False)
    """What comes after the complement."""


@dataclass(frozen=True)
class Lexicon:
    """Word lists, all in the form that ``to_words`` gives."""

    requests: frozenset[Words]
    closings: frozenset[Words]
    relations: frozenset[Words]
    lesion_relations: frozenset[Words]
    neighbours: frozenset[Words]
    imaging: frozenset[str]
    parts: frozenset[Words]
    transparent: frozenset[str]
    harmless: frozenset[str]
    of_lesions: frozenset[str]
    sides: frozenset[str]
    people: frozenset[Words]
    cuts: frozenset[str]
    diseases: tuple[str, ...]
    within: frozenset[str]
    """Targets that lie in many organs, which are named to tell where: "liver nuclei"."""
    holds: Mapping[str, frozenset[str]]
    """Target -> targets that are pieces of it."""


@cache
def read_lexicon() -> Lexicon:
    """The word lists of the package."""
    tables = read_package_toml(LEXICON)

    def phrases(name: str) -> frozenset[Words]:
        return frozenset(map(to_words, tables[name]))

    def words(name: str) -> frozenset[str]:
        return frozenset(word for entry in tables[name] for word in to_words(entry))

    return Lexicon(
        requests=phrases("requests"),
        closings=phrases("closings"),
        relations=phrases("relations"),
        lesion_relations=phrases("lesion_relations"),
        neighbours=phrases("neighbours"),
        imaging=words("imaging"),
        parts=phrases("parts"),
        transparent=words("transparent"),
        harmless=words("harmless"),
        of_lesions=words("of_lesions"),
        sides=words("sides"),
        people=phrases("people"),
        cuts=words("cuts"),
        diseases=tuple(tables["diseases"]),
        within=frozenset(tables["within"]),
        holds={whole: frozenset(pieces) for whole, pieces in tables["holds"].items()},
    )


@lru_cache(maxsize=CACHED)
def to_words(text: str) -> Words:
    """Words in one spelling and number, without articles, accents and the like, and without punctuation but commas.

    >>> to_words("Tumours of the patient's kidneys")
    ('tumor', 'of', 'patient', 'kidney')
    """
    plain = _POSSESSIVE.sub("", _without_accents(text.casefold().replace("œ", "oe")))
    tokens = ("," if token in ",;:(" else token for token in _WORD.findall(plain))
    return tuple(word for token in tokens if token not in _ARTICLES for word in _normalise(token).split())


def _without_accents(text: str) -> str:
    """Without what is written over letters, and without soft hyphens and the like between them."""
    if text.isascii():
        return text
    letters = unicodedata.normalize("NFKD", text)
    return "".join(each for each in letters if not unicodedata.combining(each) and unicodedata.category(each) != "Cf")


def join(words: Iterable[str]) -> str:
    """A key that does not tell "windpipe" from "wind pipe"."""
    return "".join(word for word in words if word != ",")


def strip_request(words: Words) -> Words:
    """Without what asks at the beginning and at the end; one word stays at least.

    >>> strip_request(to_words("Could you please outline the liver in this image?"))
    ('liver',)
    """
    lexicon = read_lexicon()
    while (end := _longest(words, lexicon.requests, start=True)) and end < len(words):
        words = words[end:]
    while (length := _longest(words, lexicon.closings, start=False)) and length < len(words):
        words = _trim(words[:-length])
    return _trim(words)


def split_phrase(words: Words) -> NounPhrase:
    """Head and complement of the words of a phrase.

    >>> split_phrase(to_words("small polyp growing in the upper rectum, with blood"))
    NounPhrase(head=('small', 'polyp', 'growing'), complement=('upper', 'rectum'), link='in')
    """
    places = [place for place in range(len(words)) if _cuts(words, place)]
    first = next((place for place in places if place), len(words))
    start = next((place for place in range(first, len(words)) if place not in places), len(words))
    end = next((place for place in range(start, len(words)) if place in places), len(words))
    head = words[1:first] if 0 in places else words[:first]
    return NounPhrase(head, words[start:end], " ".join(words[first:start]), words[end:])


def _cuts(words: Words, place: int) -> bool:
    """Whether a name ends before this word: not before an adjective that another word of the name follows."""
    lexicon, word = read_lexicon(), words[place]
    if word == ",":
        return any(before not in lexicon.harmless | lexicon.sides | {","} for before in words[:place])
    last = place + 1 == len(words) or words[place + 1] in lexicon.cuts
    return word in lexicon.cuts and (last or word not in lexicon.harmless)


@lru_cache(maxsize=8192)
def _normalise(token: str) -> str:
    tables = read_package_toml(LEXICON)
    words: Mapping[str, str] = tables["words"]
    if token in words:
        return words[token]
    for british, american in tables["spelling"].items():
        token = token.replace(british, american)
    single = _to_singular(token)
    return words.get(token, words.get(single, single))


def _to_singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 5:
        return word[:-3] + "y"
    if not word.endswith("s") or len(word) < 4 or word.endswith(_KEPT_ENDINGS):
        return word
    return word[:-2] if word.endswith(("ches", "shes", "sses", "xes")) else word[:-1]


def _longest(words: Words, entries: frozenset[Words], *, start: bool) -> int:
    """Words at one end that are an entry, as many as possible."""
    lengths = range(min(len(words), _longest_of(entries)), 0, -1)
    return next((n for n in lengths if (words[:n] if start else words[-n:]) in entries), 0)


@cache
def _longest_of(entries: frozenset[Words]) -> int:
    return max(map(len, entries))


def _trim(words: Words) -> Words:
    while len(words) > 1 and words[-1] == ",":
        words = words[:-1]
    while len(words) > 1 and words[0] == ",":
        words = words[1:]
    return words


@dataclass(frozen=True)
class Names:
    """Names as keys (``lexicon.join``)."""

    targets: Mapping[str, str]
    """Key -> learnt target."""
    vague: Mapping[str, frozenset[str]]
    """Key -> learnt targets that it may mean."""
    families: Mapping[str, str]
    """Those of them that name a family of which something is learnt -> its plain name."""
    denials: Mapping[str, str]
    unlearnt: frozenset[str]
    everyday: frozenset[str]
    shared: frozenset[str]
    """Names that longer names of other targets end with, such as "gland"."""
    changing: frozenset[str]
    synonyms: frozenset[str]
    """Those of the targets that the prompt bank lacks."""
    devices: frozenset[str]
    words: frozenset[str] = field(repr=False, default=frozenset())
    """All words of all names."""
    correct: frozenset[str] = field(repr=False, default=frozenset())
    """Words of learnt names, which a misspelt word may stand for."""


@cache
def read_names(known: frozenset[str]) -> Names:
    """Names of the learnt targets, and of all else."""
    bank = read_bank()
    learnt = [name for name in list_targets() if name in known]
    targets = {key: name for name in learnt for each in (*bank[name].phrases, *bank[name].nouns) for key in _keys(each)}
    synonyms = {key: name for name in learnt for each in _synonyms(name) for key in [join(to_words(each))]}
    synonyms = {key: name for key, name in synonyms.items() if key not in targets}
    targets |= synonyms
    vague: dict[str, frozenset[str]] = {}
    for name in learnt:
        for key in {key for each in bank[name].vague for key in _keys(each)} - targets.keys():
            vague[key] = vague.get(key, frozenset()) | {name}
    families = _list_families(known, targets)
    for key, family in families.items():
        vague.setdefault(key, frozenset(read_families()[family].members) & known)
    denials = {join(to_words(each)): name for name in learnt for each in bank[name].absences}
    terms = read_unlearnt()
    unknown = [name for name in list_targets() if name not in known]
    others = [each for name in unknown for each in (*bank[name].phrases, *bank[name].nouns)]
    others += [*bank[DISTRACTORS].phrases, *(each for name in terms if name != "changing" for each in terms[name])]
    strange = [*read_synonyms().unlearnt, *read_synonyms().unlearnt_descriptions]
    strange += [each for name in unknown for each in _synonyms(name)]
    unlearnt = frozenset(key for each in others for key in _keys(each))
    unlearnt = (unlearnt | frozenset(join(to_words(each)) for each in strange)) - targets.keys()
    named = [(name, each) for name in learnt for each in (*bank[name].phrases, *bank[name].nouns)]
    spelled = (*others, *strange, *(each for _, each in named), *(each for name in learnt for each in _synonyms(name)))
    spelt = (word for each in spelled for word in to_words(each))
    every = [(name, each) for name in list_targets() for each in (*bank[name].phrases, *bank[name].nouns)]
    return Names(
        targets,
        vague,
        families,
        denials,
        unlearnt,
        everyday=frozenset(key for each in terms["everyday"] for key in _keys(each)),
        shared=_find_shared(every, targets),
        synonyms=frozenset(synonyms),
        devices=frozenset(key for each in terms["devices"] for key in _keys(each)),
        changing=frozenset(word for each in terms["changing"] for word in to_words(each)),
        words=frozenset(spelt) | list_common_words(),
        correct=frozenset(word for name in learnt for each in bank[name].nouns for word in to_words(each)),
    )


def _list_families(known: frozenset[str], targets: Mapping[str, str]) -> dict[str, str]:
    """Key -> family, of those with a learnt member."""
    learnt = {name: row for name, row in read_families().items() if known & set(row.members)}
    found = {key: name for name, row in learnt.items() for word in row.words for key in _keys(word)}
    return {key: name for key, name in found.items() if key not in targets}


def _synonyms(target: str) -> tuple[str, ...]:
    synonyms = read_synonyms()
    return (*synonyms.names.get(target, ()), *synonyms.descriptions.get(target, ()))


def _find_shared(phrases: Iterable[tuple[str, str]], targets: Mapping[str, str]) -> frozenset[str]:
    cuts = read_lexicon().cuts
    plain = ((name, words) for name, phrase in phrases if not cuts & set(words := to_words(phrase)))
    ends = ((name, join(words[start:])) for name, words in plain for start in range(1, len(words)))
    return frozenset(key for name, key in ends if targets.get(key, name) != name)


def _keys(phrase: str) -> set[str]:
    words = to_words(phrase)
    return {join(words), join(strip_request(words))}


def list_common_words() -> frozenset[str]:
    """Words that are spelt right, beside those of names."""
    lexicon = read_lexicon()
    phrases = (*lexicon.requests, *lexicon.closings, *lexicon.relations, *lexicon.parts, *lexicon.people)
    vague_names = [
        *(row.words for row in read_families().values()),
        *(find_target(each).vague for each in list_targets()),
    ]
    vague = (word for each in vague_names for phrase in each for word in to_words(phrase))
    single = lexicon.transparent | lexicon.harmless | lexicon.sides | lexicon.cuts
    return single | frozenset(vague) | frozenset(word for phrase in phrases for word in phrase)


def read_unlearnt() -> Mapping[str, Sequence[str]]:
    """Terms for things that pocket did not learn, by kind."""
    return read_package_toml("prompts/unlearnt.toml")


def is_lesion(target: str) -> bool:
    """Whether a target is a lesion, which "lesion" may mean."""
    return "lesion" in find_target(target).vague


@cache
def name_words(target: str) -> frozenset[str]:
    """All words of a target's names."""
    row = find_target(target)
    return frozenset(word for phrase in (*row.phrases, *row.nouns) for word in to_words(phrase))
