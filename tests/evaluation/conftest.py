"""Rows and stored evaluations made up."""

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from vesalius.evaluation.rows import Row, write_rows
from vesalius.files import write_json


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def torchmetrics() -> ModuleType:
    """Its functions for two classes, to compare with; imported where a test asks, as that takes seconds."""
    return import_module("torchmetrics.functional.classification")


@pytest.fixture(scope="session")
def make_row() -> Callable[..., Row]:
    """A row of an image, a family and a Dice; anything else may be given."""

    def make(image: str, family: str, score: float, **others: object) -> Row:
        facts: dict[str, object] = {
            "variant": 0, "prompt": family, "iou": score / 2, "precision": score, "recall": score, "hd95": None,
            "nsd": score, "distance_unit": "px", "true_pixels": 1, "predicted_pixels": 1, "existence": None,
        }  # fmt: skip
        return Row(image=image, family=family, dice=score, **{**facts, **others})

    return make


@pytest.fixture(scope="session")
def store() -> Callable[..., Path]:
    """Write rows as `vesalius evaluate` leaves them; what is said of them may be changed."""

    def store(folder: Path, rows: Sequence[Row], **about: object) -> Path:
        facts = {"model": "pocket", "data": "/data/kvasir", "split": "test", "rule": "threshold 0.5"}
        write_rows(rows, folder / "rows.parquet")
        write_json(folder / "evaluation.json", {**facts, **about})
        return folder

    return store
