"""What rebuilds a model before its weights are loaded."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

Option = str | int | float | bool | tuple[int, ...] | Mapping[str, "Option"]
"""A model's option: what JSON can say, lists being tuples of whole numbers."""


@dataclass(frozen=True)
class ModelRecipe:
    """A name and the options that were given."""

    name: str
    options: Mapping[str, Option]

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps({"name": self.name, "options": dict(self.options)}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "ModelRecipe":
        """Read what ``to_json`` wrote."""
        fields = json.loads(text)
        return cls(fields["name"], to_options(fields["options"]))


def to_options(values: Mapping[str, object]) -> dict[str, Option]:
    """Options from JSON or TOML, whose lists become tuples."""
    return {name: _to_option(value) for name, value in values.items()}


def _to_option(value: object) -> Option:
    if isinstance(value, Mapping):
        return to_options(value)
    return tuple(value) if isinstance(value, list) else value  # type: ignore[return-value]  # JSON has no other kinds
