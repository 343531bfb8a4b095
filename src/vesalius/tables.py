"""Tables of settings, as TOML has them, turned strictly into dataclasses that say which settings there are."""

import dataclasses
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from vesalius.errors import ConfigError, VesaliusError, unknown_name

Kind = TypeVar("Kind")
PLAIN: Mapping[object, tuple[type | tuple[type, ...], str]] = {
    str: (str, "text"),
    bool: (bool, "true or false"),
    int: (int, "a whole number"),
    float: ((int, float), "a number"),
}
"""Type of a field -> types of its values, and what they are called."""


def build(kind: type[Kind], table: object, place: str, refusal: type[VesaliusError] = ConfigError) -> Kind:
    """A dataclass from a table: no setting is unknown, none is missing, and each value is of its field's type.

    Fields that are dataclasses are tables within. Of a tuple a single text stands for a list of one.

    Args:
        kind: The dataclass. Its fields are texts, numbers, flags, choices, tuples, mappings and dataclasses, or
            one of these or None.
        table: The parsed table.
        place: Where it stands, for messages.
        refusal: The error that is raised.

    Raises:
        VesaliusError: Naming the setting that does not exist, is missing, or has a value of the wrong kind.
    """
    try:
        return _build(kind, table, place)
    except ConfigError as error:
        raise refusal(str(error)) from error


def _build(kind: type[Kind], table: object, place: str) -> Kind:
    given, hints = to_table(table, place), get_type_hints(kind)
    fields = {each.name: each for each in dataclasses.fields(kind)}  # type: ignore[arg-type]  # not every type has some
    for name in given:
        if name not in fields:
            raise ConfigError(f"{place}: {unknown_name('setting', name, fields)}")
    for name, each in fields.items():
        if name not in given and each.default is each.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{place}: {name} is missing.")
    values = {name: _convert(value, hints[name], place, name) for name, value in given.items()}
    try:
        return kind(**values)
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from error


def to_table(value: object, place: str) -> Mapping[str, Any]:
    """The value, if it is a table.

    Raises:
        ConfigError: If it is something else.
    """
    if not isinstance(value, Mapping):
        raise ConfigError(f"{place}: expected a table, got {value!r}.")
    return value


def _convert(value: object, kind: Any, place: str, name: str) -> object:  # noqa: ANN401 - any type of a field
    """The value as its field has it."""
    origin, within = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType) and NoneType in within:
        (kind,) = set(within) - {NoneType}
        return None if value is None else _convert(value, kind, place, name)
    if origin is Literal:
        return _expect(value in within, value, f"one of {', '.join(map(repr, within))}", f"{place}: {name}")
    if origin is tuple:
        items = [value] if isinstance(value, str) else value
        _expect(isinstance(items, list | tuple), value, "a list", f"{place}: {name}")
        return tuple(_convert(item, within[0], place, name) for item in items)  # type: ignore[attr-defined]
    if origin is not None and issubclass(origin, Mapping):
        rows = to_table(value, f"{place} [{name}]").items()
        to_key = within[0] if within[0] is int else str  # keys of TOML and JSON are texts
        return {to_key(key): _convert(each, within[1], place, f"{name}.{key}") for key, each in rows}
    if dataclasses.is_dataclass(kind):
        return _build(kind, value, f"{place} [{name}]")  # type: ignore[arg-type]  # a class, not one of its objects
    if kind is object:
        return value
    types, expected = PLAIN[kind]
    fits = isinstance(value, types) and (kind is bool or not isinstance(value, bool))
    return _expect(fits, value, expected, f"{place}: {name}")


def _expect(fits: bool, value: object, expected: str, place: str) -> object:
    if not fits:
        raise ConfigError(f"{place} must be {expected}, got {value!r}.")
    return value
