"""What stands beside every figure: the machine, the versions and the day."""

import os
import platform
from datetime import UTC, datetime

import torch

from vesalius import __version__


def describe_setting() -> str:
    """One line for the head of a table."""
    machine = f"{os.cpu_count()} CPU cores ({platform.machine()})"
    return f"{machine}, torch {torch.__version__}, vesalius {__version__}, {datetime.now(UTC).date().isoformat()}"
