"""Run a benchmark: first what is missing and how long it will take, then train and score what is not finished."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from vesalius.benchmark.cells import Cell, check_unchanged, read_run_info, remember
from vesalius.benchmark.recipe import ModelEntry
from vesalius.console import watch
from vesalius.data.annotations import SPLITS
from vesalius.data.datasets import SegmentationDataset
from vesalius.errors import ModelError, PromptError, VesaliusError, join_first, unknown_name
from vesalius.evaluation.segmentation import evaluate
from vesalius.evaluation.stored import describe_evaluation, read_evaluation, write_evaluation
from vesalius.models import Segmenter
from vesalius.models.checkpoint_file import CHECKPOINT_NAME, EMBEDDED, read_notes
from vesalius.models.checkpoints import load_segmenter
from vesalius.models.inference import CPU, describe_device, place, wait
from vesalius.models.public_weights import find_source
from vesalius.models.registry import as_segmenter, build_model
from vesalius.models.start import needed_weights, start_model
from vesalius.training.fit import fit, prepare_model
from vesalius.training.losses import segmentation_loss
from vesalius.training.runtime_options import RuntimeOptions
from vesalius.training.trainer import LAST

IMAGES = 2
"""Images of the step that is measured."""


@dataclass(frozen=True)
class Cost:
    """Seconds an image, measured on this machine with synthetic pictures; reading files comes on top."""

    training: float
    """Seconds to train on an image."""
    scoring: float
    """Seconds to score an image."""


@dataclass(frozen=True)
class Preflight:
    """What is known before a benchmark starts."""

    missing: dict[str, tuple[str, ...]]
    """What is missing or does not fit -> the cells that need it."""
    weights: tuple[str, ...]
    """Names of public weights among what is missing."""
    hours: dict[str, float]
    """Cell to be trained -> hours, if it trains for all its epochs."""
    finished: int
    """Number of finished cells."""

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        command = f"vesalius weights fetch {' '.join(self.weights)}" if self.weights else None
        return {
            "missing": {what: list(cells) for what, cells in self.missing.items()},
            "fetch": command,
            "hours": {cell: round(hours, 2) for cell, hours in self.hours.items()},
            "hours_together": round(sum(self.hours.values()), 2),
            "finished": self.finished,
        }

    def lines(self) -> list[str]:
        """For people."""
        told = [f"missing: {what} (needed by {join_first(cells, 2)})" for what, cells in self.missing.items()]
        if self.weights:
            told.append(f"Fetch them with: vesalius weights fetch {' '.join(self.weights)}")
        if self.hours:
            hours = sum(self.hours.values())
            slowest = max(self.hours, key=lambda cell: self.hours[cell])
            most = f"{slowest} {self.hours[slowest]:.1f}"
            counts = f"{len(self.hours)} to train, {self.finished} finished"
            told.append(
                f"{counts}: about {hours:.1f} hours on this machine if none stops early (longest: {most}), from a step "
                "measured for each model."
            )
        return told


def inspect(
    cells: Sequence[Cell], on_model: Callable[[str], None] = lambda label: None, device: torch.device = CPU
) -> Preflight:
    """Look at every cell, and measure one short step of each model that is to be trained.

    Args:
        cells: What is to be done.
        on_model: Told the label of each model before it is measured.
        device: Where it is measured.
    """
    missing: dict[str, list[str]] = {}
    weights: dict[str, None] = {}
    hours: dict[str, float] = {}
    costs: dict[str, Cost | str] = {}
    finished = 0
    for cell in cells:
        faults, counts = _look(cell)
        finished += cell.finished and not faults
        lacking = [] if cell.trained else _lacking_weights(cell.entry)
        weights |= dict.fromkeys(lacking)
        faults += [f"{name} ({find_source(name).path})" for name in lacking]
        if not faults and not cell.trained:
            key = _key(cell.entry)
            if key not in costs:
                on_model(cell.entry.label)
                costs[key] = _measure(cell.entry, device)
            cost = costs[key]
            if isinstance(cost, str):
                faults.append(cost)
            else:
                hours[str(cell)] = _extrapolate(cell, cost, counts)
        for fault in faults:
            missing.setdefault(fault, []).append(str(cell))
    return Preflight({what: tuple(names) for what, names in missing.items()}, tuple(weights), hours, finished)


def _look(cell: Cell) -> tuple[list[str], dict[str, int]]:
    """What is wrong with a cell's data, and the images of its splits."""
    try:
        splits = {split: SegmentationDataset(cell.data, split) for split in SPLITS}
        check_prompt_families(splits["test"], cell.prompts or ())
        check_unchanged(cell)
    except VesaliusError as error:
        return [str(error)], {}
    return [], {split: len(dataset) for split, dataset in splits.items()}


def check_prompt_families(dataset: SegmentationDataset, families: Sequence[str]) -> None:
    """See that every record has the families that are asked; those about absent things need none of them.

    Raises:
        PromptError: Naming the record that lacks one.
    """
    for record in dataset.records:
        for family in () if record.absent else families:
            if family not in record.prompts:
                place = f"{dataset.root}/anns/{dataset.split}.json, record of '{record.img_name}'"
                raise PromptError(f"{place}: {unknown_name('prompt family', family, record.prompts)}")


def _lacking_weights(entry: ModelEntry) -> list[str]:
    """Public weights that a model starts from and that are not on this machine."""
    if entry.model in EMBEDDED:
        return []
    try:
        needed = needed_weights(entry.model, entry.options, pretrained=entry.pretrained)
    except ModelError:  # has none to start from, which is told when it is measured
        return []
    return [name for name in needed if not find_source(name).is_here()]


def _key(entry: ModelEntry) -> str:
    return json.dumps([entry.model, entry.options, entry.training], default=str, sort_keys=True)


def _measure(entry: ModelEntry, device: torch.device) -> Cost | str:
    """The cost of a model's step; why it has none, if it cannot be built or trained."""
    try:
        needed_weights(entry.model, entry.options, pretrained=entry.pretrained and entry.model not in EMBEDDED)
        model = _build(entry, device)
        prepare_model(model, entry.config(seed=0))
        return _time(model, entry, device)
    except VesaliusError as error:
        return str(error)


def _build(entry: ModelEntry, device: torch.device) -> Segmenter:
    """The architecture with constant weights, which take no time to draw."""
    with torch.device("meta"):
        model = as_segmenter(build_model(entry.model, **entry.options))
    model.to_empty(device=device)
    with torch.no_grad():
        for value in (*model.parameters(), *model.buffers()):
            value.fill_(0.01 if value.is_floating_point() else 0)
    return model


def _time(model: Segmenter, entry: ModelEntry, device: torch.device) -> Cost:
    side, weights = model.spec.image_size, entry.config(seed=0).loss
    images, prompts = torch.rand(IMAGES, 3, side, side, device=device), ["polyp"] * IMAGES
    masks = (torch.rand(IMAGES, 1, side, side, device=device) > 0.5).float()
    started = time.perf_counter()
    segmentation_loss(model.predict(images, prompts), masks, weights).backward()
    wait(device)
    trained = time.perf_counter()
    model.eval()
    with torch.inference_mode():
        model.predict(images, prompts)
    wait(device)
    return Cost((trained - started) / IMAGES, (time.perf_counter() - trained) / IMAGES)


def _extrapolate(cell: Cell, cost: Cost, counts: dict[str, int]) -> float:
    config = cell.entry.config(cell.seed)
    images = counts["train"] * config.max_epochs
    if config.max_steps > 0:
        images = min(images, config.max_steps * config.accumulate * config.batch_size)
    epochs = images / counts["train"]
    seconds = images * cost.training + (counts["val"] * max(1.0, epochs) + counts["test"]) * cost.scoring
    return seconds / 3600


@dataclass(frozen=True)
class CellOutcome:
    """A cell that was run, and why it failed."""

    cell: Cell
    failure: str | None = None
    """Why it has no numbers; None if it has some."""


def run_cells(cells: Sequence[Cell], on_step: Callable[[str], None], device: torch.device = CPU) -> list[CellOutcome]:
    """Finish every cell that can be finished; what stops one does not stop the others.

    A finished cell is left as it is, and a training that was interrupted goes on where it stopped.

    Args:
        cells: What to do, in this order.
        on_step: Told in one line what happens, for progress.
        device: Where models train and are scored.
    """
    outcomes = []
    for number, cell in enumerate(cells, 1):

        def tell(step: str, place: str = f"[{number}/{len(cells)}] {cell}") -> None:
            on_step(f"{place}: {step}")

        outcomes.append(_attempt(cell, device, tell))
    return outcomes


def _attempt(cell: Cell, device: torch.device, on_step: Callable[[str], None]) -> CellOutcome:
    try:
        _finish(cell, device, on_step)
    except VesaliusError as error:
        failure = str(error)
    except Exception as error:  # whatever else stops one cell, memory for example, must not cost the night
        failure = f"{type(error).__name__}: {error}"
    else:
        return CellOutcome(cell)
    on_step(f"failed. {failure}")
    return CellOutcome(cell, failure)


def _finish(cell: Cell, device: torch.device, on_step: Callable[[str], None]) -> None:
    dataset = SegmentationDataset(cell.data, "test")
    check_prompt_families(dataset, cell.prompts or ())
    check_unchanged(cell)
    if cell.finished:
        on_step("finished earlier")
        read_run_info(cell)  # damage is told here, where it costs one cell, and not when the table is made
        read_evaluation(cell.folder)
    else:
        if not cell.trained:
            on_step("training goes on" if cell.interrupted else "training")
            _train(cell, device)
        on_step("scoring")
        _score(cell, dataset, device)
    # Optimiser states are as large as weights, and nothing goes on from here. A run that was killed may have left one.
    (cell.folder / LAST).unlink(missing_ok=True)


def _train(cell: Cell, device: torch.device) -> None:
    entry, config = cell.entry, cell.entry.config(cell.seed)
    model, origin = start_model(entry.model, seed=cell.seed, options=entry.options, pretrained=entry.pretrained)
    config = config.for_trained(model, entry.training) if origin == "trained" else config
    remember(cell)
    fit(model, [cell.data], cell.folder, config, RuntimeOptions(resume=cell.interrupted, device=str(device)))


def _score(cell: Cell, dataset: SegmentationDataset, device: torch.device) -> None:
    checkpoint, started = cell.folder / CHECKPOINT_NAME, time.monotonic()
    model = place(load_segmenter(checkpoint), str(device), cell.precision)
    with watch(f"Scoring {cell}", len(dataset)) as advance:
        found = evaluate(model, dataset, cell.prompts, precision=cell.precision, on_image=advance)
    manifest = {
        "settings": {
            "prompts": list(cell.prompts or ["all"]),
            "tolerance": found.tolerance,
            **describe_device(model.device, cell.precision),
        },
        "seconds": round(time.monotonic() - started, 1),
        "image_size": model.spec.image_size,
        "training": read_notes(checkpoint),
    }
    content = describe_evaluation(found, dataset, model=str(checkpoint), manifest=manifest)
    write_evaluation(found, content, cell.folder)
