"""Statements about a slice in words, by the templates of ``anatomy_wording.toml``."""

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from vesalius.prompts.anatomy import ORGANS, STATIONS, Aspect, Statement, phrases_of

SLOT = re.compile(r"\{(\w+)\}")
PIECE = re.compile(r"\[([^\]]*)\]")
PARTS = {"plane": "plane", "modality": "modality", "organs": "organs", "organ_list": "organs", "stations": "stations"}
"""Which part of a statement a template's word says."""
ARTICLE = re.compile(r"\{a\} (\S+)")
SOUNDS_LIKE_VOWEL = re.compile(r"[aeiou]|MR\b|X-ray")


@dataclass(frozen=True)
class Template:
    """A way to say things."""

    text: str
    needs: frozenset[str]
    """Parts of a statement without which it is no sentence."""
    says: frozenset[str]
    """Parts of a statement for which it has a place."""

    def fits(self, statement: Statement) -> bool:
        """Whether it says all of the statement."""
        return self.needs <= _known(statement) <= self.says

    def fill(self, statement: Statement, organs: Sequence[str], stations: Sequence[str]) -> str:
        """The statement in words.

        Args:
            statement: One that fits.
            organs: The statement's, in the order in which to name them.
            stations: Likewise.
        """
        words = {
            "plane": statement.plane or "",
            "modality": statement.modality_words,
            "organs": _enumerate(organs),
            "organ_list": ", ".join(organs),
            "stations": _enumerate(stations),
            "region": "region" if len(stations) == 1 else "regions",
        }
        known = _known(statement)
        kept = PIECE.sub(lambda piece: piece[1] if _parts(piece[1]) <= known else "", self.text)
        filled = SLOT.sub(lambda slot: words.get(slot[1], slot[0]), kept)
        return _tidy(ARTICLE.sub(_add_article, re.sub(r" +", " ", filled)))


@cache
def read_anatomy_templates() -> tuple[Template, ...]:
    """All templates, the paper's two first."""
    text = files("vesalius.prompts").joinpath("anatomy_wording.toml").read_text(encoding="utf-8")
    rows = tomllib.loads(text)
    return tuple(Template(row, _parts(PIECE.sub("", row)), _parts(row)) for row in (*rows["paper"], *rows["varied"]))


def fitting_templates(statement: Statement) -> tuple[Template, ...]:
    """Templates that say all of a statement; there is one for every statement."""
    return tuple(template for template in read_anatomy_templates() if template.fits(statement))


def ensemble_phrases(aspect: Aspect, label: str) -> tuple[str, ...]:
    """All that a label is asked with: its phrases, and every caption that says that it shows.

    >>> ensemble_phrases("organs", "liver")[:3]
    ('an image of the liver', 'a slice through the liver', 'An image of the liver')
    """
    return (*phrases_of(aspect.removesuffix("s"))[label], *write_captions(say_only(aspect, label)))


def say_only(aspect: Aspect, label: str) -> Statement:
    """The statement that an organ or a station shows, and nothing else."""
    named = frozenset({label})
    return Statement(organs=named) if aspect == "organs" else Statement(stations=named)


def write_captions(statement: Statement) -> tuple[str, ...]:
    """Every template's wording of a statement, the paper's first.

    >>> write_captions(Statement("CT", organs=frozenset({"liver", "kidneys"})))[0]
    'A CT image of the liver and kidneys'

    Args:
        statement: What to say; names come in the order of the body.

    Returns:
        One text or more, without repetition.
    """
    organs, stations = in_order(statement.organs, ORGANS), in_order(statement.stations, STATIONS)
    texts = (template.fill(statement, organs, stations) for template in fitting_templates(statement))
    return tuple(dict.fromkeys(texts))


def in_order(names: Iterable[str], order: Sequence[str]) -> list[str]:
    """Names in the order of a list of labels."""
    return sorted(names, key=order.index)


def _known(statement: Statement) -> frozenset[str]:
    return frozenset(part for part in PARTS.values() if getattr(statement, part))


def _parts(text: str) -> frozenset[str]:
    return frozenset(PARTS[word] for word in SLOT.findall(text) if word in PARTS)


def _enumerate(names: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def _add_article(match: re.Match[str]) -> str:
    return f"{'an' if SOUNDS_LIKE_VOWEL.match(match[1]) else 'a'} {match[1]}"


def _tidy(text: str) -> str:
    """No space before a comma or at the ends, and a capital at the beginning."""
    tidy = text.replace(" ,", ",").strip()
    return tidy[:1].upper() + tidy[1:]
