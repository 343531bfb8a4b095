"""``vesalius models`` and ``vesalius export MODEL``."""

from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from vesalius.cli.usage import AsJson
from vesalius.console import print_json, print_table, progress_bar, say
from vesalius.errors import ConfigError

if TYPE_CHECKING:
    from vesalius.export.run import ExportReport


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
    remark = "Parameters are not counted: that needs PyTorch; install it with: pip install 'vesalius[train]'"
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


def export(
    model: str,
    /,
    *,
    out: Annotated[Path, Parameter(alias="-o")],
    to: Literal["onnx", "openvino"] = "onnx",
    int8: bool = False,
    calibrate: Path | None = None,
    as_json: AsJson = False,
) -> None:
    """Write a model as graphs for ONNX Runtime or OpenVINO: faster on processors, and other programs can run them.

    Images, prompts and masks are three graphs, and export.json says what goes in and comes out. Every command takes the
    folder as its model. An export that gives other numbers than the model is refused: a logit may differ by 0.001, or
    in 8 bits the mean Dice on up to 50 validation images by 0.01. The export outlines, judges existence and names as
    the model does; where it does not name, the command says so.

    Examples:
        vesalius export pocket -o exported
        vesalius export pocket --to openvino --int8 --calibrate kvasir -o small

    Documentation:
        docs/export.md

    Args:
        model: A model's name, a checkpoint or a run's folder.
        out: Folder for the graphs, not there yet.
        to: Which program is to run them.
        int8: Compute in 8 bits; needs --calibrate.
        calibrate: Folder with images/, masks/ and anns/: its training images show which range numbers have.
        as_json: Print one JSON object.
    """
    from vesalius.export.run import export_model

    if int8 != (calibrate is not None):
        missing, given = ("--int8", "--calibrate") if calibrate else ("--calibrate DIR", "--int8")
        raise ConfigError(f"{given} has no use without {missing}; give both, or neither.")
    with progress_bar() as bar:
        report = export_model(model, out, bar, runtime=to, calibrate=calibrate)
    if as_json:
        print_json(_describe_export(report))
    else:
        _print(report, model, f"{to}, {'8 bits' if int8 else '32-bit floats'}")


def _describe_export(report: "ExportReport") -> dict[str, object]:
    from vesalius.models.checkpoint_file import JOBS

    before, after = report.timings
    return {
        "folder": str(report.folder),
        "largest_difference_float32": report.difference,
        "dice": None if report.dice is None else asdict(report.dice),
        "bytes": dict(zip(("checkpoint", "export"), report.sizes, strict=True)),
        "jobs": [job for job in JOBS if job not in report.refused],
        "refused_jobs": dict(report.refused),
        "milliseconds": {"pytorch": asdict(before), "export": asdict(after)},
    }


def _print(report: "ExportReport", model: str, form: str) -> None:
    import torch

    names = ("PyTorch", form)
    rows = [
        (name, f"{size / 1e6:.1f}", *(f"{value:.1f}" for value in (timing.image, timing.prompt, timing.decoder)))
        for name, size, timing in zip(names, report.sizes, report.timings, strict=True)
    ]
    print_table((model, "MB", "ms an image", "ms a prompt", "ms an answer"), rows)
    say(f"Median times on {torch.get_num_threads()} threads, one image and one prompt at a time.")
    if report.dice is None:
        say(f"Largest difference of a logit: {report.difference:.1g}.")
    else:
        found = report.dice
        say(f"Dice on {found.images} validation images: {found.before:.3f} in PyTorch, {found.after:.3f} in 8 bits.")
    for job, reason in report.refused.items():
        say(f"It does not {job}: {reason}.")
    say(f"Written: {report.folder}; give it to any command as its model.")
