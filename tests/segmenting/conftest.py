"""A tiny model, and pictures to segment with it."""

from pathlib import Path

import numpy as np
import pytest

from vesalius.imaging import write_rgb
from vesalius.models.checkpoints import save_model


@pytest.fixture(scope="session")
def tiny_weights(build_tiny, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("many") / "pocket.safetensors"
    save_model(build_tiny("pocket"), path)
    return str(path)


@pytest.fixture
def pictures(tmp_path) -> Path:
    """A folder with three pictures whose names no number tells apart."""
    folder = tmp_path / "in"
    folder.mkdir()
    for place, name in enumerate(("red", "green", "blue")):
        write_rgb(folder / f"{name}.png", np.random.default_rng(place).random((24, 30, 3)))
    return folder
