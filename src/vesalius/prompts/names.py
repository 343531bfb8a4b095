"""Names of the learnt targets, and of what is not learnt, as keys that do not tell one spelling from another."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from vesalius.prompts.bank import DISTRACTORS, find_target, list_targets, read_bank
from vesalius.prompts.lexicon import join, read_lexicon, strip_request, to_words
from vesalius.prompts.synonyms import read_synonyms


@dataclass(frozen=True)
class Names:
    """Names as keys (``lexicon.join``)."""

    targets: Mapping[str, str]
    """Key -> learnt target."""
    vague: Mapping[str, frozenset[str]]
    """Key -> learnt targets that it may mean."""
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
    denials = {join(to_words(each)): name for name in learnt for each in bank[name].absences}
    terms = dict(read_unlearnt())
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
        denials,
        unlearnt,
        everyday=frozenset(key for each in terms["everyday"] for key in _keys(each)),
        shared=_find_shared(every, targets),
        synonyms=frozenset(synonyms),
        devices=frozenset(key for each in terms["devices"] for key in _keys(each)),
        changing=frozenset(word for each in terms["changing"] for word in to_words(each)),
        words=frozenset(spelt) | _common_words(),
        correct=frozenset(word for name in learnt for each in bank[name].nouns for word in to_words(each)),
    )


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


def _common_words() -> frozenset[str]:
    """Words that are spelt right, beside those of names."""
    lexicon = read_lexicon()
    phrases = (*lexicon.requests, *lexicon.closings, *lexicon.relations, *lexicon.parts, *lexicon.people)
    vague = (word for name in list_targets() for each in find_target(name).vague for word in to_words(each))
    single = lexicon.transparent | lexicon.harmless | lexicon.sides | lexicon.cuts
    return single | frozenset(vague) | frozenset(word for phrase in phrases for word in phrase)


@cache
def read_unlearnt() -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Things that nobody taught, by kind."""
    table = tomllib.loads(files("vesalius.prompts").joinpath("unlearnt.toml").read_text(encoding="utf-8"))
    return tuple((name, tuple(terms)) for name, terms in table.items())


@cache
def name_words(target: str) -> frozenset[str]:
    """All words of a target's names."""
    row = find_target(target)
    return frozenset(word for phrase in (*row.phrases, *row.nouns) for word in to_words(phrase))
