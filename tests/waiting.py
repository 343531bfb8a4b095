"""Waiting for what other threads and processes do, however slow and busy the machine is."""

import os
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE_S = 120
"""For what happens in a moment on a machine that has nothing else to do."""


def until(hold: Callable[[], object]) -> None:
    """Wait until something holds."""
    end = time.monotonic() + PATIENCE_S
    while not hold():
        assert time.monotonic() < end, "it did not come to hold"
        time.sleep(0.01)


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    try:
        state = Path(f"/proc/{process}/stat").read_text()
    except OSError:  # it ended just now, or the system has no such files
        return not Path("/proc/self/stat").exists()
    return state.rpartition(")")[2].split()[0] != "Z"  # an orphan that nobody waits for is a zombie


def seconds_worked(process: int) -> float:
    """Processor time that it has taken."""
    user, system = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
