"""How many faults the tests notice: cosmic-ray changes one operator, number or condition at a time.

    python experiments/benchmarks/mutation.py --each 60

Of every part in PARTS all such changes are listed; those of annotations, which change nothing, are left out, and some
are drawn with a fixed seed. Each is made in a copy of the tree and the part's tests run until one fails. What no test
notices is printed with its place, to be looked at: some changes are no faults, as `<` for `!=` where both are the same.
Needs cosmic-ray (MIT): pip install cosmic-ray.
"""

import argparse
import ast
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from cosmic_ray.commands import init
from cosmic_ray.mutating import mutate_and_test
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec, TestOutcome
from scipy.stats import binomtest

from vesalius.console import markdown_table, progress_bar, say

ROOT = Path(__file__).parents[2]
PARTS = {
    "imaging": (["src/vesalius/imaging"], ["tests/imaging"]),
    "prompts": (["src/vesalius/prompts"], ["tests/prompts", "tests/test_knowledge.py"]),
    "metrics": (["src/vesalius/evaluation/metrics.py"], ["tests/evaluation"]),
    "statistics": (["src/vesalius/evaluation/statistics.py"], ["tests/evaluation"]),
    "path guards": (
        ["src/vesalius/files.py", "src/vesalius/folders.py"],
        ["tests/test_files.py", "tests/test_folders.py", "tests/segmenting"],
    ),
}
"""Part -> its modules and tests."""
COPIED = ("src", "tests", "recipes", "experiments", "docs", "pyproject.toml", "README.md")
SEED = 0
TIMEOUT_S = 300.0


def main() -> None:
    """Draw, change, test, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=60, help="changes drawn of every part")
    parser.add_argument("--part", action="append", choices=PARTS, help="all by default")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        copy_tree(Path(folder))
        os.chdir(folder)
        rows = [count(part, args.each) for part in args.part or PARTS]
    print(markdown_table(["part", "changes", "drawn", "noticed", "share", "95 % interval"], rows))


def copy_tree(to: Path) -> None:
    """What the tests need, so that the checkout itself is never changed."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, to / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, to / name)
    os.environ["PYTHONPATH"] = str(to / "src")
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"


def count(part: str, each: int) -> tuple[object, ...]:
    """A row of the table."""
    modules, tests = PARTS[part]
    found = list(list_changes(modules))
    drawn = random.Random(SEED).sample(found, min(each, len(found)))
    noticed = 0
    with progress_bar() as bar:
        task = bar.add_task(part, total=len(drawn))
        for change in drawn:
            if is_noticed(change, tests):
                noticed += 1
            else:
                (line, _), operator = change.start_pos, change.operator_name.partition("/")[2]
                text = change.module_path.read_text(encoding="utf-8").splitlines()[line - 1].strip()
                say(f"not noticed: {change.module_path}:{line} {operator} #{change.occurrence}: {text}")
            bar.advance(task)
    interval = binomtest(noticed, len(drawn)).proportion_ci(method="wilson")
    share = f"{noticed / len(drawn):.0%}"
    return part, len(found), len(drawn), noticed, share, f"{interval.low:.0%} to {interval.high:.0%}"


def list_changes(modules: Sequence[str]) -> Iterator[MutationSpec]:
    """All changes of some modules but those of annotations."""
    files = [path for module in map(Path, modules) for path in (sorted(module.rglob("*.py")) or [module])]
    with use_db("mutation.sqlite", WorkDB.Mode.create) as database:
        init(files, database, {})
        items = [item.mutations[0] for item in database.work_items]
    Path("mutation.sqlite").unlink()
    spared = {path: list(annotations(path)) for path in files}
    for each in sorted(items, key=lambda item: (item.module_path, item.start_pos, item.operator_name, item.occurrence)):
        if not any(first <= each.start_pos < last for first, last in spared[each.module_path]):
            yield each


def annotations(path: Path) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Where annotations begin and end: lines from 1, columns from 0."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for name in ("annotation", "returns"):
            if isinstance(found := getattr(node, name, None), ast.expr):
                yield (found.lineno, found.col_offset), (found.end_lineno or 0, found.end_col_offset or 0)


def is_noticed(change: MutationSpec, tests: Sequence[str]) -> bool:
    """Whether a test fails: those named after the module first, then all of the part."""
    near = [str(path) for test in tests for path in Path(test).rglob(f"test_*{change.module_path.stem}*.py")]
    for chosen in [near, tests] if near else [tests]:
        command = f"{sys.executable} -m pytest -x -q -p no:cacheprovider -p no:randomly {' '.join(chosen)}"
        if mutate_and_test([change], command, TIMEOUT_S).test_outcome != TestOutcome.SURVIVED:
            return True
    return False


if __name__ == "__main__":
    main()
