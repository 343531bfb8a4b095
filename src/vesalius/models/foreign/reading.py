"""Files of other programs to a flat dict of tensors, running nothing that is in them.

PyTorch's ``weights_only`` reader builds tensors and plain containers alone. Lightning checkpoints also hold settings,
and TorchScript archives modules; what stands for such objects is filled with an inert class that does nothing, and
the tensors are read out of it. The code inside TorchScript archives is left out before anything is read.
"""

import io
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors.torch import load_file
from torch import Tensor

from vesalius.errors import ModelError

CONTAINERS = ("state_dict", "model_state_dict")
"""Names under which training programs keep a model's tensors beside other things."""
LARGEST = 8_000_000_000
"""Bytes that an archive may unpack to."""
_SCRIPT_MARK = "constants.pkl"
_SCRIPT_ONLY = (_SCRIPT_MARK, "code/", "traced_inputs", "extra/")


class Inert:
    """Stands where a file names a class of another program; keeps its attributes and does nothing."""

    def __init__(self, *arguments: object) -> None:
        self.state: object = {}

    def __setstate__(self, state: object) -> None:
        self.state = state


def read_foreign_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, a PyTorch file, a Lightning checkpoint or a TorchScript archive.

    Args:
        path: The file.

    Returns:
        Tensors by name as the file has them; real numbers as float32.

    Raises:
        ModelError: If there is no such file, or it is not one of these.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file.")
    try:
        content = load_file(path) if path.suffix == ".safetensors" else _unpickle(path)
        tensors = dict(_flatten(_unwrap(content), ""))
    except ModelError as error:
        raise ModelError(f"{path}: {error}.") from error
    except Exception as error:  # PyTorch's reader raises all kinds, and its advice is to read the file unsafely
        kind = type(error).__name__
        remedy = "Get it again, or save the state_dict alone where it was made: torch.save(model.state_dict(), PATH)"
        raise ModelError(
            f"{path}: damaged, not a file of weights, or holding more than can be read safely ({kind}). {remedy}."
        ) from error
    if not tensors:
        raise ModelError(f"{path}: holds no tensors by name.")
    return {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}


def _unpickle(path: Path) -> object:
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            return torch.load(path, map_location="cpu", weights_only=True)
        archive = _without_code(file)
        archive.seek(0)
        strangers = torch.serialization.get_unsafe_globals_in_checkpoint(archive)
        archive.seek(0)
        # A class of its own for each name, as the reader keeps them by class.
        stands_for: list[Callable[..., object] | tuple[Callable[..., object], str]] = [
            (type("Inert", (Inert,), {}), name) for name in strangers
        ]
        with torch.serialization.safe_globals(stands_for):
            return torch.load(archive, map_location="cpu", weights_only=True)


def _without_code(file: BinaryIO) -> BinaryIO:
    """The archive itself, or a copy of a TorchScript archive that holds its tensors alone."""
    with zipfile.ZipFile(file) as archive:
        names = [name.partition("/")[2] for name in archive.namelist()]
        if sum(entry.file_size for entry in archive.infolist()) > LARGEST:
            raise ModelError(f"unpacks to more than {LARGEST} bytes; these are not weights of a model here")
        if _SCRIPT_MARK not in names:
            return file
        kept = io.BytesIO()
        with zipfile.ZipFile(kept, "w") as copy:
            for entry, name in zip(archive.infolist(), names, strict=True):
                if not name.startswith(_SCRIPT_ONLY):
                    copy.writestr(entry.filename, archive.read(entry))
    return kept


def _unwrap(content: object) -> object:
    for name in CONTAINERS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            return content[name]
    return content


def _flatten(content: object, prefix: str) -> Iterator[tuple[str, Tensor]]:
    """Named tensors of a state dict, or of a module's attributes and those of the modules in it."""
    attributes = content.state if isinstance(content, Inert) else content
    if not isinstance(attributes, Mapping):
        return
    for name, value in attributes.items():
        if isinstance(value, Tensor):
            yield f"{prefix}{name}", value.detach()
        elif isinstance(value, Inert):
            yield from _flatten(value, f"{prefix}{name}.")
