"""Write pocket's graphs for ONNX Runtime into the package: its architecture without its weights.

    python experiments/pocket/graphs.py

``image`` draws an image's maps, ``text`` encodes a phrase, ``decoder`` finds it; ``vector`` is what naming needs of
``image``.

Each graph says of every number that training changes from which tensors of a checkpoint it comes, so one file of
weights serves PyTorch and ONNX Runtime, and a fine-tuned checkpoint runs on the same graphs. To be run anew when the
architecture changes; tests/runtime compares both runtimes.

What comes from training is found by tracing the model with two sets of random weights: initializers that differ are
bound to tensors, or to a convolution and the batch norm that the exporter folded into it; the others stay in the graph.
"""

import argparse
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, numpy_helper
from onnx.utils import Extractor

from vesalius.export.tracing import trace_model, write_graph
from vesalius.files import write_json
from vesalius.models import Segmenter, build_model
from vesalius.models.checkpoint_file import EMBEDDED_GRAPHS
from vesalius.models.registry import as_segmenter
from vesalius.runtime.onnx import CONTENTS, Binding, bind

EPSILONS = (1e-5, 1e-3)
"""Of the batch norms there are."""
Array = NDArray[np.float32]


def main() -> None:
    """Trace twice, bind, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    models = [random_model(seed) for seed in (1, 2)]
    states: list[Mapping[str, Array]] = [
        {key: value.numpy() for key, value in model.state_dict().items()} for model in models
    ]
    spec, folder, bindings = models[0].spec, EMBEDDED_GRAPHS["pocket"], {}
    folder.mkdir(exist_ok=True)
    with TemporaryDirectory() as temporary:
        for name in trace_model(models[0]):
            found = [trace(model, name, Path(temporary) / f"{name}.onnx") for model in models]
            if name == "image":
                short = [Extractor(each).extract_model(["pixel_values"], ["image_embedding"]) for each in found]
                bindings["vector"] = write(folder / "vector.onnx", short, states)
            bindings[name] = write(folder / f"{name}.onnx", found, states)
    settings = {name: getattr(spec, name) for name in ("image_size", "mean", "std", "context_length")}
    write_json(folder / CONTENTS, {"settings": settings, "bindings": bindings})


def random_model(seed: int) -> Segmenter:
    """All weights and statistics random, so that no two tensors are alike."""
    torch.manual_seed(seed)
    model = as_segmenter(build_model("pocket")).eval()
    for value in model.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand_like(value) * 0.1 + 0.05)
    return model


def trace(model: Segmenter, name: str, path: Path) -> ModelProto:
    """One graph with its weights inside."""
    write_graph(trace_model(model)[name], path)  # type: ignore[index]  # its own names
    return onnx.load(path)


def write(path: Path, found: list[ModelProto], states: list[Mapping[str, Array]]) -> dict[str, Binding]:
    """Write a graph without what differs; how that follows from a checkpoint."""
    graph, other = found
    values = {each.name: numpy_helper.to_array(each) for each in other.graph.initializer}
    bindings: dict[str, Binding] = {}
    for initializer in graph.graph.initializer:
        both = [numpy_helper.to_array(initializer), values[initializer.name]]
        if np.array_equal(both[0], both[1]):
            continue
        bindings[initializer.name] = find_binding(both, states)
        take_out(initializer)
    for node in graph.graph.node:  # where in our sources each came from, and other notes of the exporter
        del node.metadata_props[:]
        node.doc_string = ""
    del graph.graph.value_info[:]
    onnx.save(graph, path)
    print(f"{path}: {len(graph.graph.node)} nodes, {len(bindings)} bound tensors, {path.stat().st_size / 1000:.0f} kB")
    return bindings


def take_out(initializer: TensorProto) -> None:
    """Leave name, type and shape; the numbers are given when the graph is opened."""
    initializer.ClearField("raw_data")
    initializer.data_location = TensorProto.EXTERNAL
    del initializer.external_data[:]
    for key, value in (("location", "given-when-opened"), ("offset", "0")):
        entry = initializer.external_data.add()
        entry.key, entry.value = key, value


def find_binding(values: list[Array], states: list[Mapping[str, Array]]) -> Binding:
    """How an initializer follows from a checkpoint's tensors, in both traces alike."""
    for binding in candidates(values[0], states[0]):
        if all(_equal(bind(binding, state), value) for value, state in zip(values, states, strict=True)):
            return binding
    raise SystemExit(f"an initializer of shape {values[0].shape} follows from no tensor of the model")


def candidates(value: Array, state: Mapping[str, Array]) -> Iterator[Binding]:
    """All that have the right size."""
    for name, tensor in state.items():
        if tensor.shape == value.shape:
            yield {"weight": name}
        if tensor.shape == value.shape[::-1] and tensor.ndim == 2:
            yield {"weight": name, "transpose": True}
    convolutions = (name for name in state if name.endswith(".0.weight"))
    for name, epsilon in product(convolutions, EPSILONS):
        norm = name.removesuffix("0.weight") + "1"
        if f"{norm}.running_var" not in state or len(state[name]) != len(value):
            continue
        if value.ndim == 1:
            yield {"norm": norm, "epsilon": epsilon}
        elif state[name].shape == value.shape:
            yield {"weight": name, "norm": norm, "epsilon": epsilon}


def _equal(found: Array, wanted: Array) -> bool:
    return found.shape == wanted.shape and bool(np.allclose(found, wanted, rtol=1e-5, atol=1e-7))


if __name__ == "__main__":
    main()
