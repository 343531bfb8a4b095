"""Where PyTorch computes, and in which numbers."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, TypeVar, get_args

import torch

from vesalius.errors import ConfigError
from vesalius.models.encoder import VisionLanguageEncoder

Precision = Literal["32", "16-mixed", "bf16-mixed"]
"""Of computation: 32-bit floats, or half of them where PyTorch's automatic mixed precision thinks it safe."""
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
CPU = torch.device("cpu")
Model = TypeVar("Model", bound=VisionLanguageEncoder)
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
    there = list_devices()
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


def place(model: Model, device: str = "auto", precision: Precision = "32") -> Model:
    """Move a model to where it is to compute.

    Args:
        model: Any of ours; an export computes on the CPU, in the numbers it was written with.
        device: See ``choose_device``.
        precision: What it is to compute in.

    Raises:
        ConfigError: If there is no such device, or the model is an export that is to compute elsewhere or otherwise.
    """
    wanted = choose_device(device)
    if next(model.parameters(), None) is not None:
        return model.to(wanted)
    if precision != "32" or (device != "auto" and wanted.type != "cpu"):
        asked = f"--precision {precision}" if precision != "32" else f"--device {device}"
        raise ConfigError(f"{asked}: an exported model computes on the CPU, as it was written; leave the option out.")
    return model


def wait(device: torch.device) -> None:
    """Until a GPU has done all it was told; a CPU does so at once."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def describe_device(device: torch.device, precision: Precision) -> dict[str, object]:
    """What computed and in which numbers, for the record of a command."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {"device": str(device), **({"device_name": name} if name else {}), "precision": precision}


def list_devices() -> list[str]:
    """Names of all devices of this machine that PyTorch can use, "cpu" first."""
    return ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count())), *(["mps"] if has_mps() else [])]
