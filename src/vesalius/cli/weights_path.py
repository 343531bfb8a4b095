"""``vesalius weights path NAME``."""

from typing import Annotated

from cyclopts import Parameter


def weights_path(name: str, /, *, as_json: Annotated[bool, Parameter(name="--json")] = False) -> None:
    """Say where the file of public weights lies, or belongs.

    The path alone goes to stdout, for use in scripts; if nothing is there yet, a line on stderr says how to get it.

    Examples:
        vesalius weights path clip_vit_b16

    Documentation:
        docs/weights.md

    Args:
        name: One of "vesalius weights list".
        as_json: Print one JSON object.
    """
    from vesalius.console import print_json, print_path, say
    from vesalius.models.sources import find_source

    source = find_source(name)
    if as_json:
        print_json({"name": name, "path": source.path, "here": source.is_here()})
        return
    print_path(source.path)
    if not source.is_here():
        say(f"Not there yet. {source.remedy()}.")
