"""A cell of the grid, one model on one data set with one seed: settings, progress, and how its numbers came about."""

import csv
import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vesalius.benchmark.recipe import BenchmarkRecipe, ModelEntry
from vesalius.errors import ConfigError, DataError
from vesalius.evaluation.stored import EVALUATION_NAME, ROWS_NAME
from vesalius.evaluation.stored import MANIFEST as MANIFEST_FIELD
from vesalius.files import read_json, write_json
from vesalius.folders import tell_differences
from vesalius.models.checkpoint_file import CHECKPOINT_NAME, EMBEDDED
from vesalius.models.choices import Precision
from vesalius.provenance import identify_data
from vesalius.training.config import rename_settings
from vesalius.training.fit import HISTORY, MANIFEST
from vesalius.training.trainer import LAST

CELL_NAME = "cell.json"


@dataclass(frozen=True)
class Cell:
    """One model on one data set with one seed."""

    entry: ModelEntry
    data: Path
    """Folder of the data set."""
    seed: int
    prompts: tuple[str, ...] | None
    """Prompt families to be scored; None for all."""
    folder: Path
    """Folder of its results."""
    precision: Precision = "32"
    """Precision of scoring; that of training is one of its settings."""

    def __str__(self) -> str:
        """Such as "cris on busi, seed 0"."""
        return f"{self.entry.label} on {self.data.name}, seed {self.seed}"

    @property
    def finished(self) -> bool:
        """Whether it has been scored."""
        return all((self.folder / name).is_file() for name in (ROWS_NAME, EVALUATION_NAME))

    @property
    def trained(self) -> bool:
        """Whether its training came to an end."""
        return all((self.folder / name).is_file() for name in (CHECKPOINT_NAME, MANIFEST))

    @property
    def interrupted(self) -> bool:
        """Whether its training can go on where it stopped."""
        return not self.trained and (self.folder / LAST).is_file()

    def describe(self) -> dict[str, object]:
        """Everything that decides its numbers, as JSON gives it back."""
        data = identify_data(self.data)
        settings = {
            "model": self.entry.model,
            "options": self.entry.options,
            "pretrained": self.entry.pretrained,
            "training": dataclasses.asdict(self.entry.config(self.seed)),
            "prompts": self.prompts,
            "annotations": data["annotations_sha256"],
            "files": data["files_sha256"],
            **({} if self.precision == "32" else {"scoring_precision": self.precision}),
        }
        described: dict[str, object] = json.loads(json.dumps(settings))
        return described


def list_cells(recipe: BenchmarkRecipe, root: Path, out: Path, precision: Precision = "32") -> list[Cell]:
    """The grid, data set by data set.

    Args:
        recipe: What to do.
        root: Folder that holds the data sets' folders.
        out: Folder for all results; a cell's is DATA/MODEL/seed-0 in it.
        precision: Of scoring.
    """
    return [
        Cell(entry, root / name, seed, recipe.prompts, out / name / entry.label / f"seed-{seed}", precision)
        for name in recipe.sets
        for entry in recipe.entries
        for seed in recipe.seeds
    ]


def remember(cell: Cell) -> None:
    """Record what a cell is made of, before its training begins."""
    write_json(cell.folder / CELL_NAME, cell.describe())


def check_unchanged(cell: Cell) -> None:
    """Refuse to go on with what was begun with other settings or data.

    Raises:
        ConfigError: Naming what is different.
    """
    path = cell.folder / CELL_NAME
    if not path.is_file():
        return
    try:
        before = read_json(path)
    except DataError as error:
        raise ConfigError(f"{error} Delete the folder to train anew.") from error
    if isinstance(before, dict) and isinstance(before.get("training"), dict):
        before["training"] = rename_settings(before["training"], str(path))
    now = cell.describe()
    if isinstance(before, dict):
        before.setdefault("files", now["files"])  # left by a version that did not look at them
    changes = tell_differences(before, now) if isinstance(before, dict) else ["everything"]
    if changes:
        remedy = "give another --out, or delete the folder to train anew"
        raise ConfigError(f"{cell.folder}: made with other settings ({'; '.join(changes)}); {remedy}.")


@dataclass(frozen=True)
class RunInfo:
    """How one cell was trained and scored."""

    label: str
    data: str
    seed: int
    weights: str
    """Weights that training began with: "public", "embedded" or "untrained"."""
    image_size: int
    """Side the network works on, pixels."""
    precision: str
    batch_size: int
    learning_rate: float
    epochs: int
    best_epoch: int
    """Epoch whose weights were scored, from 1."""
    val_dice: float
    """Validation Dice of these weights, at the working size."""
    training_seconds: float
    """Seconds of training since the last interruption."""
    scoring_seconds: float
    machine: str
    """Processor, threads, versions and the day that training began."""


def read_run_info(cell: Cell) -> RunInfo:
    """Read what training and scoring recorded.

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
        scored = scored[MANIFEST_FIELD]
        best, config = scored["training"], run["config"]
        return RunInfo(
            label=cell.entry.label,
            data=cell.data.name,
            seed=cell.seed,
            weights="embedded" if cell.entry.model in EMBEDDED else "public" if cell.entry.pretrained else "untrained",
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
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise DataError(f"{cell.folder}: damaged ({error!r}); delete the folder to train anew.") from error


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
