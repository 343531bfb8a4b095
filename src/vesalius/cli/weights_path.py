"""``vesalius weights path NAME``."""

import sys
from typing import Annotated

from cyclopts import Parameter


def weights_path(name: str, /, *, as_json: Annotated[bool, Parameter(name="--json")] = False) -> None:
    """Say where the file of public weights lies, or belongs.

    The path alone goes to stdout, for use in scripts; if nothing is there yet, a line on stderr says how to get it.

    Args:
        name: One of "vesalius weights list".
        as_json: Print one JSON object.
    """
    from vesalius.cli.output import print_json, say
    from vesalius.models.sources import find_source

    source = find_source(name)
    if as_json:
        print_json({"name": name, "path": source.path, "here": source.is_here()})
        return
    sys.stdout.write(f"{source.path}\n")
    if not source.is_here():
        say(f"Not there yet. {source.remedy()}.")
