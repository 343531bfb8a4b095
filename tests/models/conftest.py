"""Outputs of the original implementations, with weights made by a recipe (shared/golden/README.md)."""

import json
import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor


@dataclass(frozen=True)
class Golden:
    """One original implementation."""

    shapes: Mapping[str, list[int]]
    """Of its tensors, by their original names."""
    outputs: Mapping[str, np.ndarray]
    """What it was given and what it answered."""

    def weight(self, key: str) -> Tensor:
        shape = self.shapes[key]
        values = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape).astype("float32")
        if "running_var" in key:
            values = 1 + 0.1 * np.abs(values)
        elif len(shape) > 1:
            values = values / math.sqrt(math.prod(shape[1:]))
        else:
            values = (1 if key.endswith("weight") else 0) + 0.1 * values
        return torch.from_numpy(np.asarray(values, dtype="float32"))

    def image(self) -> Tensor:
        rng = np.random.default_rng(int(self.outputs["in_image_seed"]))
        return torch.from_numpy(rng.standard_normal(self.outputs["in_image_shape"]).astype("float32"))


@pytest.fixture
def golden(shared: Path) -> Callable[[str], Golden]:
    def read(name: str) -> Golden:
        with np.load(shared / "golden" / f"{name}.npz") as file:
            outputs = dict(file)
        return Golden(json.loads((shared / "golden" / f"{name}.json").read_text())["keys"], outputs)

    return read
