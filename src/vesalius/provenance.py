"""What a result was made from: the model's weights, the data, the command, the versions and the machine."""

import hashlib
import os
import platform
import shlex
import sys
from importlib.metadata import version
from pathlib import Path

from vesalius.data.slices.table import PICTURES, TABLE
from vesalius.models.checkpoint_file import Job, identify_model

PACKAGES = ("vesalius", "torch", "numpy")
FOLDERS = ("images", "masks", PICTURES)
"""Folders of a data set's or slices' files, whose names and sizes identify them."""


def identify_weights(model: str, job: Job = "segment") -> dict[str, str]:
    """What tells a model from others: its name or absolute path, and its weights.

    Raises:
        ModelError: If there is no such model for the job.
    """
    name, sha256 = identify_model(model, job)
    return {"model": name, "sha256": sha256}


def identify_data(root: Path) -> dict[str, object]:
    """What tells a data set from others, wherever it lies: what its annotations say, and which files there are.

    Files are told apart by name and size, so that nobody waits for all of them to be read.
    """
    files = sorted(path for name in FOLDERS for path in (root / name).rglob("*") if path.is_file())
    digest = hashlib.sha256()
    for path in files:
        digest.update(os.fsencode(path.relative_to(root).as_posix()) + f"\0{path.stat().st_size}\0".encode())
    return {"annotations_sha256": hash_annotations(root), "files": len(files), "files_sha256": digest.hexdigest()}


def hash_annotations(root: Path) -> str:
    """SHA-256 over a data set's annotation files or table of slices: its names, splits, and prompts or labels."""
    digest = hashlib.sha256()
    for path in sorted([*(root / "anns").glob("*.json"), *root.glob(TABLE)]):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def describe_command() -> str:
    """The command line of this process, quoted so that a shell understands it."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def list_versions(*more: str) -> dict[str, str]:
    """Versions of what every result rests on, and of further packages."""
    return {name: version(name) for name in (*PACKAGES, *more)}


def describe_machine() -> dict[str, object]:
    """Processor and threads."""
    import torch  # heavy, and the rest needs none

    return {"processor": platform.machine(), "threads": torch.get_num_threads()}
