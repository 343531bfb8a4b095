"""Models in ONNX Runtime: the package's graphs fed from any checkpoint that fits them, or an export's own.

Beside the graphs of `GRAPHS` lies `CONTENTS`, which says from which tensors of a checkpoint their initializers come.
Matrices stored as 8-bit integers, and numbers of 16 bits, become float32 here, as in `vesalius.models.checkpoints`.

Nothing here needs PyTorch. The graphs are opened when they are first needed: whoever asks only for phrases whose
vectors are known opens no text encoder.
"""

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TypedDict

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from safetensors import safe_open

from vesalius.errors import ModelError
from vesalius.models.checkpoint_file import EMBEDDED, EMBEDDED_GRAPHS, PHRASES, SCALE, open_tensors
from vesalius.prompts.phrase_vectors import read_phrase_vectors
from vesalius.runtime.contract import EncodedImages, EncodedPhrases, Floats, Outlines, resize_rgb

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


PHRASES_AT_ONCE = 8
"""Phrases decoded together; bounds memory, changes no number."""
REMEMBERED = 4096
"""Phrases whose vectors are kept, the least recently asked go first."""
LOGIT_SCALE = 20.0
"""pocket's factor from cosine similarity to log-odds."""
_ERRORS_ONLY = 3


class OnnxRuntime:
    """A checkpoint of pocket's architecture on the graphs that the package carries.

    Args:
        checkpoint: Its file.
        threads: That compute; 0 for all cores.

    Raises:
        ModelError: If its weights do not fit.
    """

    name = "onnx"
    device = "cpu"
    reads_text = True
    judges_existence = True
    logit_scale = LOGIT_SCALE

    def __init__(self, checkpoint: Path, threads: int = 0) -> None:
        self._checkpoint, self._folder, self._threads = checkpoint, EMBEDDED_GRAPHS["pocket"], threads
        self._vectors: OrderedDict[str, Floats] = OrderedDict()
        # The packaged model's sentence vectors of all names it may be asked are at hand: no text encoder is opened.
        self._known = read_phrase_vectors(PHRASES) if checkpoint == EMBEDDED["pocket"] else {}
        self._lock = threading.RLock()
        contents = json.loads((self._folder / CONTENTS).read_text(encoding="utf-8"))
        settings, self._bindings = contents["settings"], contents["bindings"]
        self.image_size: int = settings["image_size"]
        self._mean, self._std = (np.array(settings[name], np.float32) for name in ("mean", "std"))
        self._context_length: int = settings["context_length"]

    def encode_image(self, rgb: Floats) -> EncodedImages:
        """See `Runtime`."""
        found = self._image.run({"pixel_values": self._prepare(rgb)})
        return EncodedImages(found["image_embedding"], found)

    def embed_image(self, rgb: Floats) -> Floats:
        """See `Runtime`; draws no maps for outlines."""
        return self._vector.run({"pixel_values": self._prepare(rgb)})["image_embedding"]

    def encode_text(self, phrases: Sequence[str]) -> EncodedPhrases:
        """See `Runtime`."""
        with self._lock:
            self._vectors.update({each: self._known[each] for each in phrases if each in self._known})
            new = sorted(set(phrases) - self._vectors.keys())
            for start in range(0, len(new), PHRASES_AT_ONCE):
                some = new[start : start + PHRASES_AT_ONCE]
                ids, mask = self._tokenize(some)
                vectors = self._text.run({"input_ids": ids, "attention_mask": mask})["text_embedding"]
                self._vectors.update(zip(some, vectors, strict=True))
            for phrase in phrases:
                self._vectors.move_to_end(phrase)
            found = np.stack([self._vectors[phrase] for phrase in phrases])
            while len(self._vectors) > REMEMBERED:
                self._vectors.popitem(last=False)
        return EncodedPhrases(found)

    def decode(self, image: EncodedImages, text: EncodedPhrases) -> Outlines:
        """See `Runtime`."""
        assert isinstance(image.maps, Mapping)
        logits, existence = [], []
        for start in range(0, len(text.vectors), PHRASES_AT_ONCE):
            some = text.vectors[start : start + PHRASES_AT_ONCE]
            maps = {name: np.repeat(value, len(some), axis=0) for name, value in image.maps.items()}
            found = self._decoder.run(maps | {"text_embedding": some})
            logits.append(found["logits"][:, 0])
            existence.append(found["existence"].astype(np.float64))
        return Outlines(np.concatenate(logits), np.concatenate(existence))

    def _prepare(self, rgb: Floats) -> Floats:
        """[B, H, W, 3] in [0, 1] -> normalised pixel values [B, 3, S, S]."""
        pixels = np.stack([(resize_rgb(each, self.image_size) - self._mean) / self._std for each in rgb])
        return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), np.float32)

    @cached_property
    def _tokenize(self) -> Callable[[Sequence[str]], tuple[NDArray[np.int64], NDArray[np.int64]]]:
        from vesalius.models.tokenizers import (
            make_tokenizer,
            read_bert,  # as little needed as the graph that it feeds
            tokenize,
        )

        return partial(tokenize, make_tokenizer(read_bert(), self._context_length))

    @cached_property
    def _image(self) -> "Graph":
        return self._open("image")

    @cached_property
    def _vector(self) -> "Graph":
        return self._open("vector")

    @cached_property
    def _text(self) -> "Graph":
        return self._open("text")

    @cached_property
    def _decoder(self) -> "Graph":
        return self._open("decoder")

    def _open(self, graph: str) -> "Graph":
        return Graph(self._folder / f"{graph}.onnx", self._bindings[graph], self._checkpoint, self._threads)


class Graph:
    """A graph of the package with a checkpoint's weights.

    Args:
        path: Of the graph.
        bindings: How each initializer follows from the checkpoint.
        checkpoint: Where its weights are.
        threads: That compute; 0 for all cores.

    Raises:
        ModelError: If the weights do not fit.
    """

    def __init__(self, path: Path, bindings: Mapping[str, Binding], checkpoint: Path, threads: int) -> None:
        state = read_tensors(checkpoint, {name for each in bindings.values() for name in needed(each)})
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = _ERRORS_ONLY
        # Its threads would otherwise keep their cores busy for a while after each call, and slow whatever runs next.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        values = {name: onnxruntime.OrtValue.ortvalue_from_numpy(bind(each, state)) for name, each in bindings.items()}
        options.add_external_initializers(list(values), list(values.values()))
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its own classes share no other base
            reason = str(error).strip().splitlines()[0]
            raise ModelError(f"{checkpoint}: its weights do not fit the graph {path.name} ({reason}).") from error
        self._inputs = [each.name for each in self._session.get_inputs()]
        self._outputs = [each.name for each in self._session.get_outputs()]

    def run(self, tensors: Mapping[str, NDArray[np.generic]]) -> dict[str, Floats]:
        """Outputs by name; tensors that are no inputs of the graph are ignored."""
        found = self._session.run(None, {name: tensors[name] for name in self._inputs})
        return dict(zip(self._outputs, found, strict=True))
