"""``vesalius models``."""

from typing import Annotated

from cyclopts import Parameter


def models(*, as_json: Annotated[bool, Parameter(name="--json")] = False) -> None:
    """List the named models, and which of them the package carries weights of.

    Args:
        as_json: Print one JSON object.
    """
    from vesalius.cli.output import print_json, print_table
    from vesalius.models import describe_model, list_models
    from vesalius.models.checkpoints import EMBEDDED

    rows = [(name, name in EMBEDDED, describe_model(name)) for name in list_models()]
    if as_json:
        print_json({"models": [{"name": name, "weights": has, "description": text} for name, has, text in rows]})
        return
    print_table(
        ("name", "weights", "description"), [(name, "embedded" if has else None, text) for name, has, text in rows]
    )
