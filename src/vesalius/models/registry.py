"""The named models: one dict, filled by a decorator; a factory's name is its model's name."""

import importlib
from collections.abc import Callable

from vesalius.errors import ModelError, unknown_name
from vesalius.models.recipe import ModelRecipe, Option
from vesalius.models.segmenter import Segmenter

Factory = Callable[..., Segmenter]

_FACTORIES: dict[str, Factory] = {}
# Where the models of this package live; a module is imported when one of its models is asked for, because some
# bring heavy libraries along.
_HOMES = {"clipseg": "clipseg", "pocket": "pocket", "unet_d": "unet"}


def register_model(factory: Factory) -> Factory:
    """Make a factory available as ``build_model(factory.__name__)``."""
    _FACTORIES[factory.__name__] = factory
    return factory


def list_models() -> list[str]:
    """Names that ``build_model`` knows, sorted."""
    return sorted(_HOMES.keys() | _FACTORIES.keys())


def describe_model(name: str) -> str:
    """First line of a model's description."""
    return (_factory(name).__doc__ or "").strip().splitlines()[0]


def build_model(name: str, **options: Option) -> Segmenter:
    """Build a named model with untrained weights.

    Args:
        name: One of ``list_models()``.
        **options: The factory's keyword arguments.

    Raises:
        ModelError: If the name or an option is unknown.

    >>> build_model("unet_d").reads_text
    False
    """
    try:
        model = _factory(name)(**options)
    except TypeError as error:
        raise ModelError(f"{name}: {error}. See help(vesalius.models.{name}) for its options.") from error
    model.recipe = ModelRecipe(name, options)
    return model


def _factory(name: str) -> Factory:
    if name not in _FACTORIES and name in _HOMES:
        importlib.import_module(f"vesalius.models.{_HOMES[name]}")
    if name not in _FACTORIES:
        raise ModelError(unknown_name("model", name, list_models()))
    return _FACTORIES[name]
