"""One model on one data set with one seed: what it is made of, and how far it has come."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vesalius.benchmark.recipe import BenchmarkRecipe, Entry
from vesalius.errors import ConfigError, DataError
from vesalius.evaluation.stored import EVALUATION_NAME, ROWS_NAME
from vesalius.files import read_json, write_json
from vesalius.models.checkpoint_file import CHECKPOINT_NAME
from vesalius.models.devices import Precision
from vesalius.training.manifest import fingerprint
from vesalius.training.trainer import LAST
from vesalius.training.whole_run import MANIFEST

CELL_NAME = "cell.json"


@dataclass(frozen=True)
class Cell:
    """A place in the grid."""

    entry: Entry
    data: Path
    """Folder of the data set."""
    seed: int
    prompts: tuple[str, ...] | None
    """Families to be scored; None for all."""
    folder: Path
    """Where its results lie."""
    precision: Precision = "32"
    """Of scoring; training's is one of its settings."""

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
        settings = {
            "model": self.entry.model,
            "options": self.entry.options,
            "pretrained": self.entry.pretrained,
            "training": dataclasses.asdict(self.entry.config(self.seed)),
            "prompts": self.prompts,
            "annotations": fingerprint(self.data),
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
    """Write down what a cell is made of, before its training begins."""
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
    now = cell.describe()
    changes = _differences(before, now) if isinstance(before, dict) else ["everything"]
    if changes:
        remedy = "give another --out, or delete the folder to train anew"
        raise ConfigError(f"{cell.folder}: made with other settings ({'; '.join(changes)}); {remedy}.")


def _differences(before: Mapping[str, object], now: Mapping[str, object], place: str = "") -> list[str]:
    """Such as "training.learning_rate was 0.001, is 0.0001"."""
    found = []
    for name in [*before, *(name for name in now if name not in before)]:
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{place}{name}.")
        elif old != new:
            found.append(f"{place}{name} was {json.dumps(old)}, is {json.dumps(new)}")
    return found
