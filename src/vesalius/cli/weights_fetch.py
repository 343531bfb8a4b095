"""``vesalius weights fetch NAME…`` and ``vesalius weights fetch --for MODEL``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from vesalius.models.sources import WeightSource

MEGABYTE = 1_000_000


def weights_fetch(
    *names: str,
    model: Annotated[str | None, Parameter(name="--for")] = None,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Download public weights and check them; what is here already stays.

    An interrupted download goes on where it stopped. Environment variables choose the folder (VESALIUS_WEIGHTS), a
    proxy (HTTPS_PROXY), a mirror (VESALIUS_MIRROR, a web server with a copy of such a folder; or HF_ENDPOINT, a mirror
    of the hub), and offline mode (VESALIUS_OFFLINE=1).

    Examples:
        vesalius weights fetch clip_vit_b16

    Documentation:
        docs/weights.md

    Args:
        names: Of "vesalius weights list".
        model: Fetch all that `train --pretrained` of this model starts from, such as ensemble_c, or that `name` and
            `train-naming` know by this name, such as pubmedclip.
        as_json: Print one JSON object.
    """
    from vesalius.console import print_json, say
    from vesalius.errors import ModelError
    from vesalius.models.sources import read_sources

    if not names and model is None:
        raise ModelError(f"Name what to fetch, or a model with --for. Available: {', '.join(sorted(read_sources()))}.")
    rows = []
    for source in _find_sources(names, model):  # every name is looked up before the first download
        was_here = source.is_here()
        rows.append({"name": source.name, "path": _fetch(source.name), "fetched": not was_here})
        if not as_json:
            say(f"{source.name}: {'was here' if was_here else 'fetched and checked'}: {source.path}")
    if as_json:
        print_json({"weights": rows})


def _find_sources(names: tuple[str, ...], model: str | None) -> "list[WeightSource]":
    from vesalius.errors import ModelError
    from vesalius.models.registry import list_encoders, list_models
    from vesalius.models.sources import find_source, read_sources
    from vesalius.models.start import needed_weights

    for name in names:
        if name not in read_sources() and name in (*list_models(), *list_encoders()):
            raise ModelError(f"{name} is a model; fetch what it starts from with: vesalius weights fetch --for {name}")
    wanted = [*names, *(needed_weights(model) if model else ())]
    return [find_source(name) for name in dict.fromkeys(wanted)]


def _fetch(name: str) -> Path:
    from vesalius.console import progress_bar
    from vesalius.models.downloads import fetch

    with progress_bar() as bar:
        task = bar.add_task(f"{name}, MB", total=None)

        def show(done: int, total: int | None) -> None:
            bar.update(task, completed=done // MEGABYTE, total=total and total // MEGABYTE)

        return fetch(name, show)
