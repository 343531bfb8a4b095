"""The record of a run: what was done with what, so that it can be done again."""

import dataclasses
import hashlib
import platform
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

from vesalius.data.anatomy.table import TABLE
from vesalius.models.encoder import VisionLanguageEncoder
from vesalius.training.config import FitConfig

PACKAGES = ("vesalius", "torch", "pytorch-lightning", "numpy")


def describe_run(model: VisionLanguageEncoder, data: Sequence[Path], config: FitConfig) -> dict[str, object]:
    """Command, configuration, versions, data and machine of a run about to start."""
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "model": dataclasses.asdict(model.recipe),
        "config": config.to_dict(),
        "data": {str(root.resolve()): fingerprint(root) for root in data},
        "versions": {name: version(name) for name in PACKAGES},
        "machine": {"processor": platform.machine(), "threads": torch.get_num_threads()},
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def fingerprint(root: Path) -> str:
    """SHA-256 over a data set's annotation files or table of slices: its names, splits, and prompts or labels."""
    digest = hashlib.sha256()
    for path in sorted([*(root / "anns").glob("*.json"), *root.glob(TABLE)]):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
