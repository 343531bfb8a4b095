"""The command line: ``vesalius --help``. Heavy modules load only when a command runs."""

import sys
import warnings
from collections.abc import Sequence
from typing import TextIO

from cyclopts import App, Parameter
from cyclopts.exceptions import CycloptsError
from rich.console import Console

from vesalius import __version__
from vesalius.errors import VesaliusError

app = App(
    name="vesalius",
    help="Read medical images with words: segment what a phrase names, name what a slice shows.",
    version=__version__,
    default_parameter=Parameter(negative=()),
    result_action="return_none",
)
# Named here, not read from the commands' own descriptions, so that `--help` loads none of them.
COMMANDS = {
    "segment": "Outline what phrases name in a picture, series or volume.",
    "name": "Say which modality, plane, body stations and organs an image shows.",
    "train": "Train a model on your data.",
    "train-naming": "Train a model to name slices, on captions of what they show.",
    "evaluate": "Score a model on a data set, prompt by prompt.",
    "evaluate-naming": "Measure how well a model names slices: organs, stations, contradictions, calibration.",
    "compare": "Compare evaluations: intervals, paired tests, stability of the ranking.",
    "report": "Put one evaluation, or several side by side, on a page with figures and pictures.",
    "audit": "Find out whether a model reads its prompts: swaps, paraphrases, absent objects.",
    "benchmark": "Train and score a grid of models and data sets, and put the numbers beside published ones.",
    "models": "List the named models.",
    "export": "Write a model as graphs for ONNX Runtime or OpenVINO.",
}
GROUPS = {
    "data": {
        "prepare": "Bring images and masks, a public data set's or your own, into the layout that training reads.",
        "check": "Look for what is wrong with a data set: files, masks, prompts, duplicates, leaks.",
        "slices": "Cut volumes into labelled slices for naming.",
    },
    "prompts": {
        "generate": "Write prompts for a data set from its masks and images.",
        "check": "Render every template, and say what is wrong with it.",
    },
    "weights": {
        "list": "Public weights, what they are for, and which are on this machine.",
        "fetch": "Download public weights and check them.",
        "import": "Turn weights of another program into a checkpoint of ours.",
        "path": "Say where the file of public weights lies, or belongs.",
        "verify": "Compare the weights on this machine with their checksums.",
    },
}
GROUP_HELP = {"data": "Prepare and check data sets.", "prompts": "Make prompts.", "weights": "Find weights of others."}
for command, summary in COMMANDS.items():
    module = command.replace("-", "_")
    app.command(f"vesalius.cli.{module}:{module}", name=command, help=summary)
for group, commands in GROUPS.items():
    inner = App(name=group, help=GROUP_HELP[group])
    for command, summary in commands.items():
        inner.command(f"vesalius.cli.{group}_{command}:{group}_{command}", name=command, help=summary)
    app.command(inner)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; exit code 2 and one clear line for whatever the user can put right.

    Args:
        arguments: Without the program's name; by default those of the process.
    """
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            app(sys.argv[1:] if arguments is None else arguments, exit_on_error=False, print_error=False)
    except (VesaliusError, CycloptsError) as error:
        Console(stderr=True, soft_wrap=True, highlight=False).print(f"[bold red]error:[/] {_escape(str(error))}")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """One line, without the place in our code that a user cannot change."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"[yellow]warning:[/] {_escape(str(message))}")


def _escape(text: str) -> str:
    """Keep rich from reading square brackets as markup."""
    return text.replace("[", r"\[")
