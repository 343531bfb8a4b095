"""The paper's four systems on people they never saw: Table III, Figures 2 and 3, and the ablation that it lacks.

    python experiments/benchmarks/anatomy_tables.py ../shared/data

Every system is taught five times, each time without a fifth of the people, from each start and with each seed, and
asked about the fifth. What is done is kept and not done again, so a stopped run goes on where it was; --page writes
from what is done. Writes docs/results/anatomy-results.md and its figures. One thread; about half an hour of an idle
core. What is kept belongs to these settings: delete the folder where they were changed.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from anatomy_measures import Answers, People, measure
from anatomy_results import StartReport, write_page
from anatomy_set import PeopleSlices, open_set
from anatomy_systems import MULTI_POSITIVE, STARTS, SYSTEMS, Experiment, System

from vesalius.console import progress_bar
from vesalius.files import writing

ROOT = Path(__file__).parents[2]
QUICK_STEPS = 20


def main() -> None:
    """Teach, ask, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path, help="folder with anatomy/")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "anatomy-tables")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--starts", nargs="+", choices=list(STARTS), default=list(STARTS))
    parser.add_argument(
        "--page", action="store_true", help="teach nothing; write the page from the seeds that are done"
    )
    parser.add_argument("--quick", action="store_true", help="one part, one seed, 20 steps, and no page: does it run?")
    args = parser.parse_args()
    torch.set_num_threads(1)
    slices = open_set(args.shared, args.work / "slices")
    seeds = range(1 if args.quick else args.seeds)
    folds = [0] if args.quick else sorted(set(slices.folds.tolist()))
    if not args.page:
        for name in args.starts:
            teach(name, slices, args.work, folds, seeds, quick=args.quick)
    if not args.quick:
        people = People(slices)
        write_page(
            people, [each for name in args.starts for each in report(people, args.work, name, folds, seeds)], seeds
        )


def report(people: People, work: Path, name: str, folds: list[int], seeds: range) -> list[StartReport]:
    """What is done of a start: the seeds of which the paper's systems are, and of the others if they have these too."""
    done = [seed for seed in seeds if all(is_done(work, name, each, seed, folds) for each in SYSTEMS)]
    if not done:
        return []
    ready = [each for each in tasks(name) if all(is_done(work, name, each, seed, folds) for seed in done)]
    with progress_bar() as bar:
        task, measured = bar.add_task(f"Measuring {name}", total=len(ready)), {}
        for each in ready:
            measured[each] = measure(people, each.name, read_answers(work, name, each, folds, done))
            bar.advance(task)
    return [StartReport(name, STARTS[name], measured, len(done))]


def tasks(start: str) -> tuple[System, ...]:
    """Systems of a start; those with the other loss only where teaching takes seconds."""
    return (*SYSTEMS, *MULTI_POSITIVE) if start == "imagenet" else SYSTEMS


def teach(name: str, slices: PeopleSlices, work: Path, folds: list[int], seeds: range, *, quick: bool) -> None:
    """Teach and ask every system of a start, the first seed first, unless it was done before."""
    groups = [[each for each in tasks(name) if (each.loss == "paper") == first] for first in (True, False)]
    jobs = [(seed, fold, each) for group in groups for seed in seeds for fold in folds for each in group]
    folder = work / "quick" if quick else work
    todo = [
        (seed, fold, system)
        for seed, fold, system in jobs
        if not answer_path(folder, name, system, fold, seed).exists()
    ]
    if not todo:
        return
    start = STARTS[name](slices, work)
    experiment = Experiment(start, slices, QUICK_STEPS if quick else start.steps)
    with progress_bar() as bar:
        task = bar.add_task(f"Teaching from {name}", total=len(todo))
        for seed, fold, system in todo:
            found: dict[str, Any] = experiment.run(system, fold, seed)
            with writing(answer_path(folder, name, system, fold, seed)) as unfinished, unfinished.open("wb") as file:
                np.savez_compressed(file, **found)
            bar.advance(task)


def answer_path(work: Path, start: str, system: System, fold: int, seed: int) -> Path:
    """Where answers of one run are kept."""
    name = system.name.replace(" ", "").replace("+", "-")
    return work / start / f"{name}-{system.loss}" / f"fold{fold}-seed{seed}.npz"


def is_done(work: Path, start: str, system: System, seed: int, folds: list[int]) -> bool:
    """Whether all parts of a seed are there."""
    return all(answer_path(work, start, system, fold, seed).exists() for fold in folds)


def read_answers(work: Path, start: str, system: System, folds: list[int], seeds: list[int]) -> Answers:
    """What a system said of everybody, each person without having seen them."""
    found = []
    for seed in seeds:
        parts = [dict(np.load(answer_path(work, start, system, fold, seed))) for fold in folds]
        order = np.argsort(np.concatenate([part.pop("rows") for part in parts]))
        found.append({name: np.concatenate([part[name] for part in parts])[order] for name in parts[0]})
    return {name: np.stack([each[name] for each in found]) for name in found[0]}


if __name__ == "__main__":
    main()
