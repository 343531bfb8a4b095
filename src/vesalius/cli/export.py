"""``vesalius export MODEL``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from vesalius.cli.usage import AsJson
from vesalius.console import print_json, print_table, progress_bar, say
from vesalius.errors import ConfigError

if TYPE_CHECKING:
    from vesalius.export.run import ExportReport


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
        print_json(report.to_dict())
    else:
        _print(report, model, f"{to}, {'8 bits' if int8 else '32-bit floats'}")


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
