"""Resolve a phrase to a learnt target, or to none, before a model is asked.

Words come first (``reading.py``). What they leave open is decided by sentences: how much nearer the phrase lies to the
names of a learnt target than to those of things that pocket did not learn (``unlearnt.toml``).
"""

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from vesalius.prompts.bank import KnownTarget, find_target, read_families, read_synonyms
from vesalius.prompts.denials import find_denial
from vesalius.prompts.lexicon import Words, is_lesion, name_words, strip_request, to_words
from vesalius.prompts.noun_phrases import HORIZONTAL, PhraseKind, Reading
from vesalius.prompts.phrase_vectors import NEAREST, Nearness, PhraseIndex
from vesalius.prompts.reading import read_phrase
from vesalius.prompts.shorthand import spell_out

Encode = Callable[[str], NDArray[np.float32]]
"""A phrase's sentence vector, [D]."""
LEAD = 0.02
"""Cosine by which the nearest target must lie nearer than the nearest unlearnt thing; chosen on validation."""
NEXT_LEAD = 0.02
"""Cosine by which it must lie nearer than the next target that the phrase's words do not exclude."""
SURE_LEAD, SURE_NEXT_LEAD = 0.12, 0.1
"""The same leads with which the sentence of a whole description decides against single words of it."""
DESCRIBED = 6
"""Smallest number of words of a description."""
LOCATED_LEAD = 0.1
"""Both where the phrase tells by a word such as "beside" where a thing is, as "the muscle under the heart"."""
VAGUE_NEAREST = 0.6
"""Cosine that the target of a vague phrase must have ("the chamber that …"), or it is asked as it is."""
NAMED_LEAD = 0.0
"""The same lead where the phrase's last word is a name of that target, beside unknown words."""
NAMES = 3
"""Number of nearest targets that are named."""


@dataclass(frozen=True)
class Resolution:
    """What a phrase asks for."""

    phrase: str
    kind: PhraseKind
    """One learnt target ("target"), whatever is learnt of such pictures ("vague": "the lesion"), that something learnt
    is not there ("denial": "no polyp"), more than one target ("several"), or nothing that is learnt ("unknown")."""
    target: str | None = None
    """Row of the prompt bank, of a denial what it denies; None where no single one is meant."""
    qualifier: str = ""
    """Words for a side or a piece, which is not learnt apart: "left" of "left lung"."""
    read_as: str = ""
    """The name that a misspelt word was taken for, or the plain name of a target that strange words tell of."""
    nearest: tuple[str, ...] = ()
    """Rows of the bank: learnt targets that it resembles, the nearest first."""
    family: str | None = None
    """Family of targets that a vague phrase names, see ``families.toml``; None if it names none."""
    members: frozenset[str] = frozenset()
    """Rows of the bank that a vague phrase may mean; empty where it may mean anything."""

    @property
    def known(self) -> bool:
        """Whether a model that learnt these targets may be asked it."""
        return self.kind in ("target", "vague", "denial")

    @property
    def remark(self) -> str:
        """What a user should know of how it was understood; empty if nothing."""
        if self.kind == "unknown":
            return f"'{self.phrase}' is not among what was learnt; nearest: {_names(self.nearest) or 'nothing'}."
        if self.kind == "several" and len(self.nearest) == 1:
            return f"'{self.phrase}' names {_names(self.nearest)} and more; ask for one at a time."
        if self.kind == "several":
            return f"'{self.phrase}' names several targets ({_names(self.nearest)}); ask for one at a time."
        parts = [f"read as '{self.read_as}'"] if self.read_as else []
        if self.qualifier and self.target:
            parts.append(f"{_names([self.target])}: learnt as a whole, '{self.qualifier}' is not told apart")
        if self.kind == "denial":
            denied = _names([self.target]) if self.target else "what it names"
            parts.append(f"denies {denied}, so nothing is marked; to see whether it is there, ask for it")
        return f"'{self.phrase}': {'; '.join(parts)}." if parts else ""


def resolve(
    phrase: str, known: Sequence[KnownTarget], index: PhraseIndex | None = None, encode: Encode | None = None
) -> Resolution:
    """Say which learnt target a phrase means.

    Args:
        phrase: Any.
        known: What the model learnt.
        index: Vectors of all names; without them, words alone decide.
        encode: Gives the phrase's vector, by the encoder that made the index; called only where words leave it open.

    Raises:
        PromptError: If a known target is no row of the prompt bank.
    """
    names = frozenset(target.name for target in known)
    for name in sorted(names):
        find_target(name)
    found = read_phrase(phrase, names)
    if found.kind != "unknown" and found.settled:
        return _to_resolution(phrase, _reword(found, phrase))
    if found.kind == "unknown" and not to_words(phrase):
        return _to_resolution(phrase, found)
    if not names or index is None or encode is None:
        # A name beside unknown words stands for its target; all else is unknown.
        return replace(_to_resolution(phrase, found), nearest=_resembling(phrase, names))
    words = strip_request(to_words(phrase))
    return _judge(phrase, found, index.compare(encode(" ".join(words)), names), words)


def _reword(found: Reading, phrase: str) -> Reading:
    """Read as its plain name where an organ's name stands among words that no training phrase for it has.

    So is a "brain without the skull", which would be taken for a skull. A phrase for a lesion stays: pictures of
    lesions came with descriptions of their own. Shorthand is not asked as it stands: "isn't there a polyp?"
    """
    if not found.target or found.kind != "target" or found.read_as:
        return found
    if is_lesion(found.target):
        spelt = set(to_words(spell_out(phrase))) - set(to_words(phrase))
        return replace(found, read_as=_names([found.target])) if spelt else found
    strange = set(strip_request(to_words(phrase))) - learnt_words(found.target)
    return replace(found, read_as=_names([found.target])) if strange or find_denial(phrase) else found


@cache
def learnt_words(target: str) -> frozenset[str]:
    """All words of the phrases by which a target is taught."""
    row = find_target(target)
    return frozenset(word for phrase in (*row.phrases, *row.compounds) for word in to_words(phrase))


def _judge(phrase: str, found: Reading, near: Nearness, words: Words) -> Resolution:
    nearest = tuple(near.targets)[:NAMES]
    best = found.target or _choose(found, near, frozenset(words))
    lead = LOCATED_LEAD if found.located else NAMED_LEAD if found.target else LEAD
    min_cosine = VAGUE_NEAREST if found.kind == "vague" else NEAREST
    if not found.settled and best and near.means(best, lead, min_cosine):
        understood = replace(found, kind="target", target=best, read_as=_names([best]))
        return replace(_to_resolution(phrase, understood), nearest=nearest)
    if found.kind == "unknown" and _is_sure(found, near, words):
        return Resolution(phrase, "target", nearest[0], read_as=_names(nearest[:1]), nearest=nearest)
    if found.kind == "vague":
        return Resolution(phrase, "vague", nearest=nearest, members=found.among)
    return Resolution(phrase, "unknown", nearest=nearest)


def _choose(found: Reading, near: Nearness, words: frozenset[str]) -> str | None:
    """The nearest target, unless a word excludes it, the phrase only mentions it, or another is about as near."""
    excluded = _contradicted(near, words)
    best, *others = near.targets
    if best in found.barred | excluded or (found.of and not found.of & name_words(best)):
        return None
    if found.located and any(set(to_words(name)) <= words for name in find_target(best).phrases):
        return None  # the muscle under the heart is not the heart muscle
    rivals = set(others) - excluded - (found.barred if found.located else set())
    if best in found.among and not found.located:
        rivals &= found.among | found.barred
    next_best = max((near.targets[name] for name in rivals), default=0.0)
    return best if near.targets[best] >= next_best + (LOCATED_LEAD if found.located else NEXT_LEAD) else None


def _is_sure(found: Reading, near: Nearness, words: Words) -> bool:
    """Whether a description lies so near to a target, and so far from all else, that one word in it does not count."""
    best, following, *_ = (*near.targets, None)
    barred = found.barred | _contradicted(near, frozenset(words))
    apart = not following or near.targets[best] >= near.targets[following] + SURE_NEXT_LEAD
    described = len(words) >= DESCRIBED and not found.located and not found.strange
    return described and best not in barred and apart and near.means(best, SURE_LEAD)


def _contradicted(near: Nearness, words: frozenset[str]) -> set[str]:
    """Targets that a word of the phrase excludes: "right" the spleen."""
    conflicts = read_synonyms().conflicts
    return {name for name in near.targets if words & conflicts.get(name, frozenset())}


def _to_resolution(phrase: str, found: Reading) -> Resolution:
    return Resolution(
        phrase,
        found.kind,
        found.target,
        found.qualifier or _find_side(phrase, found.target),
        found.read_as,
        found.several,
        family=found.family,
        members=_find_members(found),
    )


def _find_members(found: Reading) -> frozenset[str]:
    if found.family:
        return frozenset(read_families()[found.family].members)
    return found.among if found.kind == "vague" else frozenset()


def _find_side(phrase: str, target: str | None) -> str:
    """The one side that a phrase names anywhere and its target, an organ, does not: "hip_left", "rein gauche"."""
    if target is None or is_lesion(target):
        return ""
    sides = HORIZONTAL & set(to_words(phrase)) - set(to_words(_names([target])))
    return next(iter(sides)) if len(sides) == 1 else ""


def _resembling(phrase: str, known: frozenset[str]) -> tuple[str, ...]:
    """Targets that share a word with the phrase, then those that are spelt alike."""
    words = set(to_words(phrase))
    shared = [name for name in sorted(known) if words & set(to_words(find_target(name).phrases[0]))]
    alike = difflib.get_close_matches(phrase.casefold(), sorted(known), NAMES, 0.0)
    return tuple(dict.fromkeys((*shared, *alike)))[:NAMES]


def _names(targets: Iterable[str]) -> str:
    return ", ".join(find_target(name).phrases[0] for name in targets)
