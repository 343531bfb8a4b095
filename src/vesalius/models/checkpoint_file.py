"""Checkpoints and graphs on disk, opened without PyTorch: the embedded one, single files, and folders of exports."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from vesalius.errors import ModelError, require, unknown_name
from vesalius.files import sha256_of, write_json
from vesalius.models.registry import ModelRecipe, list_encoders, list_models

if TYPE_CHECKING:
    from vesalius.models.encoder import EncoderSpec


WEIGHTS = Path(str(files("vesalius.models") / "weights"))
PHRASES = WEIGHTS / "phrases.safetensors"
"""Sentence vectors of all names, by pocket's encoder, and a classifier of them, for ``vesalius.prompts.targets``."""
EMBEDDED = {"pocket": WEIGHTS / "pocket.safetensors"}
"""Models whose trained weights the package carries."""
EMBEDDED_GRAPHS = {"pocket": WEIGHTS / "pocket"}
"""Folders of graphs without weights, which any checkpoint of the model with its default options fits."""


CONTRACT_NAME = "export.json"
FORMAT = 1
"""Version of this layout."""
MAX_BYTES = 10_000_000
"""A contract has some kilobytes; a file beyond this is none."""

GraphProgram = Literal["onnx", "openvino"]
GRAPH_PROGRAMS: tuple[GraphProgram, ...] = get_args(GraphProgram)
SUFFIX: Mapping[GraphProgram, str] = {"onnx": ".onnx", "openvino": ".xml"}
"""Ending of the file that a program opens."""
GraphName = Literal["image", "text", "decoder"]
GRAPHS: tuple[GraphName, ...] = get_args(GraphName)
NumberFormat = Literal["float32", "int8"]
Job = Literal["segment", "name"]
JOBS: tuple[Job, ...] = get_args(Job)
Purpose = Job | Literal["train", "train-naming"]
"""What a model is looked for."""


@dataclass(frozen=True)
class ExportContract:
    """``export.json`` of a folder of exported graphs."""

    runtime: GraphProgram
    precision: NumberFormat
    recipe: ModelRecipe
    """Recipe of the original model, whose tokenizer the export uses."""
    files: Mapping[str, str]
    """sha256 by file name."""
    notes: Mapping[str, object]
    """Notes of the checkpoint that was exported."""
    refused: Mapping[Job, str] = field(default_factory=dict)
    """Jobs that the export does not do, and why."""

    def graph_file(self, graph: GraphName) -> str | None:
        """The file that the runtime opens; None if the model has no such graph (one that does not read)."""
        name = f"{graph}{SUFFIX[self.runtime]}"
        return name if name in self.files else None


def write_contract(folder: Path, contract: ExportContract, spec: "EncoderSpec", facts: Mapping[str, object]) -> None:
    """Write ``export.json``.

    Args:
        folder: Where the graphs lie.
        contract: What is read again.
        spec: For readers other than us: size, mean and standard deviation.
        facts: For people: the version that wrote it, the tensors, what the check found.

    Raises:
        OutputError: If it cannot be written.
    """
    content = {
        "format": FORMAT,
        "runtime": contract.runtime,
        "precision": contract.precision,
        "model": {"name": contract.recipe.name, "options": dict(contract.recipe.options)},
        "pixel_values": {
            "shape": ["batch", 3, spec.image_size, spec.image_size],
            "values": "(RGB in [0, 1] - mean) / std, resized bilinearly, with antialiasing where it shrinks",
            "mean": spec.mean,
            "std": spec.std,
        },
        **facts,
        "jobs": [job for job in JOBS if job not in contract.refused],
        "refused_jobs": dict(contract.refused),
        "files": dict(contract.files),
        "notes": dict(contract.notes),
    }
    write_json(folder / CONTRACT_NAME, content)


def read_contract(path: Path) -> ExportContract:
    """Read ``export.json``.

    Raises:
        ModelError: If it is no such file, or of a version we do not know.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(f"{path}: too large for a description of an export, more than {MAX_BYTES} bytes.")
        content = json.loads(path.read_text(encoding="utf-8"))
        recipe = ModelRecipe.from_json(json.dumps(content["model"]))
        files, notes, said = (dict(content.get(name, {})) for name in ("files", "notes", "refused_jobs"))
        refused = {job: str(said[job]) for job in JOBS if job in said}
        contract = ExportContract(content["runtime"], content["precision"], recipe, files, notes, refused)
        version = content["format"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path}: not a description of an export, or damaged ({error!r}); export again.") from error
    if version != FORMAT or contract.runtime not in GRAPH_PROGRAMS:
        found = f"format {version!r} for {contract.runtime!r}"
        raise ModelError(
            f"{path}: expected format {FORMAT} for one of {', '.join(GRAPH_PROGRAMS)}, got {found}; export again."
        )
    return contract


def verify_checksums(folder: Path, contract: ExportContract) -> None:
    """Compare the files with their checksums.

    Raises:
        ModelError: If one is missing, has changed or lies outside the folder.
    """
    for name, expected in contract.files.items():
        path = folder / name
        if path.name != name or not path.is_file():
            raise ModelError(f"{path}: named in {CONTRACT_NAME} and not there; export the model again.")
        if sha256_of(path) != expected:
            raise ModelError(f"{path}: not the file that was exported, its checksum differs; export the model again.")


CHECKPOINT_NAME = "model.safetensors"
SCALE = ".int8_scale"
"""What a matrix's scales, one a row, are called after its own name."""
REAL_NUMBERS = {"F16", "F32", "F64"}
"""Kinds of numbers, by safetensors' names, that every reader of checkpoints takes."""


def read_notes(path: Path) -> dict[str, object]:
    """The notes that ``save_model`` stored; an export has them too.

    Raises:
        ModelError: If the file or its notes are damaged.
    """
    if path.name == CONTRACT_NAME:
        return dict(read_contract(path).notes)
    try:
        notes = json.loads(read_header(path).get("notes", "{}"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: its notes are damaged ({error}); get or train it again.") from error
    if not isinstance(notes, dict):
        kind = type(notes).__name__
        raise ModelError(f"{path}: its notes are damaged (expected an object, got {kind}); get or train it again.")
    return notes


def find_checkpoint(source: str | Path, purpose: Purpose = "segment") -> Path:
    """The file of a trained model's weights; ``export.json`` of an exported model.

    Args:
        source: A model's name, a checkpoint, a run's folder or an export; to name also public weights by name.
        purpose: What the model is to do; where there is none of the name, those that can do it are offered.

    Raises:
        ModelError: If there is no such model, or its public weights are not on this machine; with what to do.
    """
    if found := _find_named(str(source), purpose):
        return found
    path = Path(source)
    if path.is_dir():
        path = path / (CONTRACT_NAME if (path / CONTRACT_NAME).is_file() else CHECKPOINT_NAME)
    if path.is_file():
        return path
    raise ModelError(_tell_absent(str(source), path, purpose))


def identify_model(source: str, job: Job) -> tuple[str, str]:
    """What a model is called in every folder, its name or absolute path, and the sha256 of its weights.

    Raises:
        ModelError: As ``find_checkpoint``.
    """
    name = source if _find_named(source, job) else str(Path(source).absolute())
    return name, sha256_of(find_checkpoint(source, job))


def _find_named(name: str, purpose: Purpose) -> Path | None:
    """The weights that go by a name: those of the package and, to name, public ones."""
    if purpose == "name" and name not in EMBEDDED:
        from vesalius.models.public_weights import find_encoder_source, locate

        public = find_encoder_source(name)
        return None if public is None else locate(public.name)
    return EMBEDDED.get(name)


def _tell_absent(name: str, path: Path, purpose: Purpose) -> str:
    if purpose != "name" and name in list_models():
        remedy = f"train it (vesalius train --model {name} --data DIR) and give the run's folder"
        return f"The package carries no weights of {name}; {remedy}."
    if purpose != "name" and name in list_encoders():
        remedy = "vesalius weights list shows where there are some, vesalius weights import makes a checkpoint of them"
        return f"The package carries no weights of {name}, which encodes and outlines nothing; {remedy}."
    if path.suffix or os.sep in name:
        return f"{path}: no such checkpoint; expected a .safetensors file or a folder with {CHECKPOINT_NAME}."
    offered, remedy = list_models() if purpose == "train" else list(EMBEDDED), ""
    if purpose in ("name", "train-naming"):
        from vesalius.models.public_weights import list_encoder_weights

        offered += list_encoder_weights()
        remedy = "; vesalius weights list says which public weights are here"
    if purpose == "train-naming":
        offered += list_encoders()
    return f"{unknown_name('model', name, set(offered))} A checkpoint or a run's folder will do, too{remedy}."


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


def read_dtypes(file: safe_open, path: Path) -> dict[str, str]:
    """Kinds of numbers of a checkpoint's tensors, by safetensors' names; scales are left out.

    Only the file's header is read.

    Args:
        file: What `open_tensors` opened.
        path: What a message names.

    Returns:
        Tensor -> "F32" and the like; "I8" are matrices that have their scales.

    Raises:
        ModelError: If a tensor of 8-bit integers has no scales, or others than one real number a row.
    """
    stored = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    kinds = {name: part.get_dtype() for name, part in stored.items()}
    for name in [name for name, kind in kinds.items() if kind == "I8"]:
        shape, scale = stored[name].get_shape(), stored.get(name + SCALE)
        got = "nothing" if scale is None else f"{scale.get_dtype()} {scale.get_shape()}"
        if len(shape) != 2 or got not in {f"{kind} {[shape[0], 1]}" for kind in REAL_NUMBERS}:
            wanted = f"one real number a row in {name}{SCALE}, got {got}"
            raise ModelError(f"{path}: {name} {shape} is stored in 8 bits; expected {wanted}. Get or train it again.")
        del kinds[name + SCALE]
    return kinds


def read_header(path: Path) -> dict[str, str]:
    """Metadata in the header of a safetensors file.

    Raises:
        ModelError: If it is none, or damaged.
    """
    with open_tensors(path) as file:
        return file.metadata() or {}


def read_model_recipe(path: Path) -> ModelRecipe:
    """The recipe that rebuilds the model.

    Raises:
        ModelError: If it is no checkpoint of ours, or damaged.
    """
    header = read_header(path)
    if "vesalius" not in header:
        raise ModelError(f"{path}: not a Vesalius checkpoint; its header lacks 'vesalius'.")
    try:
        return ModelRecipe.from_json(header["vesalius"])
    except (KeyError, RecursionError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: its recipe is damaged ({error!r}); get or train it again.") from error


class OnnxGraph:
    """A graph in ONNX Runtime on the CPU, NumPy in and out; several threads may run it at once.

    Args:
        path: The .onnx file.
        threads: Threads that compute; 0 for all cores.
        weights: Initializers that the file leaves out, by name.
        remedy: What a message advises where ONNX Runtime refuses the graph.

    Raises:
        MissingPackageError: If ONNX Runtime is not installed.
        ModelError: If it cannot read the file, or the weights do not fit.
    """

    def __init__(
        self,
        path: Path,
        threads: int,
        weights: Mapping[str, NDArray[np.float32]] = MappingProxyType({}),
        remedy: str = "export the model again",
    ) -> None:
        program = require("onnxruntime", extra="export")
        options = program.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors only
        # Its threads would otherwise keep their cores busy for a while after each call, and slow whatever runs next.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        values = [program.OrtValue.ortvalue_from_numpy(value) for value in weights.values()]
        options.add_external_initializers(list(weights), values)
        try:
            self._session = program.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its own classes share no other base
            raise ModelError(refuse_graph(path, "ONNX Runtime", error, remedy)) from error
        self._path, self._remedy = path, remedy
        self._inputs = [each.name for each in self._session.get_inputs()]
        self._outputs = [each.name for each in self._session.get_outputs()]

    def run(self, arrays: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.float32]]:
        """Outputs by name; arrays that are no inputs of the graph are ignored.

        Raises:
            ModelError: If the graph takes other inputs.
        """
        given = select_inputs(self._path, self._inputs, arrays)
        try:
            found = self._session.run(None, given)
        except Exception as error:  # its own classes share no other base
            raise ModelError(refuse_graph(self._path, "ONNX Runtime", error, self._remedy, task="run")) from error
        return dict(zip(self._outputs, found, strict=True))


def select_inputs(
    path: Path, names: Sequence[str], arrays: Mapping[str, NDArray[np.generic]]
) -> dict[str, NDArray[np.generic]]:
    """The arrays that a graph takes.

    Raises:
        ModelError: If there is none of a name.
    """
    if lacking := [name for name in names if name not in arrays]:
        raise ModelError(f"{path}: takes {', '.join(lacking)}, which the model does not have; export the model again.")
    return {name: arrays[name] for name in names}


def refuse_graph(
    path: Path, program: str, error: Exception, remedy: str = "export the model again", task: str = "read"
) -> str:
    """The message for a graph that a program cannot read, or cannot run."""
    reason = str(error).strip().splitlines()[0]
    return f"{path}: {program} cannot {task} this graph ({reason}); {remedy}."
