"""Ordinary phrases for segmentation targets, read from ``bank.toml``."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from vesalius.errors import PromptError, unknown_name

DISTRACTORS = "distractors"
REQUESTS = "requests"


@dataclass(frozen=True)
class Target:
    """Something that can be outlined, and the words for it."""

    phrases: tuple[str, ...]
    """Ordinary ways to name it."""
    absences: tuple[str, ...] = ()
    """Phrases that assert it is not there."""
    may_show: tuple[str, ...] = ()
    """Other targets, or distractors, that its images may show as well."""
    compounds: tuple[str, ...] = ()
    """Each plain word for it in each place where its images show it, and in each way of asking."""
    vague: tuple[str, ...] = ()
    """What means it on its own images, and may mean something else on others."""

    @property
    def wordings(self) -> tuple[tuple[str, ...], ...]:
        """All that names it on its own images, in groups that matter alike."""
        return tuple(group for group in (self.phrases, self.compounds, self.vague) if group)


@cache
def read_bank() -> Mapping[str, Target]:
    """All targets by name; ``distractors`` holds phrases for things that images show no more than ``may_show`` says."""
    tables = tomllib.loads(files("vesalius.prompts").joinpath("bank.toml").read_text(encoding="utf-8"))
    return to_bank(tables)


def to_bank(tables: Mapping[str, Mapping[str, Sequence[str]]]) -> Mapping[str, Target]:
    """The tables of a bank as targets.

    Raises:
        PromptError: If ``may_show`` has an entry that is neither another target nor a distractor; naming the closest.
    """
    requests = tables.get(REQUESTS, {}).get("phrases", ())
    bank = {name: _to_target(row, requests) for name, row in tables.items() if name != REQUESTS}
    for name, target in bank.items():
        known = {*bank.keys() - {name, DISTRACTORS}, *bank[DISTRACTORS].phrases}
        for entry in target.may_show:
            if entry not in known:
                message = unknown_name("other target or distractor", entry, known)
                raise PromptError(f"Prompt bank, [{name}], may_show: {message}")
    return bank


def _to_target(row: Mapping[str, Sequence[str]], requests: Sequence[str]) -> Target:
    nouns = row.get("nouns", ())
    placed = (f"{noun} {place}" for noun in nouns for place in row.get("places", ()))
    asked = (request.format(noun) for noun in nouns for request in requests)
    fields = {name: tuple(words) for name, words in row.items() if name not in ("nouns", "places")}
    return Target(**fields, compounds=(*placed, *asked))


def find_target(name: str) -> Target:
    """One target of the bank.

    Raises:
        PromptError: Naming the closest target that exists.
    """
    if name not in list_targets():
        raise PromptError(unknown_name("target", name, list_targets()))
    return read_bank()[name]


def list_targets() -> tuple[str, ...]:
    """Names of the targets."""
    return tuple(name for name in read_bank() if name != DISTRACTORS)


def foreign_targets(target: str) -> Mapping[str, Target]:
    """The other targets by name, without those that images of ``target`` may show as well."""
    shown = {target, DISTRACTORS, *find_target(target).may_show}
    return {name: row for name, row in read_bank().items() if name not in shown}


def foreign_phrases(target: str) -> tuple[tuple[str, ...], ...]:
    """Phrases whose answer on an image of ``target`` is "nothing", in groups that matter alike.

    Returns:
        The target's absences, the plain names of all foreign targets, each one's phrases with its compounds, and the
        distractors, none of which its images may show.
    """
    foreign, shown = foreign_targets(target).values(), find_target(target).may_show
    distractors = tuple(phrase for phrase in read_bank()[DISTRACTORS].phrases if phrase not in shown)
    names = tuple(row.phrases[0] for row in foreign)
    return (find_target(target).absences, names, *(row.phrases + row.compounds for row in foreign), distractors)
