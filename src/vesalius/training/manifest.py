"""The record of a run: what was done with what, so that it can be done again."""

import dataclasses
import hashlib
import os
import platform
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

from vesalius.data.slices.table import PICTURES, TABLE
from vesalius.models.encoder import VisionLanguageEncoder
from vesalius.training.config import FitConfig

PACKAGES = ("vesalius", "torch", "pytorch-lightning", "numpy")
FOLDERS = ("images", "masks", PICTURES)
"""Folders of a data set's or slices' files, whose names and sizes identify them."""


def describe_run(model: VisionLanguageEncoder, data: Sequence[Path], config: FitConfig) -> dict[str, object]:
    """Command, configuration, versions, data and machine of a run about to start."""
    return {
        "command": describe_command(),
        "model": dataclasses.asdict(model.recipe),
        "config": config.to_dict(),
        "data": {str(root.resolve()): identify(root) for root in data},
        "versions": {name: version(name) for name in PACKAGES},
        "machine": {"processor": platform.machine(), "threads": torch.get_num_threads()},
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def describe_command() -> str:
    """The command line of this process, quoted so that a shell understands it."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def identify(root: Path) -> dict[str, object]:
    """What tells a data set from others, wherever it lies: what its annotations say, and which files there are.

    Files are told apart by name and size, so that nobody waits for all of them to be read.
    """
    files = sorted(path for name in FOLDERS for path in (root / name).rglob("*") if path.is_file())
    digest = hashlib.sha256()
    for path in files:
        digest.update(os.fsencode(path.relative_to(root).as_posix()) + f"\0{path.stat().st_size}\0".encode())
    return {"annotations_sha256": fingerprint(root), "files": len(files), "files_sha256": digest.hexdigest()}


def fingerprint(root: Path) -> str:
    """SHA-256 over a data set's annotation files or table of slices: its names, splits, and prompts or labels."""
    digest = hashlib.sha256()
    for path in sorted([*(root / "anns").glob("*.json"), *root.glob(TABLE)]):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
