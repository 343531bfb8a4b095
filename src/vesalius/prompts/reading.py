"""What words alone say of a phrase: whether a name is what it is about, so that a kidney stone is no kidney.

What they leave open, ``targets.py`` decides by sentence vectors.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from vesalius.prompts.bank import find_target
from vesalius.prompts.lexicon import (
    Names,
    NounPhrase,
    Words,
    correct,
    correct_request,
    find_denial,
    is_lesion,
    join,
    name_words,
    read_lexicon,
    read_names,
    split_phrase,
    strip_request,
    to_words,
)

PhraseKind = Literal["target", "vague", "denial", "several", "unknown"]
FEWEST = 2
"""Words that a vector needs to decide anything; with only so many, none may be strange."""
_WITHIN = ("of", "in", "within", "inside", "on", "at", "from", "into", "inside of", "bulging from", "through")
_NUMBERED = re.compile(r"[a-z]?\d+")
_LABELLED = re.compile(r"[a-z]\d+")
_ABBREVIATION = re.compile(r"\b[A-Z][A-Z0-9]{1,4}\b")
_LONGEST_NAME = 8


@dataclass(frozen=True)
class Reading:
    """What words say of a phrase."""

    kind: PhraseKind
    target: str | None = None
    settled: bool = True
    """Whether nothing else is to be asked."""
    qualifier: str = ""
    read_as: str = ""
    barred: frozenset[str] = frozenset()
    """Targets that it names, but is not about: the kidney of "kidney stone"."""
    of: frozenset[str] = frozenset()
    """Words of what it is a part or a lesion of, one of which the target's names must have."""
    among: frozenset[str] = frozenset()
    """Targets that its vague word may mean."""
    family: str | None = None
    """Family of targets that it names, if nothing beside its name says more."""
    located: bool = False
    """Whether it tells by a word such as "beside" where a thing is, more than what it is."""
    strange: bool = False
    """Whether it has too many words or abbreviations that no list has for its sentence to be trusted."""
    several: tuple[str, ...] = ()


def read_phrase(phrase: str, known: frozenset[str]) -> Reading:
    """What words say of a phrase.

    Args:
        phrase: Any.
        known: Learnt targets, rows of the prompt bank.
    """
    names = read_names(known)
    words = to_words(phrase)
    if not words:
        return Reading("vague")
    if found := _look_up(words, names):
        return found
    if denied := _read_denial(phrase, known):
        return denied
    words = strip_request(words)
    if found := _look_up(words, names) or _read_several(words, names):
        return found
    found = _read_family(words, names) or _read_noun_phrase(words, names)
    if found.kind == "target" and found.settled:
        return found
    return _read_corrected(words, names) or _limit(found, phrase, words, names)


def _mean(key: str, names: Names, qualifier: str = "", *, settled: bool = True) -> Reading:
    """The target with this name; one that the prompt bank lacks is told by the plain name."""
    target = names.targets[key]
    read_as = find_target(target).phrases[0] if key in names.synonyms else ""
    return Reading("target", target, settled=settled, qualifier=qualifier, read_as=read_as)


def _limit(found: Reading, phrase: str, words: Words, names: Names) -> Reading:
    """What sentence vectors may not decide: strange words, abbreviations, and what a phrase only says to be near."""
    if found.target or (found.settled and found.kind != "unknown"):
        return found
    place, length = _find_neighbour(words)
    if length and not any(map(is_lesion, found.among)):
        found = replace(found, kind="unknown", located=True)
    if found.kind == "unknown" and not _is_telling(phrase, words, names):
        return replace(found, settled=True, strange=True)
    near = _targets_in(words[place + length :], names) - _targets_in(words[:place], names) if length else frozenset()
    return replace(found, barred=found.barred | (_targets_in(words, names) if found.settled else near))


def _is_telling(phrase: str, words: Words, names: Names) -> bool:
    """Whether it says enough for its vector to be trusted: two words at least, and strange ones among others only."""
    lexicon = read_lexicon()
    if len(words) < FEWEST or set(to_words(" ".join(_ABBREVIATION.findall(phrase)))) - names.words - lexicon.imaging:
        return False
    empty = lexicon.harmless | lexicon.sides | lexicon.cuts | lexicon.imaging
    telling = [word for word in words if word not in empty and not _NUMBERED.fullmatch(word)]
    strange = [word for word in telling if word not in names.words]
    named = any(key in names.targets and key not in names.synonyms for key in map(join, _spans(words)))
    return not strange or len(strange) < len(telling) > FEWEST or named


def _find_neighbour(words: Words) -> tuple[int, int]:
    """Place and length of the first word, or words, such as "beside"; the length is 0 if there is none."""
    entries = read_lexicon().neighbours
    lengths = sorted({len(entry) for entry in entries}, reverse=True)
    found = ((place, n) for place in range(len(words)) for n in lengths if words[place : place + n] in entries)
    return next(found, (0, 0))


def _targets_in(words: Words, names: Names) -> frozenset[str]:
    keys = (join(span) for span in _spans(words) if len(span) <= _LONGEST_NAME)
    return frozenset(names.targets[key] for key in keys if key in names.targets)


def _look_up(words: Words, names: Names) -> Reading | None:
    """The whole of it is a name."""
    key = join(words)
    if key in names.targets:
        return _mean(key, names)
    if key in names.vague:
        return _read_family(words, names) or Reading("vague")
    if key in names.denials:
        return Reading("denial", names.denials[key])
    return Reading("unknown") if key in names.unlearnt else None


def _read_denial(phrase: str, known: frozenset[str]) -> Reading | None:
    """As "no polyp" or "a bowel without polyps"; but "a brain without the skull" is a brain."""
    if not (found := find_denial(phrase)):
        return None
    whole, what = found
    denied = read_phrase(what, known)
    if whole and (denied.target is None or not is_lesion(denied.target)):
        return None
    if not denied.settled or denied.kind not in ("target", "vague"):
        return Reading("unknown")
    return Reading("denial", denied.target)


def _read_several(words: Words, names: Names) -> Reading | None:
    """As "liver and spleen"; "SDH or EDH" is one target by two names."""
    pieces = " ".join(words).replace(" , ", " and ").replace(" plus ", " and ").replace(" or ", " and ").split(" and ")
    if len(pieces) < 2:
        return None
    found = [_look_up(strip_request(tuple(piece.split())), names) for piece in pieces if piece]
    targets = tuple(dict.fromkeys(each.target for each in found if each and each.kind == "target" and each.target))
    if None in found or not targets:
        return None
    if len(targets) == 1 and all(each and each.target for each in found):
        return found[0]
    return Reading("several", several=targets) if len(targets) > 1 else None


def _read_noun_phrase(words: Words, names: Names) -> Reading:
    phrase = split_phrase(words)
    return _read_relation(phrase, words, names) or _read_compound(phrase, names) or _read_piece(phrase, words, names)


def _read_relation(phrase: NounPhrase, words: Words, names: Names) -> Reading | None:
    """The "outline of the liver" and a "transverse view of the liver" are the liver."""
    relations = read_lexicon().relations
    if phrase.link != "of" or not phrase.complement:
        return None
    if _without_sides(phrase.head) in relations:
        return _read_rest(words[len(phrase.head) + 1 :], names)
    if phrase.head[-1:] in relations and not _find_named(phrase.head[:-1], names):
        return _doubt(words[len(phrase.head) + 1 :], phrase.head[:-1], names)
    if _without_sides(phrase.head) in read_lexicon().lesion_relations:
        found = _read_rest(words[len(phrase.head) + 1 :], names)
        return found if found.target and is_lesion(found.target) else None
    return None


def _read_piece(phrase: NounPhrase, words: Words, names: Names) -> Reading:
    """The "upper pole of the kidney" is a piece of it; all else goes by the head."""
    pieces = all((word,) in read_lexicon().parts for word in _without_sides(phrase.head))
    if phrase.link != "of" or not phrase.complement or not pieces:
        return _read_head(phrase, names)
    found = _read_rest(words[len(phrase.head) + 1 :], names)
    return replace(found, qualifier=" ".join((*phrase.head, *found.qualifier.split())))


def _read_rest(words: Words, names: Names) -> Reading:
    return _look_up(words, names) or _read_noun_phrase(words, names)


def _doubt(what: Words, before: Words, names: Names) -> Reading:
    """A "transverse view of the liver" is the liver; a "dark area of the breast" may be anything."""
    found = _read_rest(what, names)
    if found.kind == "target" and _is_harmless(before):
        return found
    barred = {found.target} if found.target and join(what) in names.shared else set()
    return Reading("unknown", settled=False, barred=frozenset(barred))


def _without_sides(words: Words) -> Words:
    lexicon = read_lexicon()
    return tuple(word for word in words if word not in lexicon.sides and word not in lexicon.harmless)


def _read_compound(phrase: NounPhrase, names: Names) -> Reading | None:
    """A "tumour of the liver" is a liver tumour, a "valve of the heart" a heart valve."""
    if phrase.link not in _WITHIN:
        return None
    longest = next(
        (start for start in range(len(phrase.head)) if _is_name(phrase.head[start:], names)), len(phrase.head) - 1
    )
    for first in _spans(phrase.complement):
        for start in range(longest + 1):
            key, before = join((*first, *phrase.head[start:])), phrase.head[:start]
            if key in names.targets and _is_harmless(before, names.targets[key]):
                return _mean(key, names, _find_sides((*before, *phrase.complement), first))
            if key in names.unlearnt:
                return Reading("unknown")
    return None


def _is_name(words: Words, names: Names) -> bool:
    key = join(words)
    return key in names.targets or key in names.vague or key in names.unlearnt


def _spans(words: Words) -> Iterator[Words]:
    """All runs of words, the longest first."""
    for length in range(len(words), 0, -1):
        for start in range(len(words) - length + 1):
            yield words[start : start + length]


def _read_head(phrase: NounPhrase, names: Names) -> Reading:
    """By the longest name that the head ends with, but for pieces and sides ("femoral neck", "kidney left")."""
    pieces: Words = ()
    head = _strip_transparent(phrase.head, names)
    while len(head) > 1 and _is_piece(head[-1]) and not _ends_named(head, names):
        head, pieces = head[:-1], (head[-1], *pieces)
    found = _read_name(head, phrase, names)
    if pieces and found.target is None:
        return Reading("unknown", settled=False, barred=_find_barred(head, (), names))
    return replace(found, qualifier=" ".join((*found.qualifier.split(), *pieces)))


def _read_name(head: Words, phrase: NounPhrase, names: Names) -> Reading:
    for start in range(len(head)):
        key, before = join(head[start:]), head[:start]
        if key in names.targets:
            return _read_named(key, before, phrase, names)
        if key in names.vague:
            return _read_vague(key, before, phrase, names)
        if key in names.unlearnt:
            return Reading("unknown")
    last = head[-1] if head else ""
    disease = last.endswith(read_lexicon().diseases)
    return Reading("unknown", settled=disease, barred=_find_barred(head[:-1], phrase.complement, names, last))


def _is_piece(word: str) -> bool:
    """A side, a piece or a number ("L4", "segment 8")."""
    return word in read_lexicon().sides or (word,) in read_lexicon().parts or _NUMBERED.fullmatch(word) is not None


def _ends_named(words: Words, names: Names) -> bool:
    ends = [join(words[start:]) for start in range(len(words))]
    return any(key in names.targets or key in names.unlearnt for key in ends)


def _strip_transparent(head: Words, names: Names) -> Words:
    """Drop what adds nothing: "lung tissue" is lung, "mole cancerous" a mole; a name that ends so stays."""
    lexicon = read_lexicon()
    spare = lexicon.transparent | lexicon.harmless | lexicon.of_lesions
    while len(head) > 1 and head[-1] in spare and not _ends_named(head, names):
        head = head[:-1]
    return head


def _read_named(key: str, before: Words, phrase: NounPhrase, names: Names) -> Reading:
    if set(before) & names.changing or (phrase.link == "of" and _is_everyday(phrase.complement, names)):
        return Reading("unknown")
    target = names.targets[key]
    beside = (*before, *phrase.complement, *phrase.rest)
    if (key in names.shared and not _is_harmless(beside)) or _is_cut(before, key, names):
        return Reading("unknown", settled=False)
    certain = _is_harmless(before, target) and _is_fitting(target, phrase.complement, names)
    if key in names.synonyms and not certain:
        return Reading("unknown", settled=False, barred=frozenset({target}))
    return _mean(key, names, _find_sides(before, ()), settled=certain)


def _is_cut(before: Words, key: str, names: Names) -> bool:
    """Whether a name of another target begins before this one and ends in it: the "large bowel" of its loops."""
    whole = join(before) + key
    starts = [len(join(before[:place])) for place in range(len(before))]
    ends = range(len(whole) - len(key) + 1, len(whole))
    return any(names.targets.get(whole[a:b], names.targets[key]) != names.targets[key] for a in starts for b in ends)


def _is_everyday(words: Words, names: Names) -> bool:
    """As a dog or a book, but not a person."""
    return any(join(span) in names.everyday and span not in read_lexicon().people for span in _spans(words))


def _is_fitting(target: str, complement: Words, names: Names) -> bool:
    """Whether nothing in the complement makes it another thing, such as a tumour elsewhere."""
    words = _without_sides(complement)
    if words in read_lexicon().people:
        return True
    shown = {target, *find_target(target).may_show}
    lesion = is_lesion(target)
    for key in map(join, _spans(words)):
        strange = key in names.unlearnt and key not in names.devices
        if lesion and (strange or names.targets.get(key, target) not in shown):
            return False
    return True


def _read_vague(key: str, before: Words, phrase: NounPhrase, names: Names) -> Reading:
    if _is_harmless((*before, *phrase.complement, *phrase.rest)):
        return Reading("vague")
    barred = _find_barred(before, phrase.complement, names) - names.vague[key]
    named = frozenset(word for span in _find_named(phrase.complement, names) for word in span)
    of = named if any(map(is_lesion, names.vague[key])) else frozenset()
    kind: PhraseKind = "unknown" if before or named else "vague"
    return Reading(kind, settled=False, barred=barred, of=of, among=names.vague[key])


def _read_family(words: Words, names: Names) -> Reading | None:
    """A word for a family of targets, with nothing beside it that says more: "a small dark mass on the left"."""
    if family := names.families.get(join(words)):
        return Reading("vague", family=family)
    phrase = split_phrase(words)
    for start in range(len(phrase.head)):
        key, beside = join(phrase.head[start:]), (*phrase.head[:start], *phrase.complement, *phrase.rest)
        if key in names.families:
            lesion = next(filter(is_lesion, names.vague[key]), None)
            found = Reading("vague", qualifier=_find_sides(beside, ()), family=names.families[key])
            return found if _is_harmless(beside, lesion) else None
        if key in names.targets or key in names.unlearnt:
            return None
    return None


def _find_named(words: Words, names: Names) -> list[Words]:
    """Names among the words."""
    return [span for span in _spans(words) if join(span) in names.targets or join(span) in names.unlearnt]


def _is_harmless(words: Words, target: str | None = None) -> bool:
    """Whether words beside a name leave it what it is."""
    lexicon = read_lexicon()
    plain = lexicon.harmless | lexicon.sides | lexicon.imaging
    words = tuple(word for word in words if not _NUMBERED.fullmatch(word))
    if target and is_lesion(target):
        plain |= lexicon.of_lesions
    return all(word in plain or (word,) in lexicon.people for word in words)


def _find_sides(words: Words, name: Words) -> str:
    """Words for sides that are not part of the name."""
    sides = (word for word in words if word in read_lexicon().sides or _LABELLED.fullmatch(word))
    return " ".join(word for word in sides if word not in name)


def _find_barred(before: Words, complement: Words, names: Names, last: str = "") -> frozenset[str]:
    """Targets that are named, but not by the head's last word, which none of their names has."""
    named = (names.targets.get(join(span)) for span in (*_spans(before), *_spans(complement)))
    return frozenset(name for name in named if name and last not in name_words(name))


def _read_corrected(words: Words, names: Names) -> Reading | None:
    """With the words that are no words taken for words for asking, which say nothing, or for names they resemble."""
    asked = correct_request(words, names)
    corrected = tuple(correct(word, names) for word in asked)
    if corrected == words:
        return None
    found = _look_up(corrected, names) or _read_several(corrected, names)
    found = found or _read_family(corrected, names) or _read_noun_phrase(corrected, names)
    if found.kind not in ("target", "vague", "several"):
        return None
    changed = [new for old, new in zip(asked, corrected, strict=True) if old != new]
    return replace(found, read_as=found.read_as or " ".join(changed or corrected))
