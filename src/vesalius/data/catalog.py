"""What is known of the data sets Vesalius meets, read from ``catalog.toml``."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class DataSetCard:
    """One row of the catalog."""

    title: str
    home: str
    """Where its authors publish it."""
    licence: str
    target: str
    """Row of the prompt bank that its masks outline."""


@cache
def read_catalog() -> Mapping[str, DataSetCard]:
    """All data sets by the name of their folder."""
    tables = tomllib.loads(files("vesalius.data").joinpath("catalog.toml").read_text(encoding="utf-8"))
    return {name: DataSetCard(**row) for name, row in tables.items()}
