"""``vesalius weights import FILE --as LAYOUT --out OUT``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from vesalius.errors import ConfigError, ModelError


def weights_import(
    file: str,
    /,
    *,
    layout: Annotated[str | None, Parameter(name="--as")] = None,
    out: Annotated[Path, Parameter(alias="-o")],
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Turn weights of another program into a checkpoint of ours, which every command takes as a model.

    Nothing pickled is executed; tensors that are missing or should not be there are listed in an error.

    Examples:
        vesalius weights import ViT-B-16.pt --as openai-clip -o clip.safetensors

    Documentation:
        docs/weights.md

    Args:
        file: The file, or a name of "vesalius weights list" that is on this machine.
        layout: Who wrote the file: openai-clip, pubmedclip, open_clip-biomedclip, transformers-clip,
            transformers-clipseg, medvlsm-clipseg, medvlsm-biomedclipseg, medvlsm-cris, vlsm-ensemble-a or unet_d. Names
            of the list know theirs.
        out: The checkpoint to write, a .safetensors file.
        as_json: Print one JSON object.
    """
    from vesalius.console import print_json, progress_bar, say
    from vesalius.files import sha256_of
    from vesalius.models.checkpoints import save_model
    from vesalius.models.foreign import import_checkpoint
    from vesalius.models.segmenter import Segmenter

    path, layout = _find(file, layout)
    if out.resolve() == path.resolve():
        raise ConfigError(f"--out {out} is the file to import; choose another, or it would be lost.")
    with progress_bar() as bar:
        bar.add_task(f"Importing {path.name}", total=None)
        model = import_checkpoint(path, layout)
        notes = {"imported_from": path.name, "layout": layout, "sha256": sha256_of(path)}
        save_model(model, out, notes)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    if as_json:
        print_json({"checkpoint": out, "model": model.recipe.name, "parameters": parameters, **notes})
        return
    say(f"{model.recipe.name}, {parameters / 1e6:.1f} M parameters, from {path.name}: {out}")
    if isinstance(model, Segmenter):
        say(f"Use it: vesalius segment IMAGE PROMPT --model {out}; tune it: vesalius train --model {out} --data DIR")
    else:
        say(f"It encodes images and prompts and outlines nothing; in Python: vesalius.load_model({str(out)!r})")


def _find(file: str, layout: str | None) -> tuple[Path, str]:
    """The file, and the layout to read it as."""
    from vesalius.errors import unknown_name
    from vesalius.models.foreign import LAYOUTS
    from vesalius.models.sources import locate, read_sources

    path, row = Path(file), read_sources().get(file)
    if not path.is_file():
        if row is None:
            raise ModelError(f"{file}: no such file. {unknown_name('public weights', file, read_sources())}")
        path, layout = locate(file), layout or row.layout
    if layout is None:
        used = "; a vocabulary is used as it is" if row else ""
        raise ConfigError(f"{file}: say with --as who wrote it{used}. Layouts: {', '.join(sorted(LAYOUTS))}.")
    if layout not in LAYOUTS:
        raise ModelError(unknown_name("layout", layout, LAYOUTS))
    return path, layout
