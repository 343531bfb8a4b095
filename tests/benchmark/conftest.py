"""A tiny benchmark of one model that works and one whose weights are missing."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vesalius.benchmark.recipe import BenchmarkRecipe, read_benchmark

if TYPE_CHECKING:
    from vesalius.benchmark.cells import Cell
    from vesalius.benchmark.running import CellOutcome

TINY_RECIPE = """
title = "Tiny"
published = "vlsm_ensemble"
seeds = [0, 1]
prompts = ["p0", "p2"]

[data]
sets = ["kvasir_polyp"]

[training]
max_epochs = 2
batch_size = 2
learning_rate = 1e-3

[models.unet_d]
options = { image_size = 32 }

[models.unet_from_weights]
model = "unet_d"
pretrained = true
"""


@dataclass(frozen=True)
class Run:
    recipe: BenchmarkRecipe
    cells: "list[Cell]"
    outcomes: "list[CellOutcome]"
    steps: list[str]


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(TINY_RECIPE, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def run_tiny(tiny_recipe, tiny_dataset, tmp_path_factory) -> Run:
    """All its cells, run once; not to be changed."""
    from vesalius.benchmark.cells import list_cells
    from vesalius.benchmark.running import run_cells

    recipe = read_benchmark(tiny_recipe)
    cells = list_cells(recipe, tiny_dataset.parent, tmp_path_factory.mktemp("out"))
    steps: list[str] = []
    return Run(recipe, cells, run_cells(cells, steps.append), steps)
