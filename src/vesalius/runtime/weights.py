"""A checkpoint's tensors for a graph without weights, with NumPy alone.

Beside the graphs of `GRAPHS` lies `CONTENTS`, which says from which tensors of a checkpoint their initializers come.
Matrices stored as 8-bit integers, and numbers of 16 bits, become float32 here, as in `vesalius.models.checkpoints`.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from vesalius.errors import ModelError
from vesalius.models.checkpoint_file import SCALE, open_tensors

CONTENTS = "graphs.json"
"""In a folder of graphs: ``{"settings": {…}, "bindings": {graph: {initializer: Binding}}}``."""

Array = NDArray[np.float32]


class Binding(TypedDict, total=False):
    """From which tensors an initializer comes."""

    weight: str
    """As it is, but for what the other fields say."""
    transpose: bool
    norm: str
    """A batch norm folded into the convolution ``weight``; without ``weight``, the bias that it leaves."""
    epsilon: float
    """Of the norm."""


def bind(binding: Binding, state: Mapping[str, Array]) -> Array:
    """An initializer.

    Args:
        binding: How it comes about.
        state: Tensors by name.

    Raises:
        KeyError: If there is no such tensor.
    """
    if "norm" not in binding:
        value = state[binding["weight"]]
        return np.ascontiguousarray(value.T) if binding.get("transpose") else value
    norm = binding["norm"]
    scale = state[f"{norm}.weight"] / np.sqrt(state[f"{norm}.running_var"] + np.float32(binding["epsilon"]))
    if "weight" not in binding:
        return np.asarray(state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale, np.float32)
    weight = state[binding["weight"]]
    return np.asarray(weight * scale.reshape(-1, *[1] * (weight.ndim - 1)), np.float32)


def needed(binding: Binding) -> Iterator[str]:
    """Names of the tensors that an initializer comes from."""
    if "weight" in binding:
        yield binding["weight"]
    if "norm" in binding:
        yield from (f"{binding['norm']}.{part}" for part in ("weight", "bias", "running_mean", "running_var"))


def read_tensors(path: Path, names: Iterable[str]) -> dict[str, Array]:
    """Some tensors of a checkpoint as float32.

    Args:
        path: A safetensors file.
        names: Of the tensors.

    Raises:
        ModelError: If the file is damaged, or lacks one of them.
    """
    with open_tensors(path) as file:
        there = set(file.keys())
        wanted = set(names)
        if lacking := sorted(wanted - there):
            raise ModelError(f"{path}: {len(lacking)} tensors of the model are missing, the first {lacking[0]}.")
        return {name: _read(file, name, name + SCALE in there) for name in wanted}


def _read(file: safe_open, name: str, scaled: bool) -> Array:
    value = file.get_tensor(name)
    if scaled:
        return np.asarray(value * file.get_tensor(name + SCALE).astype(np.float32), np.float32)
    return np.asarray(value, np.float32)
