"""A segmenter as three ONNX graphs (images, prompts, masks), and the same in 8 bits.

They are apart so that an image is encoded once for any number of prompts, and a prompt once for any number of images.
"""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim

from vesalius.data.datasets import SegmentationDataset
from vesalius.errors import ModelError, require
from vesalius.export.checking import choose_prompt
from vesalius.models import Segmenter
from vesalius.models.checkpoint_file import GraphName
from vesalius.models.encoder import VisionLanguageEncoder
from vesalius.models.exported import flatten_image, flatten_text, restore_image, restore_text

EXAMPLES = ("", "one small white polyp, located in the centre of the image")
"""Prompts of two lengths: what is traced with them holds for any number and length."""
OPSET = 18


class ImageGraph(nn.Module):
    """Normalised pixels to features."""

    def __init__(self, model: Segmenter) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        """Map [B, 3, S, S] to tensors by name."""
        return flatten_image(self.model.encode_pixels(pixel_values))


class TextGraph(nn.Module):
    """Token ids to features."""

    def __init__(self, model: Segmenter) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """Map ids and mask [B, L] to tensors by name."""
        return flatten_text(self.model.encode_tokens(input_ids, attention_mask))


class DecoderGraph(nn.Module):
    """Features of B images and B prompts to masks."""

    def __init__(self, model: Segmenter) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Logits [B, 1, h, w], and existence [B] of models that have it."""
        batch = next(iter(features.values())).shape[0]
        found = self.model.decode(restore_image(features, batch), restore_text(features, batch))
        return {"logits": found.logits} | ({} if found.existence is None else {"existence": found.existence})


@dataclass(frozen=True)
class Tracing:
    """A graph to be exported, and the example it is traced with."""

    graph: nn.Module
    arguments: Mapping[str, Tensor | dict[str, Tensor]]
    """Arguments of the graph's ``forward``."""
    axes: Mapping[str, object]
    """Axes of each argument whose length may vary."""

    @property
    def inputs(self) -> list[str]:
        """Names of the tensors."""
        groups = [list(value) if isinstance(value, dict) else [name] for name, value in self.arguments.items()]
        return [name for group in groups for name in group]


def check_exportable(model: Segmenter) -> None:
    """Refuse what has no graph of one fixed size.

    Raises:
        ModelError: If the model resizes images in a way of its own, or is an export already.
    """
    if type(model).encode_image is not VisionLanguageEncoder.encode_image:
        remedy = "export its members instead"
        raise ModelError(f"{model.recipe.name} takes images of any size, and a graph takes one size only; {remedy}.")
    if not list(model.parameters()):
        raise ModelError("This is an exported model already; give the checkpoint it was made from.")


def trace_model(model: Segmenter) -> dict[GraphName, Tracing]:
    """The graphs of a model, ready for ``write_graph``; models that do not read have none for text.

    Args:
        model: In evaluation mode.
    """
    any_batch = {0: Dim.DYNAMIC}
    size = model.spec.image_size
    pixels = torch.rand(len(EXAMPLES), 3, size, size)
    tokens = model.tokenizer(EXAMPLES)
    with torch.no_grad():
        text = flatten_text(model.encode_tokens(tokens.input_ids, tokens.attention_mask))
        features = flatten_image(model.encode_pixels(pixels)) | text
    tracings: dict[GraphName, Tracing] = {
        "image": Tracing(ImageGraph(model), {"pixel_values": pixels}, {"pixel_values": any_batch}),
        "decoder": Tracing(
            DecoderGraph(model), {"features": features}, {"features": dict.fromkeys(features, any_batch)}
        ),
    }
    if text:
        inputs = {"input_ids": tokens.input_ids, "attention_mask": tokens.attention_mask}
        any_size = any_batch | {tokens.input_ids.dim() - 1: Dim.AUTO}
        tracings["text"] = Tracing(TextGraph(model), inputs, dict.fromkeys(inputs, any_size))
    return tracings


def write_graph(tracing: Tracing, path: Path) -> None:
    """Trace a graph and write it as one ONNX file.

    Raises:
        MissingPackageError: If a package for ONNX is not installed.
        ModelError: If the model uses an operation that ONNX lacks.
    """
    for package in ("onnx", "onnxscript"):
        require(package, extra="export")
    with torch.no_grad():
        outputs = list(tracing.graph(**tracing.arguments))
    with _exporting():
        try:
            torch.onnx.export(
                tracing.graph.eval(),
                (),
                path,
                kwargs=dict(tracing.arguments),
                input_names=tracing.inputs,
                output_names=outputs,
                dynamic_shapes=dict(tracing.axes),
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            reason = "it uses an operation that ONNX lacks"
            raise ModelError(
                f"The {path.stem} graph cannot be written: {reason}; use this model in PyTorch."
            ) from error


@contextmanager
def _exporting() -> Iterator[None]:
    """Without fused attention, which the exporter cannot trace, and without its messages about itself."""
    logger, fused = logging.getLogger("torch.onnx"), torch.backends.mha.get_fastpath_enabled()
    level = logger.level
    logger.setLevel(logging.ERROR)
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        torch.backends.mha.set_fastpath_enabled(fused)


CALIBRATION_IMAGES = 64
"""Number of training images, evenly spread, that 8-bit graphs are calibrated on."""
Arrays = dict[str, NDArray[np.generic]]


class CalibrationReader:
    """Inputs of a graph, image by image, as ONNX Runtime's quantiser reads them.

    Args:
        model: In evaluation mode; gives the decoder its features.
        dataset: Training images.
        graph: Which graph.
        inputs: Its tensors.
    """

    def __init__(self, model: Segmenter, dataset: SegmentationDataset, graph: GraphName, inputs: list[str]) -> None:
        self._arrays = _feed(model, dataset, graph, inputs)

    def get_next(self) -> Arrays | None:
        """Arrays by name, None after the last."""
        return next(self._arrays, None)


def _feed(model: Segmenter, dataset: SegmentationDataset, graph: GraphName, inputs: list[str]) -> Iterator[Arrays]:
    count = min(len(dataset), CALIBRATION_IMAGES)
    for index in np.linspace(0, len(dataset) - 1, count).round().astype(int).tolist():
        sample = dataset[index]
        with torch.inference_mode():
            tensors = {"pixel_values": model.spec.prepare(sample.image[None])}
            if graph == "decoder":
                text = model.encode_text([choose_prompt(sample)])
                tensors = flatten_image(model.encode_image(sample.image[None])) | flatten_text(text)
        yield {name: tensors[name].numpy() for name in inputs}


def quantise(
    path: Path, graph: GraphName, model: Segmenter, dataset: SegmentationDataset, *, seven_bits: bool = False
) -> None:
    """Turn an ONNX file into its 8-bit form.

    Args:
        path: The file, which is replaced.
        graph: Which one it is.
        model: The model it was made from.
        dataset: Training images; see ``CALIBRATION_IMAGES``.
        seven_bits: Whether weights of the convolutions take 7 of the 8 bits, so that sums of two products fit into 16,
            as OpenVINO adds them on processors without VNNI.

    Raises:
        MissingPackageError: If ONNX Runtime is not installed.
    """
    quantiser = require("onnxruntime.quantization", extra="export")
    prepared = path.with_suffix(".prepared")
    with _without_advice():
        if graph == "text":
            quantiser.quantize_dynamic(path, path, weight_type=quantiser.QuantType.QInt8, per_channel=True)
            return
        quantiser.quant_pre_process(path, prepared, skip_symbolic_shape=True)
        inputs = require("onnxruntime", extra="export").InferenceSession(prepared).get_inputs()
        reader = CalibrationReader(model, dataset, graph, [each.name for each in inputs])
        quantiser.quantize_static(prepared, path, reader, per_channel=True, reduce_range=seven_bits)
    prepared.unlink()


@contextmanager
def _without_advice() -> Iterator[None]:
    """Silence the quantiser's advice, which is followed where it matters."""
    before = logging.root.manager.disable  # as --quiet sets it
    logging.disable(max(before, logging.WARNING))
    try:
        yield
    finally:
        logging.disable(before)
