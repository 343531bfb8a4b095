"""Programs that run a model: ONNX Runtime, which needs no PyTorch, and PyTorch, which runs every model anywhere."""

from pathlib import Path
from typing import TYPE_CHECKING, get_args

from vesalius.console import LOG
from vesalius.errors import ConfigError, require
from vesalius.models.checkpoint_file import CONTRACT_NAME, EMBEDDED_GRAPHS, find_checkpoint, read_model_recipe
from vesalius.models.choices import Precision, RuntimeChoice
from vesalius.runtime.contract import Runtime

if TYPE_CHECKING:
    from vesalius.models.encoder import VisionLanguageEncoder


def open_runtime(
    model: str | Path,
    *,
    runtime: RuntimeChoice = "auto",
    device: str = "auto",
    precision: Precision = "32",
    threads: int = 0,
) -> Runtime:
    """Open a trained model.

    Args:
        model: A model's name ("pocket"), a checkpoint, a run's folder or an export.
        runtime: "auto" takes ONNX Runtime for the checkpoints that it can run (pocket's, fine-tuned ones included)
            where the device is a CPU, and PyTorch for all others.
        device: "cpu", "cuda", "cuda:1" or "mps"; "auto" takes what the chosen runtime computes on at once: ONNX Runtime
            the CPU, PyTorch a GPU where there is one.
        precision: Precision of computation in PyTorch.
        threads: Threads that compute on a CPU; 0 for all cores. PyTorch has one number for the whole process.

    Raises:
        ConfigError: If there is no such setting, or the runtime cannot do what is asked.
        MissingPackageError: If PyTorch is needed and not installed.
        ModelError: If there is no such model or it cannot be read.
    """
    _check_settings(runtime, precision, threads)
    path = find_checkpoint(model)
    fits = _fits(path)
    if runtime == "onnx" or (runtime == "auto" and fits and device in ("auto", "cpu") and precision == "32"):
        _check_onnx(path, fits, device, precision)
        from vesalius.runtime.onnx import OnnxRuntime  # only the chosen runtime's library is loaded

        LOG.info("%s: weights, on the package's graphs in ONNX Runtime", path)
        return OnnxRuntime(path, threads)
    torch = require("torch", extra="train")
    if threads:
        torch.set_num_threads(threads)
    from vesalius.models.checkpoints import load_model
    from vesalius.models.inference import choose_device
    from vesalius.runtime.torch import TorchRuntime

    return TorchRuntime(load_model(path), str(choose_device(device)), precision)


def as_runtime(
    model: "str | Path | Runtime | VisionLanguageEncoder",
    *,
    runtime: RuntimeChoice = "auto",
    device: str = "auto",
    precision: Precision = "32",
    threads: int = 0,
) -> Runtime:
    """Open a model as `open_runtime` does, or take one in memory, which stays where it is unless a device is named."""
    _check_settings(runtime, precision, threads)
    if isinstance(model, str | Path):
        return open_runtime(model, runtime=runtime, device=device, precision=precision, threads=threads)
    if isinstance(model, Runtime):
        return model
    if not hasattr(model, "encode_image"):
        kinds = "a model's name or checkpoint, a runtime or a PyTorch model"
        raise ConfigError(f"Expected {kinds}, got {type(model).__name__}.")
    from vesalius.runtime.torch import TorchRuntime

    return TorchRuntime(model, device, precision)


def _fits(path: Path) -> bool:
    """Whether the package has graphs for a checkpoint."""
    if path.name == CONTRACT_NAME:
        return False
    recipe = read_model_recipe(path)
    return recipe.name in EMBEDDED_GRAPHS and not recipe.options


def _check_settings(runtime: object, precision: object, threads: object) -> None:
    """Refuse settings that do not exist.

    Raises:
        ConfigError: Saying what there is.
    """
    for name, value, choice in (("runtime", runtime, RuntimeChoice), ("precision", precision, Precision)):
        if value not in (known := get_args(choice)):
            raise ConfigError(f"{name}: expected one of {', '.join(known)}, got {value!r}.")
    if not isinstance(threads, int) or threads < 0:
        raise ConfigError(f"threads: expected a whole number, 0 for all cores, got {threads!r}.")


def _check_onnx(path: Path, fits: bool, device: str, precision: str) -> None:
    """Refuse what ONNX Runtime does not do.

    Raises:
        ConfigError: Saying what does.
    """
    if not fits:
        raise ConfigError(f"{path}: --runtime onnx runs pocket's architecture only; leave the option out.")
    if device not in ("auto", "cpu") or precision != "32":
        raise ConfigError(f"--runtime onnx computes on the CPU in 32-bit floats; for --device {device} leave it out.")
