"""Segmenters whose graphs ONNX Runtime or OpenVINO runs; to everything else they are segmenters like any other.

An image's are ``image_embedding``, ``image_tap0`` …, those of a model's first part ``image_part0_tap0`` …; a prompt's
are ``text_embedding``, ``text_tokens``, ``text_token_mask``. Embeddings of width 0 have no tensor.

They use as many threads as ``torch.get_num_threads()`` says when a graph is opened.
"""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import NoReturn, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vesalius.errors import ModelError, require
from vesalius.models.checkpoint_file import (
    CONTRACT_NAME,
    GRAPHS,
    SUFFIX,
    ExportContract,
    GraphName,
    OnnxGraph,
    read_contract,
    refuse_graph,
    select_inputs,
    verify_checksums,
)
from vesalius.models.encoder import ImageFeatures, MaskPrediction, Part, Segmenter, TextFeatures
from vesalius.models.registry import as_segmenter, build_model


def flatten_image(features: ImageFeatures, prefix: str = "image") -> dict[str, Tensor]:
    """Tensors by name, each [B, …]."""
    tensors = _embedding(features, prefix)
    tensors |= {f"{prefix}_tap{index}": tap for index, tap in enumerate(features.taps)}
    for index, part in enumerate(features.parts):
        tensors |= flatten_image(part, f"{prefix}_part{index}")
    return tensors


def flatten_text(features: TextFeatures, prefix: str = "text") -> dict[str, Tensor]:
    """Tensors by name, each [B, …]."""
    tensors = _embedding(features, prefix)
    if features.tokens is not None:
        tensors[f"{prefix}_tokens"] = features.tokens
    if features.token_mask is not None:
        tensors[f"{prefix}_token_mask"] = features.token_mask
    for index, part in enumerate(features.parts):
        tensors |= flatten_text(part, f"{prefix}_part{index}")
    return tensors


def restore_image(tensors: Mapping[str, Tensor], batch: int, prefix: str = "image") -> ImageFeatures:
    """Undo ``flatten_image`` for B images."""
    taps = tuple(tensors[name] for name in _numbered(tensors, f"{prefix}_tap"))
    parts = tuple(restore_image(tensors, batch, part) for part in _numbered(tensors, f"{prefix}_part"))
    return ImageFeatures(_restore_embedding(tensors, batch, prefix), taps, parts)


def restore_text(tensors: Mapping[str, Tensor], batch: int, prefix: str = "text") -> TextFeatures:
    """Undo ``flatten_text`` for B prompts."""
    tokens, mask = tensors.get(f"{prefix}_tokens"), tensors.get(f"{prefix}_token_mask")
    parts = tuple(restore_text(tensors, batch, part) for part in _numbered(tensors, f"{prefix}_part"))
    return TextFeatures(_restore_embedding(tensors, batch, prefix), tokens, mask, parts)


def _embedding(features: ImageFeatures | TextFeatures, prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}_embedding": features.embedding} if features.embedding.shape[-1] else {}


def _restore_embedding(tensors: Mapping[str, Tensor], batch: int, prefix: str) -> Tensor:
    return tensors.get(f"{prefix}_embedding", torch.zeros(batch, 0))


def _numbered(tensors: Mapping[str, Tensor], start: str) -> Iterator[str]:
    """``start0``, ``start1`` … for as long as tensors have such a name, or one that goes on after it."""
    index = 0
    while any(name == f"{start}{index}" or name.startswith(f"{start}{index}_") for name in tensors):
        yield f"{start}{index}"
        index += 1


RunGraph = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
"""An opened graph: inputs by name to outputs by name; tensors that are no inputs of it are ignored."""


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
    """A graph in OpenVINO, NumPy in and out.

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
            raise ModelError(refuse_graph(path, "OpenVINO", error)) from error
        self._path, self._own = path, threading.local()
        self._inputs = [each.get_any_name() for each in self._compiled.inputs]
        self._outputs = [each.get_any_name() for each in self._compiled.outputs]

    def run(self, arrays: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.float32]]:
        """Outputs by name; arrays that are no inputs of the graph are ignored.

        Raises:
            ModelError: If the graph takes other inputs.
        """
        given = select_inputs(self._path, self._inputs, arrays)
        # A request holds the tensors it works on, so no two threads may share one.
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        try:
            found = self._own.request.infer(given)
        except RuntimeError as error:
            raise ModelError(refuse_graph(self._path, "OpenVINO", error, task="run")) from error
        return {name: found[name].copy() for name in self._outputs}


def open_graph(path: Path) -> RunGraph:
    """Open a file in the program that its suffix belongs to.

    Raises:
        MissingPackageError: If that program is not installed.
        ModelError: If it cannot read the file.
    """
    graph = OnnxGraph(path, torch.get_num_threads()) if path.suffix == SUFFIX["onnx"] else OpenVinoGraph(path)

    def run(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found = graph.run({name: tensor.numpy() for name, tensor in tensors.items()})
        return {name: torch.from_numpy(value) for name, value in found.items()}

    return run


class ExportedSegmenter(Segmenter):
    """See the module's description.

    Args:
        original: The model that was exported, without its weights.
        graphs: Opened; a model that does not read has none for text.
    """

    def __init__(self, original: Segmenter, graphs: Mapping[GraphName, RunGraph]) -> None:
        super().__init__(original.spec, original.tokenizer)
        self.recipe = original.recipe
        self.reads_text = original.reads_text
        self.judges_existence = original.judges_existence
        self._graphs = graphs

    def encoder_modules(self, part: Part) -> list[nn.Module]:
        """None: there is nothing to train."""
        return []

    def train(self, mode: bool = True) -> Self:
        """Evaluation mode is the only one.

        Raises:
            ModelError: If it is to be trained.
        """
        if mode:
            self._refuse("be trained")
        return super().train(mode)

    def state_dict(self, *args: object, **kwargs: object) -> NoReturn:
        """There are no weights to give.

        Raises:
            ModelError: Always.
        """
        self._refuse("be saved as a checkpoint")

    def encode_pixels(self, pixel_values: Tensor) -> ImageFeatures:
        """Normalised pixels [B, 3, S, S] to features; S is the one size of the graph."""
        return restore_image(self._graphs["image"]({"pixel_values": pixel_values}), len(pixel_values))

    def encode_tokens(self, input_ids: Tensor, attention_mask: Tensor) -> TextFeatures:
        """Token ids and their mask [B, L] to features."""
        if "text" not in self._graphs:
            return restore_text({}, len(input_ids))
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        return restore_text(self._graphs["text"](inputs), len(input_ids))

    def decode(self, image: ImageFeatures, text: TextFeatures) -> MaskPrediction:
        """Logits at the resolution the decoder works in."""
        found = self._graphs["decoder"](flatten_image(image) | flatten_text(text))
        if "logits" not in found:
            raise ModelError(f"An exported model ({self.recipe.name}) has a decoder without logits; export it again.")
        return MaskPrediction(found["logits"], found.get("existence"))

    def _refuse(self, what: str) -> NoReturn:
        remedy = "use the checkpoint it was exported from"
        raise ModelError(f"An exported model ({self.recipe.name}) cannot {what}; {remedy}.")


def load_exported(folder: Path) -> ExportedSegmenter:
    """Open what ``vesalius export`` wrote.

    Args:
        folder: With ``export.json`` and the graphs.

    Raises:
        MissingPackageError: If the program that runs the graphs is not installed.
        ModelError: If a file is missing, damaged or changed.
    """
    contract = read_contract(folder / CONTRACT_NAME)
    verify_checksums(folder, contract)
    return open_exported(folder, contract)


def open_exported(folder: Path, contract: ExportContract) -> ExportedSegmenter:
    """Open graphs whose files are known to be right.

    Raises:
        MissingPackageError: If the program that runs the graphs is not installed.
        ModelError: If a graph is missing or cannot be read, or there is no such model.
    """
    place = folder / CONTRACT_NAME
    try:
        with torch.device("meta"):  # its tokenizer and sizes are wanted, not its weights
            original = as_segmenter(build_model(contract.recipe.name, **contract.recipe.options))
    except ModelError as error:
        raise ModelError(f"{place}: {error} Export the model again.") from error
    files = {graph: contract.graph_file(graph) for graph in GRAPHS}
    missing = [graph for graph in GRAPHS if files[graph] is None and (graph != "text" or original.reads_text)]
    if missing:
        raise ModelError(f"{place}: has no graph for {', '.join(missing)}; export the model again.")
    graphs = {graph: open_graph(folder / file) for graph, file in files.items() if file is not None}
    return ExportedSegmenter(original, graphs).eval()
