"""Vesalius's own checkpoints: one safetensors file that also says how to rebuild its model; and WiSE-FT between two.

The header holds the model's recipe and whatever else the writer wants remembered (data, metrics, versions), as JSON.
Matrices may be stored as 8-bit integers with one scale a row; they come back as float32.

Fine-tuning on one kind of data often costs accuracy on others; a mixture of the two models' weights often has both.
"""

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vesalius.console import LOG
from vesalius.errors import ConfigError, ModelError, join_first
from vesalius.files import writing
from vesalius.models.checkpoint_file import (
    CONTRACT_NAME,
    SCALE,
    find_checkpoint,
    open_tensors,
    read_dtypes,
    read_model_recipe,
)
from vesalius.models.encoder import Segmenter, VisionLanguageEncoder
from vesalius.models.exported import load_exported
from vesalius.models.inference import Model
from vesalius.models.registry import as_segmenter, build_model

LISTED = 12
"""Tensors named in a message; hundreds would hide what matters."""
_DRAWS = {Tensor.normal_, Tensor.uniform_, nn.init.kaiming_uniform_, nn.init.normal_, nn.init.uniform_}
_Module = TypeVar("_Module", bound=nn.Module)


def save_model(
    model: VisionLanguageEncoder, path: Path, notes: Mapping[str, object] | None = None, *, pack: bool = False
) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        model: A model made by ``build_model`` or ``load_model``.
        path: The file to write; its folder is made.
        notes: What to remember beside the weights; must be JSON.
        pack: Store the sentence encoder's matrices in 8 bits and everything else in 16: a third of the size.
            Cosine similarities of MiniLM's sentence vectors move by 0.002 on average, 0.02 at most.
    """
    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    if pack:
        state = _pack(state, model)
    header = {"vesalius": model.recipe.to_json(), "notes": json.dumps(dict(notes or {}), sort_keys=True)}
    with writing(path) as unfinished:
        unfinished.touch()
        usual = unfinished.stat().st_mode
        try:
            save_file(state, unfinished, header)
            unfinished.chmod(usual)  # save_file makes it readable by its owner alone
        except SafetensorError as error:
            raise OSError(str(error)) from error


def load_model(source: str | Path) -> VisionLanguageEncoder:
    """Load a trained model of any kind, in evaluation mode.

    Args:
        source: A model whose weights the package carries ("pocket"), a checkpoint file, or a folder with one or with an
            export.

    Raises:
        MissingPackageError: If it is an export, and what runs it is not installed.
        ModelError: If there is no such model or its weights do not fit.
    """
    path = find_checkpoint(source)
    if path.name == CONTRACT_NAME:
        return load_exported(path.parent)
    recipe = read_model_recipe(path)
    LOG.info("%s: %s, in PyTorch", path, recipe.name)
    try:
        with _Undrawn():
            model = build_model(recipe.name, **recipe.options)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    return fill_model(model, _read_state(path), path).eval()


class _Undrawn(TorchFunctionMode):
    """Leaves new tensors as they are: drawing weights that are replaced at once takes half of the time of loading."""

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        given = kwargs or {}
        if func in _DRAWS:
            return args[0] if args else given["tensor"]  # torch.nn.init gives it by name
        return func(*args, **given)


def load_segmenter(source: str | Path) -> Segmenter:
    """``load_model`` for models that segment.

    Raises:
        ModelError: Also if the model does not segment.
    """
    return as_segmenter(load_model(source))


def fill_model(model: _Module, state: Mapping[str, Tensor], place: object) -> _Module:
    """Give a model weights that must be exactly its own.

    Args:
        model: Any module.
        state: Its tensors by name.
        place: Where they come from, for the message.

    Raises:
        ModelError: Listing the tensors that are missing, unexpected, of another shape, or not real numbers.
    """
    expected = model.state_dict()
    both = sorted(expected.keys() & state.keys())
    wrong = {
        "missing": sorted(expected.keys() - state.keys()),
        "unexpected": sorted(state.keys() - expected.keys()),
        "of another shape": [
            f"{key} {list(state[key].shape)} for {list(expected[key].shape)}"
            for key in both
            if expected[key].shape != state[key].shape
        ],
        "not real numbers": [
            f"{key} ({state[key].dtype})"
            for key in both
            if expected[key].is_floating_point() and not state[key].is_floating_point()
        ],
    }
    if any(wrong.values()):
        counts = "; ".join(f"{len(keys)} {kind}: {join_first(keys, LISTED)}" for kind, keys in wrong.items() if keys)
        raise ModelError(f"{place}: these weights are not those of {type(model).__name__}: {counts}.")
    model.load_state_dict(state)
    return model


def _read_state(path: Path) -> dict[str, Tensor]:
    with open_tensors(path, "pt") as file:
        state = {}
        for key, kind in read_dtypes(file, path).items():
            value = file.get_tensor(key)
            if kind == "I8":
                value = value.float() * file.get_tensor(key + SCALE).float()
            state[key] = value.float() if value.is_floating_point() else value
    return state


def _pack(state: Mapping[str, Tensor], model: VisionLanguageEncoder) -> dict[str, Tensor]:
    text = {id(p) for module in model.encoder_modules("text") for p in module.parameters() if p.dim() == 2}
    matrices = {key for key, parameter in model.named_parameters() if id(parameter) in text}
    packed: dict[str, Tensor] = {}
    for key, value in state.items():
        if key in matrices:
            scale = value.abs().amax(dim=1, keepdim=True).clamp(min=1e-8) / 127
            packed[key] = (value / scale).round().to(torch.int8)
            packed[key + SCALE] = scale
        else:
            # Biases and statistics are few, and a variance of 1e-6 is lost in 16 bits.
            packed[key] = value.half() if value.is_floating_point() and value.dim() > 1 else value
    return packed


def interpolate_weights(before: Model, after: Model, share: float = 0.5) -> Model:
    """A model whose weights are (1 - share) · before + share · after.

    Args:
        before: The model that fine-tuning started from.
        after: The same model, fine-tuned.
        share: 0 for the former, 1 for the latter.

    Returns:
        A new model; whole numbers, such as counts of batches, are those of ``after``.

    Raises:
        ConfigError: If the share is not between 0 and 1.
        ModelError: If the two were built otherwise, or do not have the same tensors of the same kinds of numbers.
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"share must lie between 0 (before fine-tuning) and 1 (after), got {share}.")
    old, new = before.state_dict(), after.state_dict()
    other = sorted(name for name in old.keys() | new.keys() if name not in old or name not in new)
    kinds = {name: (old[name].shape, old[name].dtype) for name in old}
    other += sorted(name for name in old.keys() & new.keys() if kinds[name] != (new[name].shape, new[name].dtype))
    if other:
        remedy = "take one architecture and one kind of numbers"
        raise ModelError(f"the two models differ in {len(other)} tensors, {other[0]} among them; {remedy}.")
    one, two = before.recipe.to_json(), after.recipe.to_json()
    if one != two:
        raise ModelError(f"the two models were built otherwise, as {one} and as {two}; build both alike.")
    mixed = copy.deepcopy(after)
    mixed.load_state_dict(
        {name: torch.lerp(old[name], new[name], share) if new[name].is_floating_point() else new[name] for name in new}
    )
    return mixed
