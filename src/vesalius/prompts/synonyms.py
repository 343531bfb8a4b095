"""Names beside those of the prompt bank by which words alone know a target, read from ``synonyms.toml``."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

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
    """Names of things that nobody taught."""
    unlearnt_descriptions: tuple[str, ...]
    """What such things are or do."""
    conflicts: Mapping[str, frozenset[str]]
    """Target -> words of a phrase that its vector cannot overrule: with one of them, it does not mean that target."""


@cache
def read_synonyms() -> Synonyms:
    """The names of the package."""
    tables = tomllib.loads(files("vesalius.prompts").joinpath("synonyms.toml").read_text(encoding="utf-8"))
    tumours, unlearnt = tables["tumours"], tables["unlearnt"]
    names: dict[str, list[str]] = {target: list(row) for target, row in tables["names"].items()}
    for language, articles in tables["articles"].items():
        for target, row in tables[language].items():
            names.setdefault(target, []).extend(_with_articles(row, articles))
    for target, organs in tumours["targets"].items():
        names.setdefault(target, []).extend(_pair(organs, tumours["heads"]))
    return Synonyms(
        _freeze(names),
        _freeze(tables["descriptions"]),
        (*unlearnt["names"], *_pair(tumours["unlearnt"]["organs"], [*tumours["heads"], *tumours["others"]])),
        tuple(unlearnt["descriptions"]),
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
