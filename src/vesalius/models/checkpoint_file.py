"""A checkpoint's file and what its header says, read without PyTorch."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError, safe_open

from vesalius.errors import ModelError, unknown_name
from vesalius.models.embedded import EMBEDDED
from vesalius.models.export_contract import CONTRACT_NAME, read_contract
from vesalius.models.recipe import ModelRecipe
from vesalius.models.registry import list_encoders, list_models

CHECKPOINT_NAME = "model.safetensors"
SCALE = ".int8_scale"
"""What a matrix's scales, one a row, are called after its own name."""


def read_notes(path: Path) -> dict[str, object]:
    """What ``save_model`` was told to remember; an export remembers it too."""
    if path.name == CONTRACT_NAME:
        return dict(read_contract(path).notes)
    notes: dict[str, object] = json.loads(read_header(path).get("notes", "{}"))
    return notes


def find_checkpoint(source: str | Path) -> Path:
    """The checkpoint file behind a model's name, a file or a run's folder; ``export.json`` of an exported model."""
    if str(source) in EMBEDDED:
        return EMBEDDED[str(source)]
    path = Path(source)
    if path.is_dir():
        path = path / (CONTRACT_NAME if (path / CONTRACT_NAME).is_file() else CHECKPOINT_NAME)
    if path.is_file():
        return path
    if str(source) in list_models():
        remedy = f"train it (vesalius train --model {source} --data DIR) and give the run's folder"
        raise ModelError(f"The package carries no weights of {source}; {remedy}.")
    if str(source) in list_encoders():
        remedy = "vesalius weights list shows where there are some, vesalius weights import makes a checkpoint of them"
        raise ModelError(f"The package carries no weights of {source}, which encodes and outlines nothing; {remedy}.")
    if path.suffix or os.sep in str(source):
        raise ModelError(
            f"{path}: no such checkpoint; expected a .safetensors file or a folder with {CHECKPOINT_NAME}."
        )
    raise ModelError(unknown_name("model", str(source), list_models()))


@contextmanager
def open_tensors(path: Path, framework: str = "numpy") -> Iterator[safe_open]:
    """A safetensors file, whose faults become ours.

    Raises:
        ModelError: If it is none, or damaged.
    """
    try:
        with safe_open(path, framework=framework) as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: not a safetensors file, or a damaged one ({error}).") from error


def read_header(path: Path) -> dict[str, str]:
    """What a safetensors file says beside its tensors, as it stands there.

    Raises:
        ModelError: If it is none, or damaged.
    """
    with open_tensors(path) as file:
        return file.metadata() or {}


def read_recipe(path: Path) -> ModelRecipe:
    """What rebuilds the model.

    Raises:
        ModelError: If it is no checkpoint of ours, or damaged.
    """
    header = read_header(path)
    if "vesalius" not in header:
        raise ModelError(f"{path}: not a Vesalius checkpoint; its header lacks 'vesalius'.")
    try:
        return ModelRecipe.from_json(header["vesalius"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: its recipe is damaged ({error!r}); get or train it again.") from error
