"""Silence for libraries that warn of files they read well, and what they log, safe for threads."""

import logging
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

_LOCK = threading.Lock()
_DEPTH: Counter[str] = Counter()
_PLACED: dict[str, tuple[list[object], object]] = {}
_MARK = "(?#vesalius)"
"""Makes the filter ours, so that removing it removes nobody else's."""


@contextmanager
def quiet(package: str) -> Iterator[None]:
    """Silence all warnings that a package issues, until the last thread inside has left.

    ``warnings.catch_warnings`` saves and restores all filters; where threads overlap, the last to leave restores what
    another had set for a moment. Here the first to enter places one filter and the last to leave removes that one.

    Args:
        package: Name of the package whose modules are silenced.
    """
    with _LOCK:
        if not _DEPTH[package]:
            warnings.filterwarnings("ignore", category=Warning, module=rf"{package}\b{_MARK}")
            filters = cast("list[object]", warnings.filters)  # a list in every Python
            _PLACED[package] = filters, filters[0]
        _DEPTH[package] += 1
    try:
        yield
    finally:
        with _LOCK:
            _DEPTH[package] -= 1
            if not _DEPTH[package]:
                filters, placed = _PLACED.pop(package)
                for each in (filters, cast("list[object]", warnings.filters)):
                    if placed in each:
                        each.remove(placed)


class _Overhearing(logging.Filter, threading.local):
    """Takes the records of a thread that listens, and lets all others pass."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        if self.heard is not None and record.getMessage() not in self.heard:
            self.heard.append(record.getMessage())
        return self.heard is None


_OVERHEARING: dict[str, _Overhearing] = {}


@contextmanager
def overheard(logger: str) -> Iterator[list[str]]:
    """Collect what a library logs on this thread, which its own handler would write to the terminal.

    Args:
        logger: Name of the library's logger.

    Yields:
        The messages so far, each once.
    """
    with _LOCK:
        if logger not in _OVERHEARING:
            _OVERHEARING[logger] = _Overhearing()
            logging.getLogger(logger).addFilter(_OVERHEARING[logger])
    ear, before = _OVERHEARING[logger], _OVERHEARING[logger].heard
    ear.heard = []
    try:
        yield ear.heard
    finally:
        ear.heard = before
