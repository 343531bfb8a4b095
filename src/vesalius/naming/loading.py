"""Models that name: ours by checkpoint, and those of others by the name of their public weights."""

from pathlib import Path

from vesalius.errors import ModelError
from vesalius.models.checkpoints import find_checkpoint, load_model, read_notes
from vesalius.models.encoder import VisionLanguageEncoder
from vesalius.models.export_contract import CONTRACT_NAME, read_contract
from vesalius.models.foreign import import_checkpoint
from vesalius.models.sources import find_encoder_source, locate
from vesalius.naming.calibration import Calibration


def load_namer(model: str | Path) -> tuple[VisionLanguageEncoder, Calibration]:
    """Load a model in evaluation mode, with what its notes say of its probabilities.

    Args:
        model: "pocket", a checkpoint, a run's folder, "pubmedclip", or a name of ``vesalius weights list``.

    Raises:
        ModelError: If there is no such model or its weights are not on this machine, saying where they belong; or if it
            is an export that does not name.
    """
    source = find_encoder_source(str(model))
    if source is None:
        path = find_checkpoint(model)
        _check_export(path)
        return load_model(model), Calibration.from_notes(read_notes(path), path)
    if source.layout is None:
        raise ModelError(f"{source.name}: is {source.title[:1].lower()}{source.title[1:]}, not a model.")
    return import_checkpoint(locate(source.name), source.layout).eval(), Calibration({})


def _check_export(path: Path) -> None:
    reason = read_contract(path).refused.get("name") if path.name == CONTRACT_NAME else None
    if reason is not None:
        raise ModelError(f"{path.parent}: this export does not name: {reason}; use the checkpoint it was made from.")
