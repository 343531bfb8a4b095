"""Slices as a scanner sends them, and the programs of experiments/benchmarks/pacs.py."""

from types import ModuleType

import pytest

pytest.importorskip("pynetdicom", reason="needs the extra pacs")


@pytest.fixture(scope="session")
def trials(import_script) -> ModuleType:
    return import_script("experiments/benchmarks", "pacs")


@pytest.fixture(scope="session")
def make_slice(trials):
    return trials.make_slice
