"""Slices as a scanner sends them, and the programs of experiments/benchmarks/pacs.py."""

import gc
import threading
from collections.abc import Iterator
from types import ModuleType

import pytest

from waiting import PATIENCE_S

pytest.importorskip("pynetdicom", reason="needs the extra pacs")


@pytest.fixture(scope="session")
def trials(import_script) -> ModuleType:
    return import_script("experiments/benchmarks", "pacs")


@pytest.fixture(scope="session")
def make_slice(trials):
    return trials.make_slice


@pytest.fixture
def dropped_sockets() -> Iterator[None]:
    """Lets sockets that pynetdicom drops without closing them be collected in the test that causes it, in no later one.

    Needs the mark `filterwarnings` for what is then said.
    """
    before = set(threading.enumerate())
    yield
    for each in set(threading.enumerate()) - before:
        each.join(PATIENCE_S)
    gc.collect()
