"""Settings of a training run on the command line: a recipe's file, and what goes before it."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from vesalius.errors import ConfigError

SHORT = ("learning_rate", "batch_size", "max_epochs", "max_steps", "seed")
"""Settings with an option of their own."""


@dataclass(frozen=True)
class RecipeOptions:
    """A recipe, and changes to it."""

    recipe: Path | None = None
    """TOML file of settings, see recipes/; its [model] table holds options of the model."""
    changes: Annotated[tuple[str, ...], Parameter(name="--set")] = ()
    """Any setting, as NAME=VALUE or TABLE.NAME=VALUE; repeat it for several. It goes before the recipe's."""
    learning_rate: float | None = None
    """Largest step size."""
    batch_size: int | None = None
    """Images of a batch, over all devices."""
    max_epochs: int | None = None
    """Passes over the training images at most."""
    max_steps: int | None = None
    """Steps at most, for a short trial."""
    seed: int | None = None
    """Decides order, augmentation, words and initial weights."""

    def read(self) -> dict[str, Any]:
        """All settings that were given, in nested tables.

        Raises:
            ConfigError: If the recipe cannot be read or a change is not of the form NAME=VALUE.
        """
        from vesalius.training.config import read_recipe

        settings: dict[str, Any] = dict(read_recipe(self.recipe)) if self.recipe else {}
        for change in self.changes:
            _apply(change, settings)
        return settings | {name: getattr(self, name) for name in SHORT if getattr(self, name) is not None}


def _apply(change: str, settings: dict[str, Any]) -> None:
    place, equals, value = change.partition("=")
    *tables, name = place.strip().split(".")
    if not equals or not name:
        raise ConfigError(f"--set {change}: expected NAME=VALUE or TABLE.NAME=VALUE, such as augment.rotation=30.")
    for table in tables:
        settings = settings.setdefault(table, {})
        if not isinstance(settings, dict):
            raise ConfigError(f"--set {change}: {table} is a setting, not a table of settings.")
    settings[name] = _parse(value.strip())


def _parse(text: str) -> object:
    """A TOML value; words need no quotes."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
