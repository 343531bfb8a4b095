"""Models that name: ours by checkpoint, and those of others by the name of their public weights."""

from pathlib import Path
from typing import TYPE_CHECKING

from vesalius.errors import ModelError, require
from vesalius.models.checkpoint_file import find_checkpoint, read_notes
from vesalius.models.export_contract import CONTRACT_NAME, read_contract
from vesalius.models.sources import find_encoder_source, locate
from vesalius.naming.calibration import Calibration
from vesalius.runtime import RuntimeChoice, as_runtime, open_runtime
from vesalius.runtime.contract import Runtime

if TYPE_CHECKING:
    from vesalius.models.devices import Precision
    from vesalius.models.encoder import VisionLanguageEncoder


def open_namer(
    model: str | Path, *, runtime: RuntimeChoice, device: str, precision: "Precision"
) -> tuple[Runtime, Calibration]:
    """Open a model, with what its notes say of its probabilities.

    Args:
        model: "pocket", a checkpoint, a run's folder, "pubmedclip", or a name of ``vesalius weights list``.
        runtime: See `open_runtime`, as the other arguments; public weights of others run in PyTorch.
        device: Where.
        precision: Of computation.

    Raises:
        ConfigError: If the runtime cannot do what is asked.
        MissingPackageError: If PyTorch is needed and not installed.
        ModelError: As ``load_namer``.
    """
    if find_encoder_source(str(model)) is None:
        path = find_checkpoint(model)
        _check_export(path)
        opened = open_runtime(path, runtime=runtime, device=device, precision=precision)
        return opened, Calibration.from_notes(read_notes(path), path)
    loaded, calibration = load_namer(model)
    return as_runtime(loaded, device=device, precision=precision), calibration


def load_namer(model: str | Path) -> tuple["VisionLanguageEncoder", Calibration]:
    """Load a model in PyTorch, in evaluation mode, with what its notes say of its probabilities.

    Args:
        model: As for ``open_namer``.

    Raises:
        MissingPackageError: If PyTorch is not installed.
        ModelError: If there is no such model or its weights are not on this machine, saying where they belong; or if it
            is an export that does not name.
    """
    source = find_encoder_source(str(model))
    require("torch", extra="train")
    if source is None:
        from vesalius.models.checkpoints import load_model

        path = find_checkpoint(model)
        _check_export(path)
        return load_model(path), Calibration.from_notes(read_notes(path), path)
    if source.layout is None:
        raise ModelError(f"{source.name}: is {source.title[:1].lower()}{source.title[1:]}, not a model.")
    from vesalius.models.foreign import import_checkpoint

    return import_checkpoint(locate(source.name), source.layout).eval(), Calibration({})


def _check_export(path: Path) -> None:
    reason = read_contract(path).refused.get("name") if path.name == CONTRACT_NAME else None
    if reason is not None:
        raise ModelError(f"{path.parent}: this export does not name: {reason}; use the checkpoint it was made from.")
