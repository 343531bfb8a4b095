"""Graphs in 8 bits: images and masks by what calibration images put through them, prompts by their weights alone."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vesalius.data.datasets import SegmentationDataset
from vesalius.errors import require
from vesalius.export.checking import choose_prompt
from vesalius.models import Segmenter
from vesalius.models.export_contract import GraphName
from vesalius.models.flat_features import flatten_image, flatten_text

CALIBRATION_IMAGES = 64
"""Spread over the training images."""
Arrays = dict[str, NDArray[np.generic]]


class Calibration:
    """What goes into a graph, image by image; a reader as ONNX Runtime's quantiser wants it.

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
    step = max(1, len(dataset) // CALIBRATION_IMAGES)
    for index in range(0, len(dataset), step)[:CALIBRATION_IMAGES]:
        sample = dataset[index]
        with torch.inference_mode():
            tensors = {"pixel_values": model.spec.prepare(sample.image[None])}
            if graph == "decoder":
                text = model.encode_text([choose_prompt(sample)])
                tensors = flatten_image(model.encode_image(sample.image[None])) | flatten_text(text)
        yield {name: tensors[name].numpy() for name in inputs}


def quantise(path: Path, graph: GraphName, model: Segmenter, dataset: SegmentationDataset) -> None:
    """Turn an ONNX file into its 8-bit form.

    Args:
        path: The file, which is replaced.
        graph: Which one it is.
        model: The model it was made from.
        dataset: Training images; see ``CALIBRATION_IMAGES``.

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
        reader = Calibration(model, dataset, graph, [each.name for each in inputs])
        quantiser.quantize_static(prepared, path, reader, per_channel=True)
    prepared.unlink()


@contextmanager
def _without_advice() -> Iterator[None]:
    """Keep the quantiser's advice, which we follow where it matters, from users."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
