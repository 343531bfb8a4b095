"""``vesalius weights list``, ``fetch``, ``import``, ``path`` and ``verify``."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from vesalius.cli.usage import AsJson
from vesalius.console import print_json, print_path, print_table, progress_bar, say
from vesalius.errors import ConfigError, ModelError, unknown_name
from vesalius.files import check_absent, sha256_of

if TYPE_CHECKING:
    from vesalius.models.public_weights import WeightSource


def weights_list(*, as_json: AsJson = False) -> None:
    """List public weights: what they are, which models start from them, and whether they are on this machine.

    Examples:
        vesalius weights list
        vesalius weights list --json

    Documentation:
        docs/weights.md

    Args:
        as_json: Print one JSON object, with addresses and checksums.
    """
    from vesalius.models.public_weights import read_sources, weights_folder

    sources = read_sources().values()
    if as_json:
        rows = [asdict(each) | {"path": each.path, "address": each.address, "here": each.is_here()} for each in sources]
        print_json({"folder": weights_folder(), "weights": rows})
        return
    print_table(
        ("name", "what, and for which models", "size", "licence", "here?"),
        [(each.name, _describe(each), each.megabytes, each.licence, _state(each)) for each in sources],
    )
    say(f"In {weights_folder()}; another folder with VESALIUS_WEIGHTS. Fetch with: vesalius weights fetch NAME")


def _describe(source: "WeightSource") -> str:
    return f"{source.title}: {', '.join(source.models)}"


def _state(source: "WeightSource") -> str:
    if source.is_here():
        return "yes"
    return "cut off" if source.path.is_file() else "no"


MEGABYTE = 1_000_000


def weights_fetch(
    *names: str,
    model: Annotated[str | None, Parameter(name="--for")] = None,
    as_json: AsJson = False,
) -> None:
    """Download public weights and check them; what is here already stays.

    An interrupted download goes on where it stopped. Environment variables choose the folder (VESALIUS_WEIGHTS), a
    proxy (HTTPS_PROXY), a mirror (VESALIUS_MIRROR, a web server with a copy of such a folder; or HF_ENDPOINT, a mirror
    of the hub), and offline mode (VESALIUS_OFFLINE=1).

    Examples:
        vesalius weights fetch biomedclip

    Documentation:
        docs/weights.md

    Args:
        names: Of "vesalius weights list".
        model: Fetch all that `train --pretrained` of this model starts from, such as ensemble_c, or that `name` and
            `train-naming` know by this name, such as pubmedclip.
        as_json: Print one JSON object.
    """
    from vesalius.models.public_weights import find_checksum, read_sources

    if not names and model is None:
        raise ModelError(f"Name what to fetch, or a model with --for. Available: {', '.join(sorted(read_sources()))}.")
    rows = []
    for source in _find_sources(names, model):  # every name is looked up before the first download
        was_here = source.is_here()
        compared = not was_here and find_checksum(source) is not None
        rows.append({"name": source.name, "path": _fetch(source.name), "fetched": not was_here})
        if not as_json:
            done = "fetched and checked" if compared else "was here" if was_here else "fetched"
            say(f"{source.name}: {done}: {source.path}")
    if as_json:
        print_json({"weights": rows})


def _find_sources(names: tuple[str, ...], model: str | None) -> "list[WeightSource]":
    from vesalius.models.public_weights import find_source, read_sources
    from vesalius.models.registry import list_encoders, list_models
    from vesalius.models.start import needed_weights

    for name in names:
        if name not in read_sources() and name in (*list_models(), *list_encoders()):
            needed_weights(name)  # says so if there are none
            raise ModelError(f"{name} is a model; fetch what it starts from with: vesalius weights fetch --for {name}")
    wanted = [*names, *(needed_weights(model) if model else ())]
    return [find_source(name) for name in dict.fromkeys(wanted)]


def _fetch(name: str) -> Path:
    from vesalius.models.public_weights import fetch

    with progress_bar() as bar:
        task = bar.add_task(f"{name}, MB", total=None)

        def show(done: int, total: int | None) -> None:
            bar.update(task, completed=done // MEGABYTE, total=total and total // MEGABYTE)

        return fetch(name, show)


def weights_import(
    file: str,
    /,
    *,
    layout: Annotated[str | None, Parameter(name="--as")] = None,
    out: Annotated[Path, Parameter(alias="-o")],
    overwrite: bool = False,
    as_json: AsJson = False,
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
        overwrite: Replace a file that is there already.
        as_json: Print one JSON object.
    """
    from vesalius.models.checkpoints import save_model
    from vesalius.models.encoder import Segmenter
    from vesalius.models.foreign import import_checkpoint

    path, layout = _find(file, layout)
    if out.resolve() == path.resolve():
        raise ConfigError(f"--out {out} is the file to import; choose another, or it would be lost.")
    check_absent([out], overwrite)
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
    from vesalius.models.foreign import LAYOUTS
    from vesalius.models.public_weights import locate, read_sources

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


def weights_path(name: str, /, *, as_json: AsJson = False) -> None:
    """Say where the file of public weights lies, or belongs.

    The path alone goes to stdout, for use in scripts; if nothing is there yet, a line on stderr says how to get it.

    Examples:
        vesalius weights path clip-vit-b16

    Documentation:
        docs/weights.md

    Args:
        name: One of "vesalius weights list".
        as_json: Print one JSON object.
    """
    from vesalius.models.public_weights import find_source

    source = find_source(name)
    if as_json:
        print_json({"name": name, "path": source.path, "here": source.is_here()})
        return
    print_path(source.path)
    if not source.is_here():
        say(f"Not there yet. {source.remedy()}.")


def weights_verify(*names: str, as_json: AsJson = False) -> None:
    """Compare the weights on this machine with their checksums: the published one, or that of the first fetch.

    Exit codes:
        1: A file has changed.

    Examples:
        vesalius weights verify
        vesalius weights verify clip-vit-b16

    Documentation:
        docs/weights.md

    Args:
        names: Of "vesalius weights list"; by default all that are here.
        as_json: Print one JSON object, with the checksums.
    """
    from vesalius.models.public_weights import read_sources, verify, weights_folder

    chosen = names or [name for name, source in read_sources().items() if source.path.is_file()]
    with progress_bar() as bar:
        verdicts = [verify(name) for name in bar.track(chosen, description="Verifying")]
    if as_json:
        print_json({"weights": [asdict(each) | {"finding": each.finding} for each in verdicts]})
    elif verdicts:
        print_table(("name", "finding", "file"), [(each.name, each.finding, each.path) for each in verdicts])
    else:
        say(f"No public weights in {weights_folder()}.")
    changed = [each for each in verdicts if each.finding == "changed"]
    for each in changed:
        say(f"{each.path}: sha256 {each.sha256}, expected {each.expected}; delete it and fetch it again.")
    if changed:
        sys.exit(1)
