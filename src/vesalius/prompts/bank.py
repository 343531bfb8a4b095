"""Ordinary phrases for segmentation targets, and further synonyms by which words alone know a target."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from vesalius.errors import PromptError, unknown_name
from vesalius.files import read_package_toml
from vesalius.prompts.modalities import find_modality

BANK = "prompts/bank.toml"
DISTRACTORS = "distractors"
REQUESTS = "requests"
GROUPS = "groups"
REGIONS = "regions"


@dataclass(frozen=True)
class KnownTarget:
    """A target that a model learnt."""

    name: str
    """Row of the prompt bank."""
    modalities: frozenset[str] = frozenset()
    """Kinds of pictures that it was learnt on, by their short names (`vesalius.prompts.modalities`); none where
    nothing says so."""

    def is_expected(self, modality: str | None) -> bool:
        """Whether it was learnt on pictures of this kind; true where either is not known.

        Args:
            modality: What `vesalius.prompts.modalities.find_modality` understands.
        """
        if modality is None or not self.modalities:
            return True
        return find_modality(modality) in self.modalities


@dataclass(frozen=True)
class Target:
    """Something that can be outlined, and the words for it."""

    phrases: tuple[str, ...]
    """Ordinary ways to name it."""
    absences: tuple[str, ...] = ()
    """Phrases that assert it is not there."""
    may_show: tuple[str, ...] = ()
    """Other targets, or distractors, that its images may show as well."""
    nouns: tuple[str, ...] = ()
    """Plain words for it."""
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
    return to_bank(read_package_toml(BANK))


def to_bank(tables: Mapping[str, Mapping[str, Sequence[str]]]) -> Mapping[str, Target]:
    """The tables of a bank as targets.

    Raises:
        PromptError: If ``may_show`` or a group has an entry that is neither another target nor a distractor (of
            ``may_show``, nor a group), or a region one that is no target; naming the closest.
    """
    requests, groups = tables.get(REQUESTS, {}).get("phrases", ()), tables.get(GROUPS, {})
    rows = {name: row for name, row in tables.items() if name not in (REQUESTS, GROUPS, REGIONS)}
    known = {*rows.keys() - {DISTRACTORS}, *rows[DISTRACTORS]["phrases"]}
    for name, members in groups.items():
        _check_shown(f"[{GROUPS}], {name}", "target or distractor", members, known)
    for name, members in tables.get(REGIONS, {}).items():
        _check_shown(f"[{REGIONS}], {name}", "target", members, rows.keys() - {DISTRACTORS})
    for name, row in rows.items():
        kind = "other target or distractor"
        _check_shown(f"[{name}], may_show", kind, row.get("may_show", ()), {*known - {name}, *groups})
    return {name: _to_target(name, row, requests, groups) for name, row in rows.items()}


def _check_shown(place: str, kind: str, entries: Sequence[str], known: Collection[str]) -> None:
    for entry in entries:
        if entry not in known:
            raise PromptError(f"Prompt bank, {place}: {unknown_name(kind, entry, known)}")


def _to_target(
    name: str, row: Mapping[str, Sequence[str]], requests: Sequence[str], groups: Mapping[str, Sequence[str]]
) -> Target:
    nouns = row.get("nouns", ())
    placed = (f"{noun} {place}" for noun in nouns for place in row.get("places", ()))
    asked = (request.format(noun) for noun in nouns for request in requests)
    fields = {name: tuple(words) for name, words in row.items() if name != "places"}
    fields["may_show"] = tuple(dict.fromkeys(each for each in _spread(row, groups) if each != name))
    return Target(**fields, compounds=(*placed, *asked))


def _spread(row: Mapping[str, Sequence[str]], groups: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Entries of ``may_show``, each group's members in its place."""
    for entry in row.get("may_show", ()):
        yield from groups.get(entry, (entry,))


@dataclass(frozen=True)
class TargetFamily:
    """Targets that share a word, of which a picture shows one or another."""

    words: tuple[str, ...]
    """Ways to name it, none of them a name of a target."""
    members: tuple[str, ...]
    """Rows of the bank."""


@cache
def read_families() -> Mapping[str, TargetFamily]:
    """All families by their plain names."""
    return to_families(read_package_toml("prompts/families.toml"))


def to_families(tables: Mapping[str, Mapping[str, Sequence[str]]]) -> Mapping[str, TargetFamily]:
    """The tables of a file as families.

    Raises:
        PromptError: If a member is no target of the bank; naming the closest.
    """
    for name, row in tables.items():
        for member in row["members"]:
            if member not in list_targets():
                raise PromptError(f"Families, [{name}], members: {unknown_name('target', member, list_targets())}")
    return {name: TargetFamily(tuple(row["words"]), tuple(row["members"])) for name, row in tables.items()}


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


def list_groups() -> Mapping[str, tuple[str, ...]]:
    """Names for targets and distractors that images show together, as ``may_show`` has them; for experiments/."""
    return {name: tuple(members) for name, members in read_package_toml(BANK).get(GROUPS, {}).items()}


def list_regions() -> Mapping[str, tuple[str, ...]]:
    """Parts of the body, from head to foot, and the targets to look for there; every target is in one of them."""
    return {name: tuple(members) for name, members in read_package_toml(BANK).get(REGIONS, {}).items()}


def foreign_targets(target: str, shown: Collection[str] | None = None) -> Mapping[str, Target]:
    """The other targets by name, without those that images of ``target`` may show as well.

    Args:
        target: What the images outline.
        shown: Targets and distractors that these images may show; by default what ``may_show`` says of the target.
    """
    ours = {target, DISTRACTORS, *(find_target(target).may_show if shown is None else shown)}
    return {name: row for name, row in read_bank().items() if name not in ours}


def foreign_phrases(target: str, shown: Collection[str] | None = None) -> tuple[tuple[str, ...], ...]:
    """Phrases whose answer on an image of ``target`` is "nothing", in groups that matter alike.

    Args:
        target: What the images outline.
        shown: Targets and distractors that these images may show; by default what ``may_show`` says of the target.

    Returns:
        The target's absences, the plain names of all foreign targets, each one's phrases with its compounds, and the
        distractors, none of which its images may show.
    """
    foreign, own = foreign_targets(target, shown).values(), find_target(target).may_show if shown is None else shown
    distractors = tuple(phrase for phrase in read_bank()[DISTRACTORS].phrases if phrase not in own)
    names = tuple(row.phrases[0] for row in foreign)
    return (find_target(target).absences, names, *(row.phrases + row.compounds for row in foreign), distractors)


_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})
_ELIDED = "'"


@dataclass(frozen=True)
class Synonyms:
    """Names that training never draws."""

    names: Mapping[str, tuple[str, ...]]
    """Target -> Latin names, abbreviations, names in other languages, tumours of an organ."""
    descriptions: Mapping[str, tuple[str, ...]]
    """Target -> what it is or does."""
    unlearnt: tuple[str, ...]
    """Names of things that pocket did not learn."""
    unlearnt_descriptions: tuple[str, ...]
    """Descriptions of such things."""
    conflicts: Mapping[str, frozenset[str]]
    """Target -> words of a phrase that its vector cannot overrule: with one of them, it does not mean that target."""


@cache
def read_synonyms() -> Synonyms:
    """The names of the package."""
    tables, described = read_package_toml("prompts/synonyms.toml"), read_package_toml("prompts/descriptions.toml")
    tumours, unlearnt = tables["tumours"], tables["unlearnt"]
    names: dict[str, list[str]] = {target: list(row) for target, row in tables["names"].items()}
    for language, articles in tables["articles"].items():
        for target, row in tables[language].items():
            names.setdefault(target, []).extend(_with_articles(row, articles))
    for target, organs in tumours["targets"].items():
        names.setdefault(target, []).extend(_pair(organs, tumours["heads"]))
    return Synonyms(
        _freeze(names),
        _freeze(described["targets"]),
        (*unlearnt["names"], *_pair(tumours["unlearnt"]["organs"], [*tumours["heads"], *tumours["others"]])),
        tuple(described["unlearnt"]),
        {target: frozenset(words) for target, words in tables["conflicts"].items()},
    )


def _with_articles(names: Iterable[str], articles: Sequence[str]) -> Iterator[str]:
    for name in names:
        for spelt in dict.fromkeys((name, name.casefold().translate(_UMLAUTS))):
            yield spelt
            yield from (f"{each}{spelt}" if each.endswith(_ELIDED) else f"{each} {spelt}" for each in articles)


def _pair(organs: Iterable[str], heads: Sequence[str]) -> Iterator[str]:
    return (f"{organ} {head}" for organ in organs for head in heads)


def _freeze(rows: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    return {target: tuple(dict.fromkeys(row)) for target, row in rows.items()}
