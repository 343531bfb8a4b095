"""docs/differences.md names tests that exist, for every defect of the released code."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "differences.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::([\w:]+)`", PAGE)))
DEFECTS = range(1, 10)


@cache
def names_in(path: Path) -> set[str]:
    """Names of a file's tests, those in classes as ``Class::test``."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef):
            names |= {f"{node.name}::{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
    return names


def test_tests_are_named():
    assert len(NAMED) > len(DEFECTS)


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_every_named_test_exists(path, name):
    assert name in names_in(TESTS / path)


@pytest.mark.parametrize("number", DEFECTS)
def test_every_defect_has_a_row(number):
    rows = [line for line in PAGE.splitlines() if line.startswith(f"| {number} |")]
    assert len(rows) == 1
    assert "::" in rows[0] or "the same test" in rows[0]
