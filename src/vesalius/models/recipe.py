"""What rebuilds a model before its weights are loaded."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

Option = str | int | float | bool


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
        return cls(fields["name"], fields["options"])
