"""Sets of prompt families (p0 to p9) and the words for what masks outline, read strictly from TOML files."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vesalius.errors import PromptError, unknown_name
from vesalius.files import read_package_toml, read_toml
from vesalius.tables import build

Table = Mapping[str, object]
Variants = str | Sequence[str]


def variants(prompts: Mapping[str, Variants], family: str) -> tuple[str, ...]:
    """All wordings of one family.

    >>> variants({"p1": "polyp", "p2": ["round polyp", "oval polyp"]}, "p2")
    ('round polyp', 'oval polyp')

    Raises:
        PromptError: If the record has no such family.
    """
    if family not in prompts:
        raise PromptError(f"prompts lack '{family}'; available: {', '.join(sort_families(prompts))}.")
    value = prompts[family]
    return (value,) if isinstance(value, str) else tuple(value)


def sort_families(names: Mapping[str, object] | Sequence[str]) -> list[str]:
    """Families in the benchmark's order: p2 before p10, other names after them alphabetically."""

    def order(name: str) -> tuple[int, int, str]:
        number = name[1:]
        return (0, int(number), "") if name.startswith("p") and number.isdigit() else (1, 0, name)

    return sorted(names, key=order)


PLACEHOLDER = re.compile(r"\{(?P<word>[a-z_]+)(?P<optional>\??)\}")
WORDS = ("class", "classes", "colour", "definition", "location", "number", "present", "shape", "size")
"""What templates may ask for, besides the `file_words` of their set."""
ANY_SET = "organ"
"""The set for objects that no table names."""


@dataclass(frozen=True)
class FamilySet:
    """How one kind of picture is spoken of."""

    name: str
    title: str
    families: Mapping[str, tuple[str, ...]]
    """Family -> templates, one or more."""
    absent: tuple[str, ...]
    """Templates for an empty mask."""
    never: tuple[str, ...] = ()
    """Things that such pictures do not show."""
    sentence: bool = False
    """Whether prompts begin with a capital letter."""
    file_words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Placeholder -> piece of a file's name -> word."""

    def placeholders(self) -> frozenset[str]:
        """Words its templates may ask for."""
        return frozenset((*WORDS, *self.file_words))


@dataclass(frozen=True)
class ObjectWords:
    """How one kind of object is spoken of."""

    name: str
    plural: str
    family_set: str = ANY_SET
    """The set that is used unless another is asked for."""
    definitions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Templates:
    """Everything the files hold."""

    sets: Mapping[str, FamilySet]
    classes: Mapping[str, ObjectWords]

    def find_set(self, name: str) -> FamilySet:
        """One set of families.

        Raises:
            PromptError: Naming the closest set that exists.
        """
        if name not in self.sets:
            raise PromptError(unknown_name("set of prompt families", name, self.sets))
        return self.sets[name]

    def find_object(self, name: str) -> ObjectWords:
        """The words for an object, by the name of its table or by its own; for others just the name.

        >>> read_templates().find_object("Foot ulcer").family_set
        'endoscopy'
        """
        wanted = _plain(name)
        for key, words in self.classes.items():
            if wanted in (_plain(key), _plain(words.name), _plain(words.plural)):
                return words
        return ObjectWords(name, f"{name}s")


@dataclass(frozen=True)
class _SetTable:
    """A set of families as a file has it, see `FamilySet`."""

    absent: tuple[str, ...]
    families: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    title: str = ""
    never: tuple[str, ...] = ()
    sentence: bool = False
    file_words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class _ObjectTable:
    """Words for an object as a file has them, see `ObjectWords`."""

    name: str
    plural: str = ""
    set: str = ANY_SET
    definitions: tuple[str, ...] = ()


@dataclass(frozen=True)
class _TemplatesFile:
    """The tables of a file."""

    sets: Mapping[str, _SetTable] = field(default_factory=dict)
    classes: Mapping[str, _ObjectTable] = field(default_factory=dict)


def read_templates(path: Path | None = None) -> Templates:
    """The templates of the package, extended by a user's file.

    Args:
        path: TOML file of the same form as ``templates.toml``.

    Raises:
        PromptError: If the file is missing, no TOML, or holds what templates do not have; with the table's name.
    """
    tables = read_package_toml("prompts/templates.toml")
    if path is None:
        return _to_templates(tables, "templates.toml")
    return _to_templates(_merge(tables, read_toml(path, PromptError)), str(path))


def _merge(base: Table, extra: Table) -> dict[str, object]:
    """Tables within tables are joined; anything else of `extra` replaces what `base` has."""
    merged = dict(base)
    for key, value in extra.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _to_templates(tables: Table, source: str) -> Templates:
    file = build(_TemplatesFile, tables, source, PromptError)
    sets = {name: _to_set(name, row, f"{source} [sets.{name}]") for name, row in file.sets.items()}
    classes = {name: _to_object(row, sets, f"{source} [classes.{name}]") for name, row in file.classes.items()}
    return Templates(sets, classes)


def _to_set(name: str, row: _SetTable, place: str) -> FamilySet:
    made = FamilySet(name, row.title or name, row.families, row.absent, row.never, row.sentence, row.file_words)
    for family, templates in {**made.families, "absent": made.absent}.items():
        if not templates:
            raise PromptError(f"{place}, {family}: expected one template or more, got none.")
        for template in templates:
            _check_template(template, made, f"{place}, {family}")
    return made


def _to_object(row: _ObjectTable, sets: Mapping[str, FamilySet], place: str) -> ObjectWords:
    if row.set not in sets:
        raise PromptError(f"{place}, set: {unknown_name('set of prompt families', row.set, sets)}")
    return ObjectWords(row.name, row.plural or f"{row.name}s", row.set, row.definitions)


def _check_template(template: str, family_set: FamilySet, place: str) -> None:
    if stray := re.search(r"[{}]", PLACEHOLDER.sub("", template)):
        raise PromptError(f"{place}: '{template}' has a '{stray[0]}' that belongs to no {{word}} or {{word?}}.")
    for match in PLACEHOLDER.finditer(template):
        if match["word"] not in family_set.placeholders():
            raise PromptError(
                f"{place}: '{template}': {unknown_name('word', match['word'], family_set.placeholders())}"
            )


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().lower()
