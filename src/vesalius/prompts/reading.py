"""What words alone say of a phrase: what it names, denies, leaves out, or asks for beside something else.

What they leave open, ``targets.py`` decides by sentence vectors.
"""

import re
from dataclasses import replace

from vesalius.prompts.bank import find_target
from vesalius.prompts.denials import find_all_else, find_bounded, find_denial, list_denied
from vesalius.prompts.foreign import translate
from vesalius.prompts.lexicon import (
    Names,
    Words,
    is_lesion,
    join,
    read_lexicon,
    read_names,
    split_phrase,
    strip_request,
    to_words,
)
from vesalius.prompts.noun_phrases import (
    HORIZONTAL,
    NUMBERED,
    Reading,
    list_spans,
    look_up,
    read_family,
    read_noun_phrase,
)
from vesalius.prompts.shorthand import spell_out
from vesalius.prompts.spelling import correct, correct_request

FEWEST = 2
"""Words that a vector needs to decide anything; with only so many, none may be strange."""
_ABBREVIATION = re.compile(r"\b[A-Z][A-Z0-9]{1,4}\b")
_LONGEST_NAME = 8
_CLAUSES = frozenset({"that", "which", "where", "who", "whose", "when", "while", "if", "than"})
_JOINED = re.compile(
    r"\s*(?:\.|->|\s[–-])\s+|\s*[&+/\\|;•·→]\s*|\b(?:but also|as well as|along with|then|vs|versus|et|y|e)\b",
    re.IGNORECASE,
)
"""What stands for "and" between names, and else means nothing that is told apart."""


def read_phrase(phrase: str, known: frozenset[str]) -> Reading:
    """What words say of a phrase.

    Args:
        phrase: Any.
        known: Learnt targets, rows of the prompt bank.
    """
    names = read_names(known)
    phrase, said = spell_out(phrase), to_words(phrase)
    words = to_words(phrase)
    if not words:
        return Reading("unknown" if phrase.strip() else "vague")
    if words != said and said[-1:] != (",",) and (found := look_up(said, names)):  # a name with shorthand in it
        return found
    if not look_up(words, names) and (english := translate(phrase)):
        translated = to_words(english)
        found = _read_words(english, _without_imaging(translated), known)
        if found.kind != "unknown" and found.settled:
            return replace(found, read_as=find_target(found.target).phrases[0]) if found.target else found
        if not _ends_in_english(words, translated, names):  # sentence vectors know no other language
            return Reading("unknown", strange=True)
    return _read_words(phrase, words, known)


def _without_imaging(words: Words) -> Words:
    """Without what says that it is a picture: "ct of spleen"."""
    imaging = read_lexicon().imaging
    place = next((place for place, word in enumerate(words) if word not in imaging), 0)
    return words[place + 1 :] if place and words[place] in ("of", "in") else words


def _ends_in_english(words: Words, translated: Words, names: Names) -> bool:
    """Whether other words come before a target's English name, as in "de Quervain thyroid", and none that links it."""
    return any(
        words[-length:] == translated[-length:]
        and translated[-length - 1] not in read_lexicon().cuts
        and _is_english(join(words[-length:]), names)
        for length in range(1, min(len(words), len(translated)))
    )


def _is_english(key: str, names: Names) -> bool:
    """Whether the bank itself names a target so, and no table of synonyms."""
    return key in names.targets and key not in names.synonyms


def _read_words(phrase: str, words: Words, known: frozenset[str]) -> Reading:
    names = read_names(known)
    joined = _JOINED.sub(" and ", phrase)
    if joined != phrase and (found := _read_several(strip_request(to_words(joined)), names)):
        return found
    if found := look_up(words, names) or _read_denial(phrase, known) or _read_bounded(phrase, known):
        return found
    words = strip_request(words)
    if found := look_up(words, names) or _read_several(words, names) or _read_row(words, names):
        return found
    place, length = _find_neighbour(words)
    if length and not place:  # what lies around the liver is not the liver
        return Reading("unknown", located=True)
    found = read_family(words, names) or read_noun_phrase(words, names)
    if found.kind == "target" and found.settled:
        return found
    return _read_corrected(words, names) or _limit(found, phrase, words, names)


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
    telling = [word for word in words if word not in empty and not NUMBERED.fullmatch(word)]
    strange = [word for word in telling if word not in names.words]
    named = any(_is_english(join(span), names) for span in list_spans(words))
    return not strange or len(strange) < len(telling) > FEWEST or named


def _find_neighbour(words: Words) -> tuple[int, int]:
    """Place and length of the first word, or words, such as "beside"; the length is 0 if there is none."""
    entries = read_lexicon().neighbours
    lengths = sorted({len(entry) for entry in entries}, reverse=True)
    found = ((place, n) for place in range(len(words)) for n in lengths if words[place : place + n] in entries)
    return next(found, (0, 0))


def _targets_in(words: Words, names: Names) -> frozenset[str]:
    keys = (join(span) for span in list_spans(words) if len(span) <= _LONGEST_NAME)
    return frozenset(names.targets[key] for key in keys if key in names.targets)


def _read_denial(phrase: str, known: frozenset[str]) -> Reading | None:
    """As "no polyp" or "a bowel without polyps"; but "a brain without the skull" is a brain."""
    if not (found := find_denial(phrase)):
        return None
    whole, what = found
    denied = read_phrase(what, known)
    if denied.kind not in ("target", "vague") and len(each := list_denied(what)) > 1:
        denied = next((one for one in (read_phrase(one, known) for one in each) if _is_named(one)), denied)
        denied = replace(denied, target=None)  # as there are others
    if whole and (denied.target is None or not is_lesion(denied.target)):
        nothing = len(to_words(whole)) <= FEWEST and any(map(is_lesion, denied.among))  # "breast without a mass"
        return _read_whole(whole, phrase, known) or (Reading("denial") if nothing else None)
    return Reading("denial", denied.target) if _is_named(denied) else Reading("unknown")


def _is_named(found: Reading) -> bool:
    """Whether words settle that it is something learnt."""
    return found.settled and found.kind in ("target", "vague")


def _read_bounded(phrase: str, known: frozenset[str]) -> Reading | None:
    """As "liver but not the tumour", which is the liver; all but the liver was not learnt."""
    if (others := find_all_else(phrase)) and read_phrase(others, known).target:
        return Reading("unknown")
    return _read_whole(whole, phrase, known) if (whole := find_bounded(phrase)) else None


def _read_whole(whole: str, phrase: str, known: frozenset[str]) -> Reading | None:
    """The organ of which a phrase leaves something out, which is not told apart."""
    found = read_phrase(whole, known)
    if found.kind != "target" or not found.settled:
        return None
    before, _, after = " ".join(phrase.split()).casefold().partition(whole)
    bounds = f"{before} {after}".strip(" ,.!?")
    return replace(found, qualifier=" ".join(filter(None, (found.qualifier, bounds))))


def _read_several(words: Words, names: Names) -> Reading | None:
    """As "left kidney and spleen"; "SDH or EDH" is one target by two names."""
    pieces = " ".join(words).replace(" , ", " and ").replace(" plus ", " and ").replace(" or ", " and ").split(" and ")
    if len(pieces) < 2:
        return None
    each_words = _share_noun([strip_request(tuple(piece.split())) for piece in pieces if piece])
    found = [look_up(each, names) for each in each_words]
    if None not in found:
        named = [_name_one(each) for each in found if each]
        targets = tuple(dict.fromkeys(filter(None, named)))
        if len(targets) == 1 and all(named):
            return found[0]
        if len(targets) > 1:
            return Reading("several", several=targets)
    return None if _is_clause(words) else _read_pieces(each_words, names, listed="," in words)


def _is_clause(words: Words) -> bool:
    """Whether it describes a thing, or tells what it lies near: then not all that it names is asked for."""
    return bool(_find_neighbour(words)[1] or _CLAUSES & set(words))


def _read_pieces(pieces: list[Words], names: Names, *, listed: bool) -> Reading | None:
    """More than one target with whatever stands beside their names: "enlarged liver and a small left kidney".

    "Tumour and liver" are two, but "liver, tumour" may be one.
    """
    targets: dict[str, None] = {}
    lesion: Words = ()
    families = placed = False
    for piece in pieces:
        found = look_up(piece, names) or read_family(piece, names) or read_noun_phrase(piece, names)
        target = found.target if found.settled and not _is_aside(piece, found.target) else None
        if lesion and target and not is_lesion(target):  # a polyp of the stomach and colon
            target = read_noun_phrase((*lesion, *piece), names).target
        phrase = split_phrase(piece)
        placed |= bool(phrase.link)
        if phrase.link and target and is_lesion(target):
            lesion = (*phrase.head, *phrase.link.split())
        families |= found.settled and any(map(is_lesion, found.among))
        targets |= dict.fromkeys(filter(None, [target]))
    more = len(targets) > 1 or (families and targets and not listed and not placed and not any(map(is_lesion, targets)))
    return Reading("several", several=tuple(targets)) if more else None


def _is_aside(piece: Words, target: str | None) -> bool:
    """Whether a piece may say more of what another names: "PA view" of a film, "entire gland", a cell's "nucleus"."""
    lexicon = read_lexicon()
    return target in lexicon.within or set(piece) <= lexicon.harmless | lexicon.imaging | lexicon.transparent


def _read_row(words: Words, names: Names) -> Reading | None:
    """Names of several organs in a row, and nothing that is not said of one: "LV RV", "left lung, heart"."""
    lexicon = read_lexicon()
    beside = lexicon.harmless | lexicon.sides | lexicon.imaging | {",", "or"}
    targets: dict[str, None] = {}
    place = 0
    while place < len(words):
        keys = {end: join(words[place:end]) for end in range(min(len(words), place + _LONGEST_NAME), place, -1)}
        end = next((end for end, key in keys.items() if key in names.targets or key in names.unlearnt), place)
        if end <= place + 1 and (words[place] in beside or words[place : place + 1] in lexicon.parts):
            end = place + 1
        elif end == place:
            return None
        elif keys[end] in names.targets:
            targets[names.targets[keys[end]]] = None
        place = end
    organs = [name for name in targets if not is_lesion(name) and name not in lexicon.within]
    apart = [name for name in organs if not any(name in lexicon.holds.get(other, ()) for other in organs)]
    return Reading("several", several=tuple(targets)) if len(apart) > 1 else None


def _name_one(found: Reading) -> str | None:
    """The target that is named, if only by a word that may mean no other, as "cup"."""
    return next(iter(found.among), None) if len(found.among) == 1 else found.target if found.kind == "target" else None


def _share_noun(pieces: list[Words]) -> list[Words]:
    """Give sides the noun that follows: "left and right ventricle"."""
    if not pieces or pieces[-1][:1] == pieces[-1] or not set(pieces[-1][:1]) & HORIZONTAL:
        return pieces
    return [(*each, *pieces[-1][1:]) if set(each) <= HORIZONTAL else each for each in pieces]


def _read_corrected(words: Words, names: Names) -> Reading | None:
    """With the words that are no words taken for words for asking, which say nothing, or for names they resemble."""
    asked = correct_request(words, names)
    corrected = tuple(correct(word, names) for word in asked)
    if corrected == words:
        return None
    found = look_up(corrected, names) or _read_several(corrected, names)
    found = found or read_family(corrected, names) or read_noun_phrase(corrected, names)
    if found.kind not in ("target", "vague", "several"):
        return None
    changed = [new for old, new in zip(asked, corrected, strict=True) if old != new]
    return replace(found, read_as=found.read_as or " ".join(changed or corrected))
