"""Sets of prompt families (p0 to p9) and the words for what masks outline, read strictly from TOML files."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vesalius.errors import PromptError, unknown_name
from vesalius.files import read_package_toml, read_toml

Table = Mapping[str, object]


class TableReader:
    """One table.

    Args:
        row: The parsed table.
        source: File it stands in.
        path: Names of the tables that lead to it.

    Raises:
        PromptError: If it is no table.
    """

    def __init__(self, row: object, source: str, path: Sequence[str] = ()) -> None:
        self._row, self._source, self._path = row if isinstance(row, dict) else {}, source, tuple(path)
        self._asked: set[str] = set()
        if not isinstance(row, dict):
            raise PromptError(f"{self.place}: expected a table, got {row!r}.")

    @property
    def place(self) -> str:
        """File and table, for messages."""
        return f"{self._source} [{'.'.join(self._path)}]" if self._path else self._source

    def rest(self) -> list[str]:
        """Keys that have not been read yet."""
        return [key for key in self._row if key not in self._asked]

    def table(self, key: str) -> "TableReader":
        """A table within, empty if there is none."""
        return TableReader(self._take(key, {}), self._source, (*self._path, key))

    def tables(self) -> Iterator[tuple[str, "TableReader"]]:
        """All tables within, by name."""
        for key in self.rest():
            yield key, self.table(key)

    def text(self, key: str, default: str | None = None) -> str:
        """A string.

        Raises:
            PromptError: If it is none, or is missing and has no default.
        """
        value = self._take(key, default)
        if not isinstance(value, str):
            raise self._refusal(key, "a string", value)
        return value

    def texts(self, key: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """A string or a list of strings.

        Raises:
            PromptError: If it is neither, or is missing and has no default.
        """
        value = self._take(key, default)
        if value is default and default is not None:
            return default
        values = [value] if isinstance(value, str) else value
        if not (isinstance(values, list) and values and all(isinstance(each, str) for each in values)):
            raise self._refusal(key, "a string or a list of strings", value)
        return tuple(values)

    def flag(self, key: str) -> bool:
        """True or false, false if missing.

        Raises:
            PromptError: If it is neither.
        """
        value = self._take(key, False)
        if not isinstance(value, bool):
            raise self._refusal(key, "true or false", value)
        return value

    def refuse_others(self) -> None:
        """Refuse keys that have not been read.

        Raises:
            PromptError: If there is one, with the closest that would be understood.
        """
        if others := self.rest():
            raise PromptError(f"{self.place}: {unknown_name('key', others[0], self._asked)}")

    def _take(self, key: str, default: object) -> object:
        self._asked.add(key)
        return self._row.get(key, default)

    def _refusal(self, key: str, expected: str, got: object) -> PromptError:
        return PromptError(f"{self.place}: {key} must be {expected}, got {'nothing' if got is None else repr(got)}.")


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


def read_templates(path: Path | None = None) -> Templates:
    """The templates of the package, extended by a user's file.

    Args:
        path: TOML file of the same form as ``templates.toml``.

    Raises:
        PromptError: If the file is missing, no TOML, or holds what templates do not have; with the table's name.
    """
    tables = read_package_toml("prompts/templates.toml")
    if path is None:
        return _to_templates(TableReader(tables, "templates.toml"))
    return _to_templates(TableReader(_merge(tables, read_toml(path, PromptError)), str(path)))


def _merge(base: Table, extra: Table) -> dict[str, object]:
    """Tables within tables are joined; anything else of `extra` replaces what `base` has."""
    merged = dict(base)
    for key, value in extra.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _to_templates(top: TableReader) -> Templates:
    sets = {name: _to_set(name, row) for name, row in top.table("sets").tables()}
    classes = {name: _to_object(row, sets) for name, row in top.table("classes").tables()}
    top.refuse_others()
    return Templates(sets, classes)


def _to_set(name: str, row: TableReader) -> FamilySet:
    families = row.table("families")
    made = FamilySet(
        name,
        title=row.text("title", name),
        families={family: families.texts(family) for family in families.rest()},
        absent=row.texts("absent"),
        never=row.texts("never", ()),
        sentence=row.flag("sentence"),
        file_words={word: _to_pieces(pieces) for word, pieces in row.table("file_words").tables()},
    )
    row.refuse_others()
    for family, templates in {**made.families, "absent": made.absent}.items():
        for template in templates:
            _check_template(template, made, f"{row.place}, {family}")
    return made


def _to_pieces(row: TableReader) -> dict[str, str]:
    return {piece: row.text(piece) for piece in row.rest()}


def _to_object(row: TableReader, sets: Mapping[str, FamilySet]) -> ObjectWords:
    name = row.text("name")
    plural, family_set = row.text("plural", f"{name}s"), row.text("set", ANY_SET)
    made = ObjectWords(name, plural, family_set, row.texts("definitions", ()))
    row.refuse_others()
    if family_set not in sets:
        raise PromptError(f"{row.place}, set: {unknown_name('set of prompt families', family_set, sets)}")
    return made


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
