"""Pocket in ONNX Runtime, without PyTorch: the package's graphs, with the weights of any checkpoint that fits them.

Beside the graphs of `EMBEDDED_GRAPHS` lies `CONTENTS`, which lists the tensors of a checkpoint that their initializers
are computed from (experiments/pocket/graphs.py writes it and the graphs). Matrices stored as 8-bit integers, and
numbers of 16 bits, become float32 here, as in `vesalius.models.checkpoints`.

Graphs are opened when they are first needed, so the text encoder is not opened for phrases whose vectors are known.
"""

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import REINSTALL, ModelError
from vesalius.models.checkpoint_file import (
    EMBEDDED,
    EMBEDDED_GRAPHS,
    PHRASES,
    REAL_NUMBERS,
    SCALE,
    OnnxGraph,
    open_tensors,
    read_dtypes,
)
from vesalius.models.registry import LOGIT_SCALE
from vesalius.prompts.phrase_vectors import read_phrase_vectors
from vesalius.runtime.contract import EncodedImages, EncodedPhrases, Floats, Outlines, resize_rgb

CONTENTS = "graphs.json"
"""File in a folder of graphs: ``{"settings": {…}, "bindings": {graph: {initializer: Binding}}}``."""


NORM_PARTS = ("weight", "bias", "running_mean", "running_var")
PHRASES_AT_ONCE = 8
"""Phrases decoded together; bounds memory, changes no number."""
REMEMBERED = 4096
"""Phrases whose vectors are kept; the least recently asked go first."""


class Binding(TypedDict, total=False):
    """The tensors of a checkpoint that an initializer is computed from."""

    weight: str
    """Name of a tensor, taken as it is but for what the other fields say."""
    transpose: bool
    """Whether rows and columns of ``weight`` are exchanged."""
    norm: str
    """A batch norm folded into the convolution ``weight``; without ``weight``, the bias that it leaves."""
    epsilon: float
    """Epsilon of the batch norm."""


def bind(binding: Binding, state: Mapping[str, Floats]) -> Floats:
    """Compute an initializer.

    Args:
        binding: What it is computed from.
        state: Tensors by name.

    Raises:
        KeyError: If there is no such tensor.
        ValueError: If shapes do not fit.
    """
    if "norm" not in binding:
        value = state[binding["weight"]]
        return np.ascontiguousarray(value.T) if binding.get("transpose") else value
    norm = binding["norm"]
    if len(shapes := {state[f"{norm}.{part}"].shape for part in NORM_PARTS}) > 1:
        raise ValueError(f"{norm} has tensors of the shapes {', '.join(map(str, sorted(shapes)))}")
    scale = state[f"{norm}.weight"] / np.sqrt(state[f"{norm}.running_var"] + np.float32(binding["epsilon"]))
    if "weight" not in binding:
        return np.asarray(state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale, np.float32)
    weight = state[binding["weight"]]
    if weight.shape[:1] != scale.shape:
        raise ValueError(f"{binding['weight']} has the shape {weight.shape}, its norm {scale.shape}")
    return np.asarray(weight * scale.reshape(-1, *[1] * (weight.ndim - 1)), np.float32)


def _list_tensors(bindings: Mapping[str, Binding]) -> set[str]:
    """Names of the tensors that a graph's initializers are computed from."""
    weights = {each["weight"] for each in bindings.values() if "weight" in each}
    return weights | {f"{each['norm']}.{part}" for each in bindings.values() if "norm" in each for part in NORM_PARTS}


def check_tensors(path: Path, names: set[str]) -> None:
    """See by its header that a checkpoint has the tensors of the model, all of them real numbers, and no others.

    Args:
        path: A safetensors file.
        names: Tensors of the model; counts of batches may lie beside them.

    Raises:
        ModelError: If the file is damaged, or has other tensors.
    """
    with open_tensors(path) as file:
        kinds = read_dtypes(file, path)
    wrong = {
        "missing": names - kinds.keys(),
        "unexpected": {name for name in kinds.keys() - names if not name.endswith(".num_batches_tracked")},
        "stored in another form than F16, F32, F64 or scaled I8": {
            name for name in names & kinds.keys() if kinds[name] not in REAL_NUMBERS | {"I8"}
        },
    }
    if any(wrong.values()):
        told = "; ".join(f"{len(found)} {kind}, the first {min(found)}" for kind, found in wrong.items() if found)
        raise ModelError(f"{path}: its tensors are not those of the model: {told}. Get or train it again.")


def read_tensors(path: Path, names: Iterable[str]) -> dict[str, Floats]:
    """Read some tensors of a checkpoint, which `check_tensors` has seen, as float32.

    Args:
        path: A safetensors file.
        names: Tensors to read.

    Raises:
        ModelError: If the file is damaged.
    """
    found = {}
    with open_tensors(path) as file:
        for name in names:
            value = file.get_tensor(name)
            if value.dtype == np.int8:
                value = value * file.get_tensor(name + SCALE).astype(np.float32)
            found[name] = np.asarray(value, np.float32)
    return found


class OnnxRuntime:
    """A checkpoint of pocket's architecture on the graphs that the package carries.

    Args:
        checkpoint: A safetensors file.
        threads: Threads that compute; 0 for all cores.

    Raises:
        ModelError: If its tensors are not the model's; if their shapes are not, as soon as a graph is needed.
    """

    name = "onnx"
    device = "cpu"
    reads_text = True
    judges_existence = True
    logit_scale = LOGIT_SCALE

    def __init__(self, checkpoint: Path, threads: int = 0) -> None:
        self._checkpoint, self._folder, self._threads = checkpoint, EMBEDDED_GRAPHS["pocket"], threads
        self._graphs: dict[str, OnnxGraph] = {}
        self._vectors: OrderedDict[str, Floats] = OrderedDict()
        # The packaged model's sentence vectors of all names it may be asked are at hand: no text encoder is opened.
        self._known = read_phrase_vectors(PHRASES) if checkpoint == EMBEDDED["pocket"] else {}
        self._lock = threading.RLock()
        path = self._folder / CONTENTS
        try:
            contents = json.loads(path.read_text(encoding="utf-8"))
            settings, self._bindings = contents["settings"], contents["bindings"]
            self.image_size: int = settings["image_size"]
            self._mean, self._std = (np.array(settings[name], np.float32) for name in ("mean", "std"))
            self._context_length: int = settings["context_length"]
            self._tensors = {name: _list_tensors(bindings) for name, bindings in self._bindings.items()}
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise ModelError(f"{path}: cannot be read ({error!r}); {REINSTALL}.") from error
        check_tensors(checkpoint, set().union(*self._tensors.values()))

    def encode_image(self, rgb: Floats) -> EncodedImages:
        """See `Runtime`."""
        found = self._run("image", pixel_values=self._prepare(rgb))
        return EncodedImages(found["image_embedding"], found)

    def embed_image(self, rgb: Floats) -> Floats:
        """See `Runtime`; computes no maps for outlines."""
        return self._run("vector", pixel_values=self._prepare(rgb))["image_embedding"]

    def encode_text(self, phrases: Sequence[str]) -> EncodedPhrases:
        """See `Runtime`."""
        with self._lock:
            self._vectors.update({each: self._known[each] for each in phrases if each in self._known})
            new = sorted(set(phrases) - self._vectors.keys())
            for start in range(0, len(new), PHRASES_AT_ONCE):
                some = new[start : start + PHRASES_AT_ONCE]
                ids, mask = self._tokenize(some)
                vectors = self._run("text", input_ids=ids, attention_mask=mask)["text_embedding"]
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
            found = self._run("decoder", **maps, text_embedding=some)
            logits.append(found["logits"][:, 0])
            existence.append(found["existence"].astype(np.float64))
        return Outlines(np.concatenate(logits), np.concatenate(existence))

    def _prepare(self, rgb: Floats) -> Floats:
        """[B, H, W, 3] in [0, 1] -> normalised pixel values [B, 3, S, S]."""
        pixels = np.stack([(resize_rgb(each, self.image_size) - self._mean) / self._std for each in rgb])
        return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), np.float32)

    @cached_property
    def _tokenize(self) -> Callable[[Sequence[str]], tuple[NDArray[np.int64], NDArray[np.int64]]]:
        from vesalius.models.tokenizers import make_tokenizer, read_bert, tokenize  # needed only with the text graph

        return partial(tokenize, make_tokenizer(tuple(read_bert()), self._context_length))

    def _run(self, graph: str, **arrays: NDArray[np.generic]) -> dict[str, Floats]:
        with self._lock:
            if graph not in self._graphs:
                self._graphs[graph] = self._open(graph)
        return self._graphs[graph].run(arrays)

    def _open(self, graph: str) -> OnnxGraph:
        bindings: Mapping[str, Binding] = self._bindings[graph]
        state = read_tensors(self._checkpoint, self._tensors[graph])
        try:
            weights = {name: bind(each, state) for name, each in bindings.items()}
        except ValueError as error:
            told = f"its tensors do not have the shapes of the model ({error})"
            raise ModelError(f"{self._checkpoint}: {told}; get or train it again.") from error
        path, remedy = self._folder / f"{graph}.onnx", REINSTALL
        if path.is_file() and self._checkpoint != EMBEDDED["pocket"]:
            remedy = (
                f"the weights of {self._checkpoint} do not fit it. If they were fine-tuned from an earlier pocket, "
                "fine-tune them again from today's"
            )
        return OnnxGraph(path, self._threads, weights, remedy)
