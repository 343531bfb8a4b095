"""Rules of the source tree that no type checker knows."""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

import vesalius

SOURCE = Path(vesalius.__file__).parent
MODULES = sorted(SOURCE.rglob("*.py"))
"""Every rule is checked for all of them in one test, which names the files that break it."""
LAYERS = [
    {"errors"},
    {"addresses", "files", "tables"},
    {"console", "folders", "records", "spreadsheets"},
    {"isolation", "pages", "processes"},
    {"imaging"},
    {"journal", "prompts"},
    {"data", "models"},
    {"provenance", "runtime"},
    {"knowledge"},
    {"segmentation"},
    {"volumes"},
    {"evaluation", "training"},
    {"benchmark", "export", "predict"},
    {"masks", "naming"},
    {"demo", "notebook", "results"},
    {"segmenting"},
    {"clinical"},
    {"pacs"},
    {"archive", "serve"},
    {"cli"},
    {"__main__"},
]
"""From the ground up; a part imports its own layer's file or folder and those below."""
RANK = {part: rank for rank, layer in enumerate(LAYERS) for part in layer}
ACROSS = {("training", "evaluation.metrics")}
"""Imports within a layer that are allowed: training keeps the weights with the best Dice."""


def name_of(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def statements_of(node: ast.AST) -> Iterator[ast.AST]:
    """All statements below; expressions, which are most of a tree, are not looked into."""
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        below = getattr(node, field, ())
        for child in below if isinstance(below, list) else ():
            yield child
            yield from statements_of(child)


def imported(path: Path) -> set[str]:
    """Modules of the package that a file imports anywhere, `vesalius.` left out."""
    names: set[str] = set()
    for node in statements_of(tree_of(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.removeprefix("vesalius.") for name in names if name.startswith("vesalius.")}


def points_down(path: Path, target: str) -> bool:
    source, (part, *_) = name_of(path).split(".")[0], target.split(".")
    if part == "__version__" or part == source or not source:  # the root names what it offers, of any layer
        return True
    across = any(source == left and f"{target}.".startswith(f"{right}.") for left, right in ACROSS)
    return across or RANK[part] < RANK[source]


def test_imports_point_one_way():
    assert [
        f"{name_of(path)}: {name}" for path in MODULES for name in imported(path) if not points_down(path, name)
    ] == []


def test_every_part_has_a_layer():
    parts = {path.relative_to(SOURCE).with_suffix("").parts[0] for path in MODULES} - {"__init__"}
    assert parts <= RANK.keys()


def test_the_page_on_the_architecture_has_the_same_order():
    page = (SOURCE.parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
    line = next(each for each in page.splitlines() if each.startswith("errors, "))
    told = [re.split(", | │ ", parts) for parts in line.split(" → ")]
    assert {part for parts in told for part in parts} == RANK.keys() - {"__main__"}
    ranks = [[RANK[part] for part in parts] for parts in told]
    assert all(max(lower) < min(upper) for lower, upper in pairwise(ranks))


def test_the_rule_sees_what_it_forbids(tmp_path):
    def refused(part: str, line: str) -> bool:
        path = SOURCE / part / "made_up.py"
        text = tmp_path / f"{len(list(tmp_path.iterdir()))}.py"
        text.write_text(line)
        return not all(points_down(path, name) for name in imported(text))

    assert refused("data", "from vesalius.models import build_model")
    assert refused("models", "import vesalius.data.views")
    assert refused("evaluation", "def f():\n    from vesalius.training.fit import fit")
    assert refused("training", "from vesalius.evaluation.segmentation import evaluate")
    assert not refused("training", "from vesalius.evaluation.metrics import dice")
    assert not refused("cli", "from vesalius.data.views import collate")


def test_no_file_is_longer_than_400_lines():
    lengths = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {name: length for name, length in lengths.items() if length > 400} == {}


def test_what_is_said_of_a_field_or_constant_is_a_phrase_of_its_own():
    def told(path: Path) -> Iterator[str]:
        for node in (tree_of(path), *(each for each in statements_of(tree_of(path)) if isinstance(each, ast.ClassDef))):
            for field, text in pairwise(node.body):
                if isinstance(field, ast.Assign | ast.AnnAssign) and isinstance(text, ast.Expr):
                    match text.value:
                        case ast.Constant(str(said)):
                            yield said

    fragment = re.compile(r"(Of|At|That|By what) |\S+$")
    assert [f"{name_of(path)}: {text}" for path in MODULES for text in told(path) if fragment.match(text)] == []


DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def test_no_public_class_or_function_has_the_name_of_another():
    homes: dict[str, set[str]] = {}  # sets, as overloads of a function repeat its name
    for path in MODULES:
        # A command is named as on the command line, and so, often, is what it calls.
        kinds = (ast.ClassDef,) if name_of(path).startswith("cli") else DEFINITIONS
        for node in tree_of(path).body:
            if isinstance(node, kinds) and not node.name.startswith("_"):
                homes.setdefault(node.name, set()).add(name_of(path))
    assert {name: found for name, found in homes.items() if len(found) > 1} == {}


def calls(path: Path, name: str) -> list[str]:
    """Calls of a function, as they are written."""
    if name not in path.read_text(encoding="utf-8"):
        return []
    found = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]
    return [ast.unparse(node) for node in found if ast.unparse(node.func) == name]


def test_the_library_prints_nothing():
    library = [path for path in MODULES if not name_of(path).startswith("cli")]
    assert [name_of(path) for path in library if calls(path, "print")] == []


def test_nothing_pickled_is_executed_and_torchvision_is_not_used():
    forbidden = ("import pickle", "from pickle", "weights_only=False", "torchvision")
    texts = {name_of(path): path.read_text(encoding="utf-8") for path in MODULES}
    assert [f"{name}: {words}" for name, text in texts.items() for words in forbidden if words in text] == []


def test_torch_load_says_that_it_reads_weights_only():
    loads = [(name_of(path), call) for path in MODULES for call in calls(path, "torch.load")]
    assert loads
    assert [load for load in loads if "weights_only=True" not in load[1]] == []


def loaded_by(statement: str, *heavy: str) -> list[str]:
    """Which of these packages a fresh interpreter has loaded after a statement."""
    code = f"import sys\n{statement}\nprint(*sorted(set({heavy!r}) & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return result.stdout.split()


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_by("import vesalius", "torch", "numpy", "PIL", "transformers", "pytorch_lightning") == []


def test_prompts_know_no_model():
    assert loaded_by("import vesalius.prompts", "torch", "vesalius.models") == []


def test_the_package_offers_exactly_its_public_names():
    assert vesalius.__all__ == sorted(vesalius.__all__)
    assert dir(vesalius) == sorted([*vesalius.__all__, "__version__"])
    for name in vesalius.__all__:
        assert getattr(vesalius, name).__name__ == name
    with pytest.raises(AttributeError, match="module 'vesalius' has no attribute 'segmentt'"):
        vesalius.segmentt  # noqa: B018 - the lookup is the test


@pytest.mark.slow
def test_without_pytorch_the_help_works_and_what_needs_it_says_how_to_install_it():
    code = """
import sys
sys.modules["torch"] = None
import pydoc
import vesalius
from vesalius.errors import MissingPackageError
shown = pydoc.render_doc(vesalius)
assert "segment_volume" in shown and "class Segmenter" not in shown
for ask in (lambda: vesalius.load_model("pocket"), lambda: vesalius.Segmenter, lambda: vesalius.build_model("pocket")):
    try:
        ask()
    except MissingPackageError as error:
        assert "vesalius[train]" in str(error)
    else:
        raise AssertionError("no error")
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["data", "evaluation", "imaging", "models", "prompts", "training"])
def test_what_a_part_offers_is_there_and_in_order(name):
    module = importlib.import_module(f"vesalius.{name}")
    offered = getattr(module, "__all__", [])
    assert offered == sorted(offered)
    assert all(hasattr(module, item) for item in offered)


@pytest.mark.slow
@pytest.mark.parametrize(("command", "most"), [("segment", 43), ("name", 60)])
def test_a_command_loads_few_modules(command, most, tmp_path):
    picture = tmp_path / "picture.png"
    Image.new("RGB", (40, 30)).save(picture)
    arguments = [command, str(picture), *(["polyp", "--out", str(tmp_path / "out")] if command == "segment" else [])]
    code = f"import sys, vesalius.cli\nvesalius.cli.main({arguments!r})\n"
    code += "print(sum(name.partition('.')[0] == 'vesalius' for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert int(done.stdout.split()[-1]) <= most
