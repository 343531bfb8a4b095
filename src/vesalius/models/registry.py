"""The named models and what rebuilds one; PyTorch loads only when a model is built."""

import ast
import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, TypeVar

from vesalius.errors import ModelError, require, unknown_name

if TYPE_CHECKING:
    from vesalius.models.encoder import Segmenter, VisionLanguageEncoder


LOGIT_SCALE = 20.0
"""Factor from cosine similarity to log-odds of models that learn no temperature; ``fit_naming`` trains with it."""

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
        """Read what ``to_json`` wrote.

        Raises:
            KeyError, RecursionError, TypeError, ValueError: If it is anything else.
        """
        fields = json.loads(text)
        name, options = fields["name"], fields["options"]
        if not isinstance(name, str) or not isinstance(options, Mapping):
            raise TypeError(f"expected a name and an object of options, got {name!r} and {options!r}")
        return cls(name, to_options(options))


def to_options(values: Mapping[str, object]) -> dict[str, Option]:
    """Options from JSON or TOML, whose lists become tuples."""
    return {name: _to_option(value) for name, value in values.items()}


def _to_option(value: object) -> Option:
    if isinstance(value, Mapping):
        return to_options(value)
    return tuple(value) if isinstance(value, list) else value  # type: ignore[return-value]  # JSON has no other kinds


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
    "ensemble_c": "fusion",
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


def build_model(name: str, /, **options: Option) -> "VisionLanguageEncoder":
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
    from vesalius.models.encoder import Segmenter

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
