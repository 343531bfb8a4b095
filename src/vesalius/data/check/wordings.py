"""What is wrong with prompts, by their words and by the mask they belong to."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache

from vesalius.data.check.facts import FileFacts
from vesalius.data.check.findings import CheckFinding, PlacedRecord
from vesalius.prompts import Variants
from vesalius.prompts.bank import read_bank
from vesalius.prompts.templates import sort_families, variants

EMPTY_BY_CUSTOM = "p0"
CLASSES = ("benign", "malignant")
"""Words of which at most one is true of an image."""
DENYING = re.compile(r"\b(no|not|none|nothing|without|absent|absence|free of|negative|normal|healthy)\b", re.IGNORECASE)
"""Words that, beside an empty mask, say why it is empty."""
DENIAL = re.compile(r"\s*(there (is|are) )?(no|without|absence of)\b", re.IGNORECASE)
"""How a wording begins that denies the object itself: "no polyp", but not "polyp with no stalk"."""
GAP = re.compile(r"\{[^{}]*\}|<\w+>|\b(nan|None|null|TODO)\b")
"""What a template leaves behind when nothing was filled in."""
USUAL = 0.5
"""A family that a larger share of the records has is expected of all."""


def check_wordings(rows: Sequence[PlacedRecord], facts: FileFacts) -> Iterator[CheckFinding]:
    """Families that are lacking, wordings with gaps, and wordings that tell or deny what the mask holds."""
    yield from _check_families(rows)
    for row in rows:
        yield from _check_words(row)
        mask = facts.masks.get(row.mask)
        if mask is not None:
            yield from _check_against_mask(row, mask.share)


def denials(prompts: Mapping[str, Variants], *, firm: bool = False) -> dict[str, str]:
    """Families whose wordings say that nothing is there, with the first such wording.

    Args:
        prompts: A record's prompts.
        firm: Whether only wordings count that cannot mean anything else.

    >>> denials({"p0": "", "p1": "no polyp", "p2": ["a polyp", "normal mucosa"]})
    {'p1': 'no polyp', 'p2': 'normal mucosa'}
    """
    says_so = _denies_firmly if firm else _denies
    found = {family: next(filter(says_so, variants(prompts, family)), None) for family in sort_families(prompts)}
    return {family: wording for family, wording in found.items() if wording is not None}


def find_contradiction(one: Mapping[str, Variants], other: Mapping[str, Variants]) -> str | None:
    """How two records' prompts exclude each other, for images that show the same.

    They do if one names the class that excludes the other's, or denies in the other's words.

    >>> find_contradiction({"p1": "benign tumor"}, {"p1": "malignant tumor"})
    'benign and malignant'
    >>> find_contradiction({"p1": "No tumor"}, {"p1": "one small tumor"})
    '“No tumor” and “one small tumor”'
    """
    first, second = _classes(one), _classes(other)
    if first and second and not first & second:
        return f"{', '.join(sorted(first))} and {', '.join(sorted(second))}"
    return _denied_by(one, other) or _denied_by(other, one)


def _classes(prompts: Mapping[str, Variants]) -> set[str]:
    return {name for name in CLASSES if any(name in _words(wording) for wording in _wordings(prompts))}


def _denied_by(denying: Mapping[str, Variants], asking: Mapping[str, Variants]) -> str | None:
    if denials(asking, firm=True):
        return None
    for denial in denials(denying, firm=True).values():
        denied = _words(DENYING.sub("", denial))
        match = next((wording for wording in _wordings(asking) if denied and denied <= _words(wording)), None)
        if match:
            return f"“{denial}” and “{match}”"
    return None


def _wordings(prompts: Mapping[str, Variants]) -> list[str]:
    return [wording for family in sort_families(prompts) for wording in variants(prompts, family)]


def _words(text: str) -> set[str]:
    return set(re.findall(r"[^\W_]+", text.lower()))


def _denies(wording: str) -> bool:
    return bool(DENYING.search(wording)) or _denies_firmly(wording)


def _denies_firmly(wording: str) -> bool:
    return bool(DENIAL.match(wording)) or _plain(wording) in _known_absences()


@cache
def _known_absences() -> frozenset[str]:
    return frozenset(_plain(phrase) for target in read_bank().values() for phrase in target.absences)


def _plain(wording: str) -> str:
    return wording.strip().rstrip(".").lower()


def _check_families(placed: Sequence[PlacedRecord]) -> Iterator[CheckFinding]:
    """Compare the families of records with one another; those about absent things have families of their own."""
    rows = [row for row in placed if not row.record.absent]
    counts = Counter(family for row in rows for family in row.record.prompts)
    usual = {family for family, count in counts.items() if count > USUAL * len(rows)}
    for row in rows:
        lacking, rare = usual - row.record.prompts.keys(), row.record.prompts.keys() - usual
        if lacking:
            message = (
                f"{row.image}: prompts lack {_join(lacking)}, which most records have; {_tally(lacking, counts, rows)}."
            )
            yield row.finding("lacking_family", message, families=sort_families(list(lacking)))
        if rare:
            message = f"{row.image}: prompts have {_join(rare)}, which most records lack; {_tally(rare, counts, rows)}."
            yield row.finding("rare_family", message, families=sort_families(list(rare)))


def _join(families: Iterable[str]) -> str:
    return ", ".join(sort_families(list(families)))


def _tally(families: Iterable[str], counts: Mapping[str, int], rows: Sequence[PlacedRecord]) -> str:
    return ", ".join(f"{family}: {counts[family]} of {len(rows)}" for family in sort_families(list(families)))


def _check_words(row: PlacedRecord) -> Iterator[CheckFinding]:
    prompts = row.record.prompts
    for family in sort_families(prompts):
        wordings = variants(prompts, family)
        if family != EMPTY_BY_CUSTOM and not all(wording.strip() for wording in wordings):
            yield row.finding("blank_prompt", f"{row.image}: '{family}' has no words.")
        for wording in filter(GAP.search, wordings):
            message = f"{row.image}: '{family}' was not filled in: “{wording}”."
            yield row.finding("unfilled_prompt", message)


def _check_against_mask(row: PlacedRecord, share: float) -> Iterator[CheckFinding]:
    found = denials(row.record.prompts, firm=share > 0)
    if not found:
        return
    families, wording = ", ".join(found), next(iter(found.values()))
    if share == 0:
        message = f"{row.image}: {families} say “{wording}” and the mask is empty."
        yield row.finding("prompt_gives_answer", message, families=list(found))
    else:
        message = f"{row.image}: {families} say “{wording}” and {share:.2%} of the image is marked."
        yield row.finding("prompt_denies_mask", message, families=list(found))
