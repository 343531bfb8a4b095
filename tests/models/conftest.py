"""Networks that pass a signal on, and outputs of the original implementations."""

import json
import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vesalius.models import Segmenter


@dataclass(frozen=True)
class Golden:
    """One original implementation, with weights made by the recipe of shared/golden/README.md."""

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

    def weights(self) -> dict[str, Tensor]:
        """All of its tensors; whole numbers have their usual values."""
        usual = {"num_batches_tracked": torch.tensor(0), "position_ids": torch.arange(512)[None]}
        return {key: usual.get(key.rpartition(".")[2], self.weight(key)) for key in self.shapes}

    def image(self) -> Tensor:
        rng = np.random.default_rng(int(self.outputs["in_image_seed"]))
        return torch.from_numpy(rng.standard_normal(self.outputs["in_image_shape"]).astype("float32"))


@pytest.fixture(scope="session")
def settle() -> Callable[[Segmenter], Segmenter]:
    """Give batch norms the statistics of some images, so that untrained networks pass their signal on."""

    def settle(model: Segmenter) -> Segmenter:
        noise = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(2))
        norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = 1.0
        with torch.no_grad():
            model.train()(noise, ["polyp"] * 4)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        return model.eval()

    return settle


@pytest.fixture(scope="session")
def roughen() -> Callable[[nn.Module], nn.Module]:
    """Give every parameter its own random values: biases of 0 and norms of 1, as at the start, would hide a mix-up."""

    def roughen(module: nn.Module) -> nn.Module:
        generator = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for parameter in module.parameters():
                noise = 0.1 * torch.randn(parameter.shape, generator=generator)
                parameter.copy_(noise if parameter.dim() > 1 else parameter + noise)
        return module.eval()

    return roughen


@pytest.fixture(scope="session")
def golden(shared: Path) -> Callable[[str], Golden]:
    def read(name: str) -> Golden:
        with np.load(shared / "golden" / f"{name}.npz") as file:
            outputs = dict(file)
        return Golden(json.loads((shared / "golden" / f"{name}.json").read_text())["keys"], outputs)

    return read
