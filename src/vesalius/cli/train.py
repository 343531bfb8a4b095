"""``vesalius train``, ``vesalius train-naming`` and ``vesalius benchmark``."""

import sys
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from vesalius.cli.usage import AsJson, Flat, InPrecision, OnDevice, OutPath
from vesalius.console import print_json, print_table, say, watch
from vesalius.errors import ConfigError
from vesalius.folders import Claim
from vesalius.training.runtime_options import RuntimeOptions, SavingOptions

if TYPE_CHECKING:
    from vesalius.benchmark.report import BenchmarkReport
    from vesalius.benchmark.running import Preflight
    from vesalius.data.fingerprints import Fingerprints
    from vesalius.training.fit import RunResult


SHORT = ("learning_rate", "batch_size", "max_epochs", "max_steps", "seed")
"""Settings with an option of their own."""


@dataclass(frozen=True)
class RecipeOptions:
    """A recipe, and changes to it."""

    recipe: Path | None = None
    """TOML file of settings, see recipes/; its [model] table holds options of the model."""
    changes: Annotated[tuple[str, ...], Parameter(name="--set")] = ()
    """Any setting, as NAME=VALUE or TABLE.NAME=VALUE; repeat it for several. It goes before the recipe's."""
    learning_rate: float | None = None
    """Largest step size."""
    batch_size: int | None = None
    """Images of a batch, over all devices."""
    max_epochs: int | None = None
    """Passes over the training images at most."""
    max_steps: int | None = None
    """Steps at most, for a short trial."""
    seed: int | None = None
    """Decides order, augmentation, words and initial weights."""

    def read(self) -> dict[str, Any]:
        """All settings that were given, in nested tables.

        Raises:
            ConfigError: If the recipe cannot be read or a change is not of the form NAME=VALUE.
        """
        from vesalius.training.config import read_recipe

        settings: dict[str, Any] = read_recipe(self.recipe) if self.recipe else {}
        for change in self.changes:
            _apply(change, settings)
        return settings | {name: getattr(self, name) for name in SHORT if getattr(self, name) is not None}


def _apply(change: str, settings: dict[str, Any]) -> None:
    from vesalius.training.config import rename_settings

    place, equals, value = change.partition("=")
    *tables, name = place.strip().split(".")
    if not equals or not name:
        raise ConfigError(f"--set {change}: expected NAME=VALUE or TABLE.NAME=VALUE, such as augment.rotation=30.")
    for table in tables:
        settings = settings.setdefault(table, {})
        if not isinstance(settings, dict):
            raise ConfigError(f"--set {change}: {table} is a setting, not a table of settings.")
    change_to = {name: _parse(value.strip())}
    settings |= change_to if tables else rename_settings(change_to, f"--set {change}")


def _parse(text: str) -> object:
    """A TOML value; words need no quotes."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


_SETTINGS, _RUNNING, _SAVING = RecipeOptions(), RuntimeOptions(), SavingOptions()


def train(
    *,
    model: str,
    data: list[Path],
    out: OutPath = None,
    settings: Annotated[RecipeOptions, Flat] = _SETTINGS,
    pretrained: bool = False,
    from_scratch: bool = False,
    cached_augmentations: int | None = None,
    running: Annotated[RuntimeOptions, Flat] = _RUNNING,
    as_json: AsJson = False,
) -> None:
    """Train a model on one data set or several, keeping the weights with the best validation Dice.

    Without a recipe the paper's settings hold: AdamW at 1e-5, Dice and cross-entropy, batch 10, encoders frozen, early
    stopping after 20 epochs without progress. Trained weights take steps of 3e-4, so that a short run shows, and keep
    the statistics of their batch norms unless the recipe says otherwise.

    Examples:
        vesalius train --model pocket --data kvasir --max-epochs 5 -o runs/mine
        vesalius train --model clipseg --pretrained --data kvasir --data bkai
        vesalius train --model pocket --data kvasir --set augment.rotation=30

    Documentation:
        docs/training.md

    Args:
        model: A model's name, or a checkpoint to go on from; "pocket" starts from the embedded weights.
        data: Folders with images/, masks/ and anns/; repeat --data for several.
        out: Folder for weights, manifest and metrics; runs/MODEL-DATA by default.
        settings: What decides the result.
        pretrained: Start a named model from the public weights of its parts, see `vesalius weights list`.
        from_scratch: Start it from random weights although its encoders are held still, which is refused otherwise.
        cached_augmentations: Augmented versions of each image, which take turns; what a frozen encoder makes of them is
            computed once and stored. 0, as without a recipe, draws a new one in every epoch and stores nothing.
        running: What does not.
        as_json: Print one JSON object.
    """
    from vesalius.models.registry import to_options
    from vesalius.models.start import start_model
    from vesalius.tables import to_table
    from vesalius.training.callbacks import say_once
    from vesalius.training.config import TrainConfig
    from vesalius.training.fit import check_encoders, fit

    given = settings.read() | ({} if cached_augmentations is None else {"cached_augmentations": cached_augmentations})
    options = to_options(to_table(given.pop("model", {}), "[model]"))
    config = TrainConfig.from_dict(given)
    folder = out or _default_folder(model, data)
    start, origin = start_model(model, seed=config.seed, options=options, pretrained=pretrained)
    config = config.for_trained(start, given) if origin == "trained" else config
    if origin == "untrained" and not from_scratch:
        check_encoders(start, config)
    say_once(f"{model}: {origin} weights; results in {folder}")
    if running.features and not config.cached_augmentations:
        say_once(
            "--features has no effect: nothing is stored without cached_augmentations, as an option or in the recipe."
        )
    result = fit(start, data, folder, config, running, _read_seen(model, origin))
    _tell(result, "val_dice", "Best validation Dice", as_json=as_json)


def _default_folder(model: str, data: Sequence[Path]) -> Path:
    return Path("runs") / f"{Path(model).stem}-{data[0].name}"


def _tell(result: "RunResult", key: str, title: str, *, as_json: bool) -> None:
    """Say how a run ended, from one of its processes.

    Args:
        result: What it left behind.
        key: Name of its score in JSON.
        title: The same for people.
        as_json: Print JSON.
    """
    from pytorch_lightning.utilities import rank_zero_only

    from vesalius.training.callbacks import say_once

    if as_json:
        told = {"checkpoint": str(result.checkpoint), key: result.score, "epochs": result.epochs}
        rank_zero_only(print_json)({**told, "earlier": result.earlier})
    else:
        earlier = " (finished earlier; train it anew with --overwrite)" if result.earlier else ""
        say_once(f"{title} {result.score:.3f} after {result.epochs} epochs: {result.checkpoint}{earlier}")


def _read_seen(model: str, origin: str) -> "Fingerprints | None":
    """Fingerprints of the images that the initial weights were trained on; None if they are not known."""
    from vesalius.data.fingerprints import Fingerprints, fingerprints_path, read_fingerprints
    from vesalius.models.checkpoint_file import find_checkpoint

    if origin == "untrained":
        return Fingerprints(complete=True)
    return read_fingerprints(fingerprints_path(find_checkpoint(model))) if origin == "trained" else None


def train_naming(
    *,
    model: str,
    data: list[Path],
    out: OutPath = None,
    settings: Annotated[RecipeOptions, Flat] = _SETTINGS,
    running: Annotated[SavingOptions, Flat] = _SAVING,
    as_json: AsJson = False,
) -> None:
    """Train a model to name slices, on captions of what they show, keeping the weights that name validation best.

    Slices are those of `vesalius data slices`. Without a recipe captions and slices both vary, and every caption that
    is true of a slice counts (UniCL); recipes/anatomy/ has the paper's systems. Settings given here go before the
    recipe's.

    Examples:
        vesalius train-naming --model pocket --data slices -o runs/names
        vesalius train-naming --model biomedclip --data slices --recipe mine.toml

    Documentation:
        docs/anatomy-training.md

    Args:
        model: pubmedclip, biomedclip or another name that `vesalius name --model` knows, for its public weights;
            "pocket", of which only the layers that meet the words train; a checkpoint to go on from; or clip_vit_b32 or
            clip_rn50, untrained.
        data: Folders of slices; repeat --data for several.
        out: Folder for weights, manifest and metrics; runs/MODEL-DATA by default.
        settings: What decides the result; an image is a slice here.
        running: What does not.
        as_json: Print one JSON object.
    """
    from vesalius.models.registry import to_options
    from vesalius.models.start import start_encoder
    from vesalius.tables import to_table
    from vesalius.training.callbacks import say_once
    from vesalius.training.contrastive import ContrastiveConfig, fit_contrastive

    given = settings.read()
    options = to_options(to_table(given.pop("model", {}), "[model]"))
    config = ContrastiveConfig.from_dict(given)
    folder = out or _default_folder(model, data)
    start, origin = start_encoder(model, seed=config.seed, options=options)
    say_once(f"{model}: {origin} weights; results in {folder}")
    result = fit_contrastive(start, data, folder, config.for_model(start, given), RuntimeOptions(**asdict(running)))
    _tell(result, "val_top1", "Right first names on validation slices", as_json=as_json)


def benchmark(
    recipe: Path,
    /,
    *,
    data: Path | None = None,
    out: OutPath = None,
    dry_run: bool = False,
    device: OnDevice = "auto",
    precision: InPrecision = "32",
    overwrite: bool = False,
    as_json: AsJson = False,
) -> None:
    """Train and score every model of a recipe on every data set, and put the numbers beside published ones.

    What is finished in the folder stays; the same command goes on where an interrupted one stopped. A model that cannot
    be trained or scored is named with the reason, and the others go on. --device is for both, --precision for scoring:
    training computes in that of the recipe.

    Exit codes:
        1: Some numbers are missing; what stopped them is told.

    Examples:
        vesalius benchmark recipes/benchmark/cpu.toml --data datasets

    Documentation:
        docs/benchmark.md, docs/devices.md

    Args:
        recipe: TOML file, see recipes/benchmark/.
        data: Folder that holds the data sets' folders; goes before the recipe's.
        out: Folder for table.md, table.csv, table.json and, in DATA/MODEL/seed-0, weights and evaluations, which
            `vesalius report` and `vesalius compare` read; runs/benchmark-RECIPE by default.
        dry_run: Only say what is missing and how many hours it will take; the exit code is 1 if something is missing.
        overwrite: Replace the table of another recipe in the folder.
        as_json: Print one JSON object.
    """
    from vesalius.benchmark.cells import list_cells
    from vesalius.benchmark.recipe import read_benchmark
    from vesalius.benchmark.report import JSON_NAME, SHEET_NAME, TEXT_NAME, build_benchmark_report, write_benchmark
    from vesalius.benchmark.running import inspect, run_cells
    from vesalius.journal import alone
    from vesalius.models.inference import choose_device

    plan, place = read_benchmark(recipe), choose_device(device)
    root = data or plan.root
    if root is None:
        raise ConfigError(f"{recipe}: [data] has no root, the folder that holds the data sets; give it with --data.")
    folder = out or Path("runs") / f"benchmark-{recipe.stem}"
    origin = {"recipe": str(recipe.resolve()), "data": str(root.resolve())}
    claim = Claim(folder, "benchmark", origin, (TEXT_NAME, SHEET_NAME, JSON_NAME), overwrite)
    claim.check()
    cells = list_cells(plan, root, folder, precision)
    found = inspect(cells, lambda label: say(f"Measuring a step of {label} …"), place)
    if dry_run:
        _finish_dry(found, as_json=as_json)
        return
    for line in found.lines():
        say(line)
    with alone(folder, "benchmark", ".benchmark.lock"):
        claim.make()
        outcomes = run_cells(cells, say, place)
        with watch("Drawing resamples", len(plan.sets) * len(plan.entries)) as advance:
            report = build_benchmark_report(plan, outcomes, on_score=advance)
        write_benchmark(report, folder)
    if as_json:
        print_json(report.to_dict())
    else:
        _print_benchmark(report)
    say(f"Written: {folder / TEXT_NAME}, and the same as .csv and .json")
    if any(each.failure for each in outcomes):
        sys.exit(1)


def _finish_dry(found: "Preflight", *, as_json: bool) -> None:
    if as_json:
        print_json(found.to_dict())
    else:
        if found.hours:
            print_table(("to train", "hours at most"), [(cell, f"{hours:.1f}") for cell, hours in found.hours.items()])
        for line in found.lines():
            say(line)
    if found.missing:
        sys.exit(1)


def _print_benchmark(report: "BenchmarkReport") -> None:
    print_table(report.table.columns, report.table.rows, title=report.recipe.title)
    for number, note in enumerate(report.table.notes, 1):
        say(f"{number}. {note}")
    if present := report.present_table:
        print_table(present.columns, present.rows, title=f"{report.recipe.title}: images that show something alone")
    for line in report.explain():
        say(line)
