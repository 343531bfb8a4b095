"""Numbers that others published, read from ``published.toml``."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from vesalius.errors import ConfigError, unknown_name


@dataclass(frozen=True)
class Publication:
    """Somebody's table."""

    short: str
    """Head of its columns."""
    source: str
    measure: str
    """What its numbers are, as far as it says."""
    dice: Mapping[str, Mapping[str, float]]
    """Model -> data set -> mean Dice."""

    def find(self, model: str, data: str) -> float | None:
        """Its mean Dice of a model on a data set; None if it has none."""
        return self.dice.get(model, {}).get(data)


@cache
def read_publications() -> Mapping[str, Publication]:
    """All publications by name."""
    text = files("vesalius.benchmark").joinpath("published.toml").read_text(encoding="utf-8")
    return {name: Publication(**table) for name, table in tomllib.loads(text).items()}


def find_publication(name: str) -> Publication:
    """One of them.

    Raises:
        ConfigError: If there is none of this name.
    """
    publications = read_publications()
    if name not in publications:
        raise ConfigError(unknown_name("publication", name, publications))
    return publications[name]
