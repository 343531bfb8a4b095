"""``vesalius weights list``."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from vesalius.models.sources import WeightSource


def weights_list(*, as_json: Annotated[bool, Parameter(name="--json")] = False) -> None:
    """List public weights: what they are, which models start from them, and whether they are on this machine.

    Examples:
        vesalius weights list
        vesalius weights list --json

    Documentation:
        docs/weights.md

    Args:
        as_json: Print one JSON object, with addresses and checksums.
    """
    from vesalius.console import print_json, print_table, say
    from vesalius.models.sources import read_sources, weights_folder

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
