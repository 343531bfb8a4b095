"""The named models: one dict, filled by a decorator; a factory's name is its model's name."""

import ast
import importlib
from collections.abc import Callable
from importlib.resources import files
from typing import TYPE_CHECKING, TypeVar

from vesalius.errors import ModelError, require, unknown_name
from vesalius.models.recipe import ModelRecipe, Option

if TYPE_CHECKING:  # names and descriptions are asked for where PyTorch need not be installed
    from vesalius.models.encoder import VisionLanguageEncoder
    from vesalius.models.segmenter import Segmenter

Factory = Callable[..., "VisionLanguageEncoder"]
_Maker = TypeVar("_Maker", bound=Factory)

_FACTORIES: dict[str, Factory] = {}
# Where the models of this package live; a module is imported when one of its models is asked for, because some
# bring heavy libraries along.
_SEGMENTERS = {
    "biomedclipseg": "biomedclip",
    "biomedclipseg_a": "fusion",
    "biomedclipseg_d": "biomedclip",
    "clipseg": "clipseg",
    "clipseg_b": "fusion",
    "cris": "cris",
    "ensemble_c": "ensemble",
    "pocket": "pocket",
    "unet_d": "unet",
}
_ENCODERS = {"biomedclip": "biomedclip", "clip_rn50": "clip", "clip_vit_b16": "clip", "clip_vit_b32": "clip"}
_HOMES = _SEGMENTERS | _ENCODERS


def register_model(factory: _Maker) -> _Maker:
    """Make a factory available as ``build_model(factory.__name__)``."""
    _FACTORIES[factory.__name__] = factory
    return factory


def list_models() -> list[str]:
    """Segmenters by name, sorted."""
    return sorted(_SEGMENTERS.keys() | (_FACTORIES.keys() - _ENCODERS.keys()))


def list_encoders() -> list[str]:
    """Names of models that encode images and prompts and do not segment, sorted."""
    return sorted(_ENCODERS)


def describe_model(name: str) -> str:
    """First line of a model's description; read from the source, so that PyTorch need not be installed.

    Raises:
        ModelError: If there is no such model.
    """
    text = _FACTORIES[name].__doc__ if name in _FACTORIES else _read_docstring(name)
    return (text or "").strip().splitlines()[0]


def _read_docstring(name: str) -> str | None:
    if name not in _HOMES:
        raise ModelError(unknown_name("model", name, _HOMES.keys() | _FACTORIES.keys()))
    source = files("vesalius.models").joinpath(f"{_HOMES[name]}.py").read_text(encoding="utf-8")
    found = (node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and node.name == name)
    return ast.get_docstring(next(found))


def build_model(name: str, **options: Option) -> "VisionLanguageEncoder":
    """Build a named model with untrained weights.

    Args:
        name: One of ``list_models()`` or ``list_encoders()``.
        **options: The factory's keyword arguments.

    Raises:
        MissingPackageError: If PyTorch is not installed.
        ModelError: If the name or an option is unknown, or no such model can be built.

    >>> build_model("unet_d").reads_text
    False
    """
    try:
        model = _factory(name)(**options)
    except (TypeError, ValueError, RuntimeError) as error:  # of Python and PyTorch, whose words name what is wrong
        raise ModelError(f"{name}: {error}. See help(vesalius.models.{_HOMES.get(name, name)}) for options.") from error
    model.recipe = ModelRecipe(name, options)
    return model


def as_segmenter(model: "VisionLanguageEncoder") -> "Segmenter":
    """The model itself, if it segments.

    Raises:
        ModelError: If it only encodes.
    """
    from vesalius.models.segmenter import Segmenter

    if isinstance(model, Segmenter):
        return model
    able = ", ".join(list_models())
    raise ModelError(f"{model.recipe.name} encodes images and prompts but outlines nothing; models that do: {able}.")


def _factory(name: str) -> Factory:
    if name not in _FACTORIES and name in _HOMES:
        require("torch", extra="train")
        importlib.import_module(f"vesalius.models.{_HOMES[name]}")
    if name not in _FACTORIES:
        raise ModelError(unknown_name("model", name, _HOMES.keys() | _FACTORIES.keys()))
    return _FACTORIES[name]
