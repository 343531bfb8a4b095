"""What the words of one name say: whether it is what a phrase is about, so that a kidney stone is no kidney."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from vesalius.prompts.bank import find_target
from vesalius.prompts.lexicon import Names, NounPhrase, Words, is_lesion, join, name_words, read_lexicon, split_phrase

PhraseKind = Literal["target", "vague", "denial", "several", "unknown"]
NUMBERED = re.compile(r"[a-z]?\d+")
HORIZONTAL = frozenset({"left", "right"})
"""Sides of which one may be asked for."""
_WITHIN = ("of", "in", "within", "inside", "on", "at", "from", "into", "inside of", "bulging from", "through")
_PLACED = (",", "on", "at")
"""What stands between an organ's name and its side or piece: "kidneys, left", "lung on the right"."""
_LABELLED = re.compile(r"[a-z]\d+")


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


def look_up(words: Words, names: Names) -> Reading | None:
    """The whole of it is a name."""
    key = join(words)
    if key in names.targets:
        return _mean(key, names)
    if key in names.vague:
        return read_family(words, names) or Reading("vague", among=names.vague[key])
    if key in names.denials:
        return Reading("denial", names.denials[key])
    return Reading("unknown") if key in names.unlearnt else None


def _mean(key: str, names: Names, qualifier: str = "", *, settled: bool = True) -> Reading:
    """The target with this name; one that the prompt bank lacks is told by the plain name."""
    target = names.targets[key]
    read_as = find_target(target).phrases[0] if key in names.synonyms else ""
    return Reading("target", target, settled=settled, qualifier=qualifier, read_as=read_as)


def read_family(words: Words, names: Names) -> Reading | None:
    """A word for a family of targets, with nothing beside it that says more: "a small dark mass on the left"."""
    if family := names.families.get(join(words)):
        return Reading("vague", family=family, among=names.vague[join(words)])
    phrase = split_phrase(words)
    for start in range(len(phrase.head)):
        key, beside = join(phrase.head[start:]), (*phrase.head[:start], *phrase.complement, *phrase.rest)
        if key in names.families:
            lesion = next(filter(is_lesion, names.vague[key]), None)
            found = Reading(
                "vague", qualifier=_find_sides(beside, ()), family=names.families[key], among=names.vague[key]
            )
            return found if _is_harmless(beside, lesion) else None
        if key in names.targets or key in names.unlearnt:
            return None
    return None


def read_noun_phrase(words: Words, names: Names) -> Reading:
    """What a name with what stands before and after it is about."""
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
    return look_up(words, names) or read_noun_phrase(words, names)


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
    for first in list_spans(phrase.complement):
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


def list_spans(words: Words) -> Iterator[Words]:
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
    return word in read_lexicon().sides or (word,) in read_lexicon().parts or NUMBERED.fullmatch(word) is not None


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
    if phrase.link == "of" and _is_elsewhere(target, phrase.complement, names):
        return Reading("unknown")
    certain = _is_harmless(before, target) and (
        phrase.link.endswith("with") or _is_fitting(target, phrase.complement, names)
    )
    if key in names.synonyms and not certain:
        return Reading("unknown", settled=False, barred=frozenset({target}))
    qualifier = (_find_sides(before, ()), "" if is_lesion(target) else _find_piece(phrase))
    return _mean(key, names, " ".join(filter(None, qualifier)), settled=certain)


def _is_cut(before: Words, key: str, names: Names) -> bool:
    """Whether a name of another target begins before this one and ends in it: the "large bowel" of its loops."""
    whole = join(before) + key
    starts = [len(join(before[:place])) for place in range(len(before))]
    ends = range(len(whole) - len(key) + 1, len(whole))
    return any(names.targets.get(whole[a:b], names.targets[key]) != names.targets[key] for a in starts for b in ends)


def _is_everyday(words: Words, names: Names) -> bool:
    """As a dog or a book, but not a person."""
    return any(join(span) in names.everyday and span not in read_lexicon().people for span in list_spans(words))


def _is_fitting(target: str, complement: Words, names: Names) -> bool:
    """Whether nothing in the complement makes it another thing, such as a tumour elsewhere."""
    words = _without_sides(complement)
    if words in read_lexicon().people:
        return True
    shown = {target, *find_target(target).may_show}
    lesion = is_lesion(target)
    for key in map(join, list_spans(words)):
        strange = key in names.unlearnt and key not in names.devices
        if lesion and (strange or names.targets.get(key, target) not in shown):
            return False
    return True


def _is_elsewhere(target: str, complement: Words, names: Names) -> bool:
    """Whether it is said to be of an organ that it is not of: the "left ventricle of the brain"."""
    whole = names.targets.get(join(_without_sides(complement)), target)
    return not is_lesion(target) and whole not in {target, *find_target(target).may_show}


def _read_vague(key: str, before: Words, phrase: NounPhrase, names: Names) -> Reading:
    if _is_harmless((*before, *phrase.complement, *phrase.rest)):
        return Reading("vague", among=names.vague[key])
    barred = _find_barred(before, phrase.complement, names) - names.vague[key]
    named = frozenset(word for span in _find_named(phrase.complement, names) for word in span)
    of = named if any(map(is_lesion, names.vague[key])) else frozenset()
    kind: PhraseKind = "unknown" if before or named else "vague"
    return Reading(kind, settled=False, barred=barred, of=of, among=names.vague[key])


def _find_named(words: Words, names: Names) -> list[Words]:
    """Names among the words."""
    return [span for span in list_spans(words) if join(span) in names.targets or join(span) in names.unlearnt]


def _is_harmless(words: Words, target: str | None = None) -> bool:
    """Whether words beside a name leave it what it is."""
    lexicon = read_lexicon()
    plain = lexicon.harmless | lexicon.sides | lexicon.imaging
    words = tuple(word for word in words if not NUMBERED.fullmatch(word))
    if target and is_lesion(target):
        plain |= lexicon.of_lesions
    return all(word in plain or (word,) in lexicon.people for word in words)


def _find_sides(words: Words, name: Words) -> str:
    """Words for sides that are not part of the name."""
    sides = (word for word in words if word in read_lexicon().sides or _LABELLED.fullmatch(word))
    return " ".join(word for word in sides if word not in name)


def _find_piece(phrase: NounPhrase) -> str:
    """The side or piece that is put after a name."""
    sides = set(phrase.complement) & HORIZONTAL
    pieces = phrase.link in _PLACED and all(map(_is_piece, phrase.complement)) and len(sides) < 2
    return " ".join(phrase.complement) if pieces else ""


def _find_barred(before: Words, complement: Words, names: Names, last: str = "") -> frozenset[str]:
    """Targets that are named, but not by the head's last word, which none of their names has."""
    named = (names.targets.get(join(span)) for span in (*list_spans(before), *list_spans(complement)))
    return frozenset(name for name in named if name and last not in name_words(name))
