"""Train and score what is not finished yet, one cell after another."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from vesalius.benchmark.cells import Cell, check_unchanged, remember
from vesalius.benchmark.making import read_making
from vesalius.benchmark.preflight import check_prompts
from vesalius.console import progress_bar
from vesalius.data.datasets import SegmentationDataset
from vesalius.errors import VesaliusError
from vesalius.evaluation.segmentation import evaluate
from vesalius.evaluation.stored import describe_evaluation, read_evaluation, write_evaluation
from vesalius.models.checkpoint_file import CHECKPOINT_NAME, read_notes
from vesalius.models.checkpoints import load_segmenter
from vesalius.models.devices import CPU, describe_device, place
from vesalius.models.start import start_model
from vesalius.training.fit import fit
from vesalius.training.running import Running
from vesalius.training.trainer import LAST

SPLIT = "test"


@dataclass(frozen=True)
class Outcome:
    """What became of a cell."""

    cell: Cell
    failure: str | None = None
    """Why it has no numbers; None if it has."""


def run_cells(cells: Sequence[Cell], on_step: Callable[[str], None], device: torch.device = CPU) -> list[Outcome]:
    """Finish every cell that can be finished; what stops one does not stop the others.

    A finished cell is left as it is, and a training that was interrupted goes on where it stopped.

    Args:
        cells: What to do, in this order.
        on_step: Told in one line what happens, for progress.
        device: Where models train and are scored.
    """
    return [
        _attempt(cell, device, partial(_tell, on_step, f"[{number}/{len(cells)}] {cell}"))
        for number, cell in enumerate(cells, 1)
    ]


def _tell(on_step: Callable[[str], None], place: str, step: str) -> None:
    on_step(f"{place}: {step}")


def _attempt(cell: Cell, device: torch.device, on_step: Callable[[str], None]) -> Outcome:
    try:
        _finish(cell, device, on_step)
    except VesaliusError as error:
        failure = str(error)
    except Exception as error:  # whatever else stops one cell, memory for example, must not cost the night
        failure = f"{type(error).__name__}: {error}"
    else:
        return Outcome(cell)
    on_step(f"failed. {failure}")
    return Outcome(cell, failure)


def _finish(cell: Cell, device: torch.device, on_step: Callable[[str], None]) -> None:
    dataset = SegmentationDataset(cell.data, SPLIT)
    check_prompts(dataset, cell.prompts or ())
    check_unchanged(cell)
    if cell.finished:
        on_step("finished earlier")
        _check_results(cell)
        return
    if not cell.trained:
        on_step("training goes on" if cell.interrupted else "training")
        _train(cell, device)
    on_step("scoring")
    _score(cell, dataset, device)
    # Optimiser states are as large as weights, and nothing goes on from here.
    (cell.folder / LAST).unlink(missing_ok=True)


def _check_results(cell: Cell) -> None:
    """Complain of damage here, where it costs one cell, and not when the table is made."""
    read_making(cell)
    read_evaluation(cell.folder)


def _train(cell: Cell, device: torch.device) -> None:
    entry, config = cell.entry, cell.entry.config(cell.seed)
    model, origin = start_model(entry.model, seed=cell.seed, options=entry.options, pretrained=entry.pretrained)
    config = config.for_trained(model, entry.training) if origin == "trained" else config
    remember(cell)
    fit(model, [cell.data], cell.folder, config, Running(resume=cell.interrupted, device=str(device)))


def _score(cell: Cell, dataset: SegmentationDataset, device: torch.device) -> None:
    checkpoint, started = cell.folder / CHECKPOINT_NAME, time.monotonic()
    model = place(load_segmenter(checkpoint), str(device), cell.precision)
    with progress_bar() as bar:
        task = bar.add_task(f"Scoring {cell}", total=len(dataset))
        found = evaluate(model, dataset, cell.prompts, precision=cell.precision, on_image=lambda: bar.advance(task))
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
