"""``vesalius weights verify [NAME…]``."""

import sys
from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter


def weights_verify(*names: str, as_json: Annotated[bool, Parameter(name="--json")] = False) -> None:
    """Compare the weights on this machine with their checksums: the published one, or that of the first fetch.

    Exit codes:
        1: A file has changed.

    Examples:
        vesalius weights verify
        vesalius weights verify clip_vit_b16

    Documentation:
        docs/weights.md

    Args:
        names: Of "vesalius weights list"; by default all that are here.
        as_json: Print one JSON object, with the checksums.
    """
    from vesalius.console import print_json, print_table, progress_bar, say
    from vesalius.models.checksums import verify
    from vesalius.models.sources import read_sources, weights_folder

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
