"""``vesalius benchmark RECIPE``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from vesalius.benchmark.preflight import Preflight
    from vesalius.benchmark.report import BenchmarkReport


def benchmark(
    recipe: Path,
    /,
    *,
    data: Path | None = None,
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    dry_run: bool = False,
    device: str = "auto",
    precision: Literal["32", "16-mixed", "bf16-mixed"] = "32",
    overwrite: bool = False,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Train and score every model of a recipe on every data set, and put the numbers beside published ones.

    What is finished in the folder stays; the same command goes on where an interrupted one stopped. A model that cannot
    be trained or scored is named with the reason, and the others go on.

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
        device: Where models train and are scored: "cpu", "cuda", "cuda:1" or "mps"; "auto" takes a GPU where there is
            one.
        precision: Of scoring; training computes as the recipe says.
        overwrite: Replace the table of another recipe in the folder.
        as_json: Print one JSON object.
    """
    from vesalius.benchmark.cells import list_cells
    from vesalius.benchmark.preflight import inspect
    from vesalius.benchmark.recipe import read_benchmark
    from vesalius.benchmark.report import build_report
    from vesalius.benchmark.running import run_cells
    from vesalius.benchmark.writing import JSON_NAME, SHEET_NAME, TEXT_NAME, write_benchmark
    from vesalius.console import print_json, progress_bar, say
    from vesalius.errors import ConfigError
    from vesalius.folders import Claim
    from vesalius.models.devices import choose_device

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
    claim.make()
    outcomes = run_cells(cells, say, place)
    with progress_bar() as bar:
        task = bar.add_task("Drawing resamples", total=len(plan.sets) * len(plan.entries))
        report = build_report(plan, outcomes, on_score=lambda: bar.advance(task))
    write_benchmark(report, folder)
    if as_json:
        print_json(report.to_dict())
    else:
        _print(report)
    say(f"Written: {folder / TEXT_NAME}, and the same as .csv and .json")
    if any(each.failure for each in outcomes):
        sys.exit(1)


def _finish_dry(found: "Preflight", *, as_json: bool) -> None:
    from vesalius.console import print_json, print_table, say

    if as_json:
        print_json(found.to_dict())
    else:
        if found.hours:
            print_table(("to train", "hours at most"), [(cell, f"{hours:.1f}") for cell, hours in found.hours.items()])
        for line in found.lines():
            say(line)
    if found.missing:
        sys.exit(1)


def _print(report: "BenchmarkReport") -> None:
    from vesalius.console import print_table, say

    print_table(report.table.columns, report.table.rows, title=report.recipe.title)
    for number, note in enumerate(report.table.notes, 1):
        say(f"{number}. {note}")
    if present := report.present_table:
        print_table(present.columns, present.rows, title=f"{report.recipe.title}: images that show something alone")
    for line in report.explain():
        say(line)
