"""Weights of other programs: read safely, renamed, and checked tensor by tensor."""

from pathlib import Path

from vesalius.errors import ModelError, join_first, unknown_name
from vesalius.models.checkpoints import fill_model
from vesalius.models.encoder import VisionLanguageEncoder
from vesalius.models.foreign.layouts import LAYOUTS
from vesalius.models.foreign.reading import read_foreign_tensors
from vesalius.models.registry import build_model

__all__ = ["LAYOUTS", "import_checkpoint"]


def import_checkpoint(path: Path, layout: str) -> VisionLanguageEncoder:
    """Read another program's weights into a model of ours, in evaluation mode.

    Args:
        path: A safetensors file, a PyTorch file, a Lightning checkpoint or a TorchScript archive.
        layout: One of ``LAYOUTS``.

    Raises:
        ModelError: If there is no such layout, the file cannot be read, its tensors are not those of the layout, or one
            of them holds what is not a number.
    """
    if layout not in LAYOUTS:
        raise ModelError(unknown_name("layout", layout, LAYOUTS))
    tensors = read_foreign_tensors(path)
    try:
        recipe, renamed = LAYOUTS[layout].convert(tensors)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    except (IndexError, ValueError, RuntimeError) as error:  # of Python and PyTorch, where shapes do not fit
        told = f"tensors do not have the shapes that {layout} gives them ({str(error).splitlines()[0]})"
        raise ModelError(f"{path}: {told}; choose another layout, or get the file again.") from error
    if broken := sorted(name for name, value in renamed.items() if not value.isfinite().all()):
        told = f"{len(broken)} of its tensors hold what is infinite or not a number: {join_first(broken)}"
        raise ModelError(f"{path}: {told}. Get the file again, or import weights from before training diverged.")
    model = build_model(recipe.name, **recipe.options)
    return fill_model(model, renamed, path).eval()
