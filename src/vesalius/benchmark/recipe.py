"""The recipe of a benchmark, checked before anything is trained; and published numbers to put beside ours."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TypeVar

from vesalius.errors import ConfigError, unknown_name
from vesalius.files import read_package_toml
from vesalius.models import list_models
from vesalius.models.registry import Option, to_options
from vesalius.tables import build
from vesalius.training.config import TrainConfig, read_recipe, rename_settings

PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
"""Names that become folders, and must not lead out of theirs."""
Item = TypeVar("Item")


@dataclass(frozen=True)
class Publication:
    """A published table of results."""

    short: str
    """Heading of its columns."""
    source: str
    measure: str
    """What its numbers measure, as far as it says."""
    dice: Mapping[str, Mapping[str, float]]
    """Model -> data set -> mean Dice."""

    def find(self, model: str, data: str) -> float | None:
        """Its mean Dice of a model on a data set; None if it has none."""
        return self.dice.get(model, {}).get(data)


@cache
def read_publications() -> Mapping[str, Publication]:
    """All publications by name."""
    return {name: Publication(**table) for name, table in read_package_toml("benchmark/published.toml").items()}


def find_publication(name: str) -> Publication:
    """A publication by its name.

    Raises:
        ConfigError: If there is none of this name.
    """
    publications = read_publications()
    if name not in publications:
        raise ConfigError(unknown_name("publication", name, publications))
    return publications[name]


@dataclass(frozen=True)
class _ModelTable:
    """[models.NAME] as it stands in the file."""

    model: str = ""
    """Empty where the table's name is the model's."""
    options: Mapping[str, object] = field(default_factory=dict)
    pretrained: bool | None = None
    """None for what the recipe says of all."""
    training: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class _DataTable:
    """[data] as it stands in the file."""

    sets: tuple[str, ...] = ()
    root: str = ""


@dataclass(frozen=True)
class _RecipeTable:
    """A recipe as it stands in the file."""

    title: str = ""
    """Empty for the file's name."""
    published: str | None = None
    pretrained: bool = False
    seeds: tuple[int, ...] = (0,)
    prompts: tuple[str, ...] | None = None
    data: _DataTable = field(default_factory=_DataTable)
    training: Mapping[str, object] = field(default_factory=dict)
    models: Mapping[str, _ModelTable] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelEntry:
    """One row of the table: a model and how it is trained."""

    label: str
    """Name of the row."""
    model: str
    """Name of the model."""
    options: Mapping[str, Option]
    """Options of the model that is built."""
    pretrained: bool
    """Start from the public weights of its parts."""
    training: Mapping[str, object]
    """Settings of ``TrainConfig`` other than the seed."""

    def config(self, seed: int) -> TrainConfig:
        """Its training settings with one seed."""
        return TrainConfig.from_dict({**self.training, "seed": seed}, f"[models.{self.label}], training")


@dataclass(frozen=True)
class BenchmarkRecipe:
    """A grid of models × data sets × seeds."""

    title: str
    root: Path | None
    """Folder that holds the data sets' folders; None if the recipe leaves it to its user."""
    sets: tuple[str, ...]
    """Names of these folders, the table's columns."""
    entries: tuple[ModelEntry, ...]
    """Models, the table's rows."""
    seeds: tuple[int, ...] = (0,)
    prompts: tuple[str, ...] | None = None
    """Prompt families to be scored; None for all that a record has."""
    publication: Publication | None = None
    """Publication whose numbers stand beside ours."""


def read_benchmark(path: Path) -> BenchmarkRecipe:
    """Read a recipe.

    Raises:
        ConfigError: If it is missing, not TOML, or a setting is unknown, missing or of the wrong kind.
    """
    try:
        return _build(read_recipe(path), path.stem)
    except ConfigError as error:
        raise ConfigError(str(error) if str(path) in str(error) else f"{path}: {error}") from error


def _build(tables: Mapping[str, object], stem: str) -> BenchmarkRecipe:
    settings = build(_RecipeTable, tables, "recipe")
    return BenchmarkRecipe(
        title=settings.title or stem,
        root=Path(settings.data.root) if settings.data.root else None,
        sets=tuple(_plain(name, "[data]: sets") for name in _filled(settings.data.sets, "[data]: sets")),
        entries=_read_entries(settings),
        seeds=tuple(_natural(seed, "seeds") for seed in _filled(settings.seeds, "seeds")),
        prompts=None if settings.prompts is None else _filled(settings.prompts, "prompts"),
        publication=None if settings.published is None else find_publication(settings.published),
    )


def _read_entries(settings: _RecipeTable) -> tuple[ModelEntry, ...]:
    if not settings.models:
        raise ConfigError("expected a table [models.NAME] for each model, got none.")
    common = rename_settings(settings.training, "[training]")
    return tuple(
        _read_entry(label, table, common, pretrained=settings.pretrained) for label, table in settings.models.items()
    )


def _read_entry(label: str, table: _ModelTable, common: Mapping[str, object], *, pretrained: bool) -> ModelEntry:
    place = f"[models.{label}]"
    model = table.model or label
    if model not in list_models():
        raise ConfigError(f"{place}: {unknown_name('model', model, list_models())}")
    training = _merge(common, rename_settings(table.training, f"{place}: training"))
    if "seed" in training:
        raise ConfigError(f"{place}: the seed of its training is one of seeds = […]; leave it out of the training.")
    begun = pretrained if table.pretrained is None else table.pretrained
    entry = ModelEntry(_plain(label, "[models]"), model, to_options(table.options), begun, training)
    entry.config(seed=0)
    return entry


def _merge(common: Mapping[str, object], own: Mapping[str, object]) -> dict[str, object]:
    """All settings, of which those of a model's own go before the common ones, in tables within tables, too."""
    return {**common, **{name: _merge_value(common.get(name), value) for name, value in own.items()}}


def _merge_value(common: object, own: object) -> object:
    return _merge(common, own) if isinstance(common, Mapping) and isinstance(own, Mapping) else own


def _filled(values: tuple[Item, ...], place: str) -> tuple[Item, ...]:
    if not values:
        raise ConfigError(f"{place} must be a list of at least one, got none.")
    if len(set(values)) < len(values):
        raise ConfigError(f"{place} names something twice: {', '.join(map(str, values))}.")
    return values


def _plain(name: str, place: str) -> str:
    if not PLAIN_NAME.fullmatch(name):
        raise ConfigError(f"{place}: expected a name of letters, digits, '_', '.' and '-', got {name!r}.")
    return name


def _natural(number: int, place: str) -> int:
    if number < 0:
        raise ConfigError(f"{place} must be whole numbers from 0, got {number}.")
    return number
