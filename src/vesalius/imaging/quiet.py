"""Silence for libraries that warn of files they read well, safe for threads."""

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
    """Silence the user warnings that a package issues, until the last thread inside has left.

    ``warnings.catch_warnings`` saves and restores all filters; where threads overlap, the last to leave restores what
    another had set for a moment. Here the first to enter places one filter and the last to leave removes that one.

    Args:
        package: Name of the package whose modules are silenced.
    """
    with _LOCK:
        if not _DEPTH[package]:
            warnings.filterwarnings("ignore", category=UserWarning, module=rf"{package}\b{_MARK}")
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
