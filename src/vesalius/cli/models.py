"""``vesalius models``."""

from importlib.util import find_spec

from vesalius.cli.usage import AsJson
from vesalius.console import print_json, print_table, say
from vesalius.errors import install_command


def models(model: str | None = None, /, *, as_json: AsJson = False) -> None:
    """List the named models, or what one of them learnt to outline.

    What they are, how large, and which of them the package carries weights of. Parameters are counted at default sizes,
    where PyTorch is installed; trainable are those of the papers' recipe, with both encoders frozen. Of one model: its
    targets, the kinds of pictures it learnt them on, and how many training pictures showed each.

    Examples:
        vesalius models
        vesalius models pocket
        vesalius models --json

    Documentation:
        docs/results/models-speed.md, docs/weights.md

    Args:
        model: A model's name, a checkpoint or a run's folder, to list what it learnt.
        as_json: Print one JSON object.
    """
    if model is not None:
        _list_targets(model, as_json)
        return
    from vesalius.models import list_encoders, list_models
    from vesalius.models.checkpoint_file import EMBEDDED

    uncounted = find_spec("torch") is None
    kinds = {"segmenter": list_models(), "encoder": list_encoders()}
    rows = [_describe_model(name, kind, uncounted) for kind, names in kinds.items() for name in names]
    remark = f"Parameters are not counted: that needs PyTorch; install it with: {install_command('train')}"
    if as_json:
        print_json({"models": rows, **({"remark": remark} if uncounted else {})})
        return
    counts = () if uncounted else ("parameters", "trainable")
    columns = ("name", "kind", *counts, "description")
    print_table(columns, ([_cell(row[column]) for column in columns] for row in rows))
    if uncounted:
        say(remark)
    say(f"The package carries weights of {', '.join(EMBEDDED)}; for others see: vesalius weights list")


def _list_targets(model: str, as_json: bool) -> None:
    from vesalius.knowledge import Knowledge

    targets = Knowledge.read(model).targets
    if as_json:
        rows = [{"target": each.phrase, "modalities": each.modalities, "pictures": each.pictures} for each in targets]
        print_json({"model": model, "targets": rows})
        return
    if not targets:
        say(f"{model} does not say what it learnt; it is asked every prompt.")
        return
    print_table(
        ("target", "pictures in training", "learnt on"),
        [(each.phrase, each.pictures, ", ".join(each.learnt_on)) for each in targets],
        title=f"What {model} learnt to outline",
    )


def _describe_model(name: str, kind: str, uncounted: bool) -> dict[str, object]:
    from vesalius.models import describe_model
    from vesalius.models.checkpoint_file import EMBEDDED

    return {
        "name": name,
        "kind": kind,
        **({"parameters": None, "trainable": None} if uncounted else _count(name)),
        "weights": name in EMBEDDED,
        "description": describe_model(name),
    }


def _count(name: str) -> dict[str, object]:
    from vesalius.models.start import count_parameters

    count = count_parameters(name)
    return {"parameters": count.total, "trainable": count.decoder}


def _cell(value: object) -> str:
    return f"{value / 1e6:.1f}\u00a0M" if isinstance(value, int) else str(value)
