"""The recipe of a benchmark, checked before anything is trained; and published numbers to put beside ours."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from vesalius.errors import ConfigError, unknown_name
from vesalius.models import list_models
from vesalius.models.registry import Option, to_options
from vesalius.training.config import TrainConfig, check_table, read_recipe, rename_settings


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
    text = files("vesalius.benchmark").joinpath("published.toml").read_text(encoding="utf-8")
    return {name: Publication(**table) for name, table in tomllib.loads(text).items()}


def find_publication(name: str) -> Publication:
    """A publication by its name.

    Raises:
        ConfigError: If there is none of this name.
    """
    publications = read_publications()
    if name not in publications:
        raise ConfigError(unknown_name("publication", name, publications))
    return publications[name]


PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
"""Names that become folders, and must not lead out of theirs."""
SETTINGS = ("title", "published", "pretrained", "seeds", "prompts", "data", "training", "models")
MODEL_SETTINGS = ("model", "options", "pretrained", "training")


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
        return TrainConfig.from_dict({**self.training, "seed": seed})


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


def _build(settings: Mapping[str, object], stem: str) -> BenchmarkRecipe:
    _refuse_unknown(settings, SETTINGS, "recipe")
    data = check_table(settings.get("data", {}), "[data]")
    _refuse_unknown(data, ("root", "sets"), "[data]")
    root = data.get("root")
    prompts = settings.get("prompts")
    published = settings.get("published")
    return BenchmarkRecipe(
        title=_text(settings.get("title", stem), "title"),
        root=None if root is None else Path(_text(root, "[data]: root")),
        sets=tuple(_plain(name, "[data]: sets") for name in _filled(data.get("sets", []), "[data]: sets")),
        entries=_read_entries(settings),
        seeds=tuple(_whole(seed, "seeds") for seed in _filled(settings.get("seeds", [0]), "seeds")),
        prompts=None if prompts is None else tuple(_text(name, "prompts") for name in _filled(prompts, "prompts")),
        publication=None if published is None else find_publication(_text(published, "published")),
    )


def _read_entries(settings: Mapping[str, object]) -> tuple[ModelEntry, ...]:
    tables = check_table(settings.get("models", {}), "[models]")
    if not tables:
        raise ConfigError("expected a table [models.NAME] for each model, got none.")
    common = rename_settings(check_table(settings.get("training", {}), "[training]"), "[training]")
    pretrained = _flag(settings.get("pretrained", False), "pretrained")
    return tuple(_read_entry(label, table, common, pretrained=pretrained) for label, table in tables.items())


def _read_entry(label: str, value: object, common: Mapping[str, object], *, pretrained: bool) -> ModelEntry:
    place = f"[models.{label}]"
    table = check_table(value, place)
    _refuse_unknown(table, MODEL_SETTINGS, place)
    model = _text(table.get("model", label), f"{place}: model")
    if model not in list_models():
        raise ConfigError(f"{place}: {unknown_name('model', model, list_models())}")
    own = check_table(table.get("training", {}), f"{place}: training")
    training = {**common, **rename_settings(own, f"{place}: training")}
    if "seed" in training:
        raise ConfigError(f"{place}: the seed of its training is one of seeds = […]; leave it out of the training.")
    options = to_options(check_table(table.get("options", {}), f"{place}: options"))
    begun = _flag(table.get("pretrained", pretrained), f"{place}: pretrained")
    entry = ModelEntry(_plain(label, "[models]"), model, options, begun, training)
    try:
        entry.config(seed=0)
    except ConfigError as error:
        raise ConfigError(f"{place}, training: {error}") from error
    return entry


def _refuse_unknown(table: Mapping[str, object], known: Sequence[str], place: str) -> None:
    for name in table:
        if name not in known:
            raise ConfigError(f"{place}: {unknown_name('setting', name, known)}")


def _filled(value: object, place: str) -> list[object]:
    if not isinstance(value, list) or not value:
        raise ConfigError(f"{place} must be a list of at least one, got {value!r}.")
    if len(set(map(str, value))) < len(value):
        raise ConfigError(f"{place} names something twice: {', '.join(map(str, value))}.")
    return value


def _plain(value: object, place: str) -> str:
    if not isinstance(value, str) or not PLAIN_NAME.fullmatch(value):
        raise ConfigError(f"{place}: expected a name of letters, digits, '_', '.' and '-', got {value!r}.")
    return value


def _text(value: object, place: str) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{place} must be text, got {value!r}.")
    return value


def _whole(value: object, place: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ConfigError(f"{place} must be whole numbers from 0, got {value!r}.")
    return value


def _flag(value: object, place: str) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{place} must be true or false, got {value!r}.")
    return value
