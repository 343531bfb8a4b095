"""Programs that run graphs without PyTorch: ONNX Runtime and OpenVINO, both on the CPU and in 32-bit floats.

They use as many threads as ``torch.get_num_threads()`` says when a graph is opened.
"""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Protocol

import torch
from torch import Tensor

from vesalius.errors import ModelError, require
from vesalius.models.export_contract import SUFFIX

_ERRORS_ONLY = 3


class Graph(Protocol):
    """One opened graph."""

    def __call__(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Outputs by name; tensors that are no inputs of the graph are ignored."""
        ...


class OnnxGraph:
    """A graph in ONNX Runtime.

    Raises:
        MissingPackageError: If ONNX Runtime is not installed.
        ModelError: If it cannot read the file.
    """

    def __init__(self, path: Path) -> None:
        runtime = require("onnxruntime", extra="export")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = _ERRORS_ONLY
        # Its threads would otherwise keep their cores busy for a while after each call, and slow whatever runs next.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its own classes share no other base
            raise ModelError(_unreadable(path, "ONNX Runtime", error)) from error
        self._inputs = [each.name for each in self._session.get_inputs()]
        self._outputs = [each.name for each in self._session.get_outputs()]

    def __call__(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Outputs by name."""
        found = self._session.run(None, {name: tensors[name].numpy() for name in self._inputs})
        return {name: torch.from_numpy(value) for name, value in zip(self._outputs, found, strict=True)}


@contextmanager
def unreported() -> Iterator[None]:
    """Keep OpenVINO from telling its makers over the network that it is used, which it does unless run in CI."""
    before = os.environ.get("CI")
    os.environ["CI"] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ["CI"]
        else:
            os.environ["CI"] = before


def import_openvino() -> ModuleType:
    """OpenVINO, which would report its import too.

    Raises:
        MissingPackageError: If it is not installed.
    """
    with unreported():
        return require("openvino", extra="export")


class OpenVinoGraph:
    """A graph in OpenVINO.

    Raises:
        MissingPackageError: If OpenVINO is not installed.
        ModelError: If it cannot read the file.
    """

    def __init__(self, path: Path) -> None:
        core = import_openvino().Core()
        # Some processors would otherwise be given 16-bit floats.
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        try:
            self._compiled = core.compile_model(path, "CPU", settings)
        except RuntimeError as error:
            raise ModelError(_unreadable(path, "OpenVINO", error)) from error
        self._own = threading.local()
        self._inputs = [each.get_any_name() for each in self._compiled.inputs]
        self._outputs = [each.get_any_name() for each in self._compiled.outputs]

    def __call__(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Outputs by name."""
        # A request holds the tensors it works on, so no two threads may share one.
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        found = self._own.request.infer({name: tensors[name].numpy() for name in self._inputs})
        return {name: torch.from_numpy(found[name].copy()) for name in self._outputs}


def open_graph(path: Path) -> Graph:
    """Open a file in the program that its suffix belongs to.

    Raises:
        MissingPackageError: If that program is not installed.
        ModelError: If it cannot read the file.
    """
    return OnnxGraph(path) if path.suffix == SUFFIX["onnx"] else OpenVinoGraph(path)


def _unreadable(path: Path, program: str, error: Exception) -> str:
    reason = str(error).strip().splitlines()[0]
    return f"{path}: {program} cannot read this graph ({reason}); export the model again."
