"""``export.json``: what a folder of graphs holds, what goes in and comes out, and that no file has changed since."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from vesalius.errors import ModelError
from vesalius.files import sha256_of, write_json
from vesalius.models.recipe import ModelRecipe

if TYPE_CHECKING:
    from vesalius.models.features import EncoderSpec

CONTRACT_NAME = "export.json"
FORMAT = 1
"""Version of this layout."""
MAX_BYTES = 10_000_000
"""A contract has some kilobytes; a file beyond this is none."""

RuntimeName = Literal["onnx", "openvino"]
RUNTIMES: tuple[RuntimeName, ...] = get_args(RuntimeName)
SUFFIX: Mapping[RuntimeName, str] = {"onnx": ".onnx", "openvino": ".xml"}
"""Of the file that a program opens."""
GraphName = Literal["image", "text", "decoder"]
GRAPHS: tuple[GraphName, ...] = get_args(GraphName)
Precision = Literal["float32", "int8"]
Job = Literal["segment", "name"]
JOBS: tuple[Job, ...] = get_args(Job)


@dataclass(frozen=True)
class ExportContract:
    """See the module's description."""

    runtime: RuntimeName
    precision: Precision
    recipe: ModelRecipe
    """What built the model; its tokenizer is used still."""
    files: Mapping[str, str]
    """sha256 by file name."""
    notes: Mapping[str, object]
    """Those of the checkpoint."""
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
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: not a description of an export, or damaged ({error!r}); export again.") from error
    if version != FORMAT or contract.runtime not in RUNTIMES:
        found = f"format {version!r} for {contract.runtime!r}"
        raise ModelError(
            f"{path}: expected format {FORMAT} for one of {', '.join(RUNTIMES)}, got {found}; export again."
        )
    return contract


def check_files(folder: Path, contract: ExportContract) -> None:
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
