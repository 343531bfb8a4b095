"""How the numbers of a cell came about: what stands beside them so that nobody takes them for something else."""

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vesalius.benchmark.cells import Cell
from vesalius.errors import DataError
from vesalius.evaluation.stored import EVALUATION_NAME
from vesalius.evaluation.stored import MANIFEST as MANIFEST_FIELD
from vesalius.models.embedded import EMBEDDED
from vesalius.training.whole_run import HISTORY, MANIFEST


@dataclass(frozen=True)
class Making:
    """Training and scoring of one cell."""

    label: str
    data: str
    seed: int
    weights: str
    """What training began with: "public", "embedded" or "untrained"."""
    image_size: int
    """Side the network works on, pixels."""
    precision: str
    batch_size: int
    learning_rate: float
    epochs: int
    best_epoch: int
    """The one whose weights were scored, from 1."""
    val_dice: float
    """Theirs, at the working size."""
    training_seconds: float
    """Since the last interruption."""
    scoring_seconds: float
    machine: str
    """Processor, threads, versions and the day that training began."""

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return asdict(self)


def read_making(cell: Cell) -> Making:
    """Put together what training and scoring wrote down.

    Args:
        cell: A finished one.

    Raises:
        DataError: If a file of it is missing or damaged.
    """
    try:
        scored, run = (
            json.loads((cell.folder / name).read_text(encoding="utf-8")) for name in (EVALUATION_NAME, MANIFEST)
        )
        with (cell.folder / HISTORY).open(newline="", encoding="utf-8") as file:
            epochs = sum(1 for _ in csv.DictReader(file))
        return _build(cell, scored[MANIFEST_FIELD], run, epochs)
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise DataError(f"{cell.folder}: damaged ({error!r}); delete the folder to train anew.") from error


def _build(cell: Cell, scored: dict[str, Any], run: dict[str, Any], epochs: int) -> Making:
    best, config = scored["training"], run["config"]
    return Making(
        label=cell.entry.label,
        data=cell.data.name,
        seed=cell.seed,
        weights=_weights(cell),
        image_size=scored["image_size"],
        precision=config["precision"],
        batch_size=config["batch_size"],
        learning_rate=config["learning_rate"],
        epochs=epochs,
        best_epoch=best["epoch"] + 1,
        val_dice=best["val_dice"],
        training_seconds=run["seconds"],
        scoring_seconds=scored["seconds"],
        machine=_describe_machine(run),
    )


def _weights(cell: Cell) -> str:
    if cell.entry.model in EMBEDDED:
        return "embedded"
    return "public" if cell.entry.pretrained else "untrained"


def _describe_machine(run: dict[str, Any]) -> str:
    threads, versions = run["machine"]["threads"], run["versions"]
    packages = f"vesalius {versions['vesalius']}, torch {versions['torch']}"
    return f"{run['machine']['processor']}, {threads} thread{'s' * (threads != 1)}, {packages}, {run['started'][:10]}"


def describe_span(values: Sequence[float]) -> str:
    """All values in a word: "64", or "224 to 416".

    >>> describe_span([224, 416, 352])
    '224 to 416'
    """
    least, most = min(values), max(values)
    return f"{least:g}" if least == most else f"{least:g} to {most:g}"
