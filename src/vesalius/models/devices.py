"""Where PyTorch computes, and in which numbers."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, get_args

import torch

from vesalius.errors import ConfigError

Precision = Literal["32", "16-mixed", "bf16-mixed"]
"""Of computation: 32-bit floats, or half of them where PyTorch's automatic mixed precision thinks it safe."""
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
_HALVES = {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}


def choose_device(wanted: str = "auto") -> torch.device:
    """A device that is there.

    Args:
        wanted: "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1" or "mps".

    Raises:
        ConfigError: If there is no such device on this machine.
    """
    if wanted == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "mps" if has_mps() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise ConfigError(f"--device: expected auto, cpu, cuda, cuda:N or mps; got '{wanted}'.") from error
    there = _available()
    if device.type not in ("cpu", "cuda", "mps") or (device.type == "cuda" and device.index is None):
        device = torch.device("cuda:0") if device.type == "cuda" else device
    if str(device) not in there:
        raise ConfigError(f"--device {wanted}: is not on this machine; there are: {', '.join(there)}.")
    return device


def has_mps() -> bool:
    """Whether Apple's GPU can be used."""
    return torch.backends.mps.is_available()


def computing(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """In which a model computes in these numbers."""
    if precision == "32":
        return nullcontext()
    return torch.autocast(device.type, _HALVES[precision])


def _available() -> list[str]:
    return ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count())), *(["mps"] if has_mps() else [])]
