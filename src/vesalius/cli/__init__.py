"""The command line: ``vesalius --help``. Heavy modules load only when a command runs."""

import inspect
import logging
import os
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import is_dataclass
from pathlib import Path

from cyclopts import App, Parameter
from cyclopts.exceptions import CycloptsError, UnknownOptionError, UnusedCliTokensError

from vesalius import __version__
from vesalius.cli.usage import (
    Loudness,
    explain_arguments,
    explain_option,
    long_help,
    rename_options,
    take_loudness,
    write_epilogue,
)
from vesalius.console import LOG, complain, keeping_quiet, open_console, say, showing_all_as_text
from vesalius.errors import EMPTY_PATH, ConfigError, VesaliusError, not_installed

EXAMPLES = """vesalius segment scan.png "polyp"
vesalius name head.nii.gz
vesalius segment --help"""
TRAIN_PACKAGES = ("torch", "pytorch_lightning", "torchmetrics", "instant_clip_tokenizer", "matplotlib", "pyarrow")
"""Packages of the extra ``train``, which whole commands need, by the names they are imported by."""
app = App(
    name="vesalius",
    help="Read medical images with words: segment what a phrase names, name what a slice shows.",
    help_epilogue=write_epilogue(EXAMPLES, "README.md", as_rich=True),
    help_format="rich",  # Markdown, which the commands' own help is, takes a fifth of the time of `vesalius --help`
    version=__version__,
    version_flags=("--version", "-V"),
    default_parameter=Parameter(
        negative=(),
        json_list=False,  # "[a]" is a file, too
        json_dict=False,
        show_default=lambda value: None if value in (None, (), "") else str(value),
    ),
    result_action="return_none",
)
# Listed here, not read from the commands' docstrings, so that `--help` loads none of them.
COMMANDS = {
    "segment": "Outline what phrases name in a picture, series or volume.",
    "name": "Say which modality, protocol, plane, body stations and organs an image shows.",
    "train": "Train a model on your data.",
    "train-naming": "Train a model to name slices, on captions of what they show.",
    "evaluate": "Score a model on a data set, prompt by prompt.",
    "evaluate-naming": "Measure how well a model names slices: organs, stations, contradictions, calibration.",
    "compare": "Compare evaluations: intervals, paired tests, stability of the ranking.",
    "report": "Put one evaluation, or several side by side, on a page with figures and pictures.",
    "audit": "Find out whether a model reads its prompts: substitutions, paraphrases, absent objects.",
    "benchmark": "Train and score a grid of models and data sets, and put the numbers beside published ones.",
    "models": "List the named models, or what one of them learnt to outline.",
    "deidentify": "Write de-identified copies of DICOM images, and list what was changed.",
    "export": "Write a model as graphs for ONNX Runtime or OpenVINO.",
    "serve": "Segment and name over HTTP, with a page for the browser.",
    "doctor": "Say what works on this machine and what is missing; with a timed test.",
    "demo": "Segment and name real images that packages carry, and write a page of them.",
}
CHAPTERS = {
    "archive index": "archive_search",
    "archive search": "archive_search",
    "benchmark": "train",
    "evaluate-naming": "evaluate",
    "pacs listen": "pacs_queue",
    "pacs remove": "pacs_queue",
    "pacs retry": "pacs_queue",
    "pacs status": "pacs_queue",
    "report": "compare",
    "train-naming": "train",
}
"""Commands in another command's file -> that file."""
GROUPS = {
    "archive": {
        "run": "Name or segment every image of an archive, each exactly once, on this machine or a cluster.",
        "index": "Index every slice of an archive, or what changed in it since the last time.",
        "search": "Find slices of an indexed archive by a phrase, a picture, labels or headers.",
        "status": "Say how far an archive is, what it cost so far, and what failed for which reason.",
    },
    "data": {
        "prepare": "Bring images and masks, a public data set's or your own, into the layout that training reads.",
        "check": "Look for what is wrong with a data set: files, masks, prompts, duplicates, leaks.",
        "slices": "Cut volumes into labelled slices for naming.",
    },
    "pacs": {
        "find": "List series that a DICOMweb service holds.",
        "segment": "Segment a series of a DICOMweb service, and keep the result or store it there.",
        "name": "Name what a series of a DICOMweb service shows, as a structured report.",
        "listen": "Accept series by C-STORE, work on them by rules, and send results back.",
        "status": "Say what a queue holds, what failed for which reason, and when that is tried again.",
        "retry": "Try everything again now that failed.",
        "remove": "Remove a series' files and results from a queue at once.",
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
GROUP_HELP = {
    "archive": "Work through whole archives on one machine or a cluster, and search them.",
    "data": "Prepare and check data sets.",
    "pacs": "Work with a PACS.",
    "prompts": "Make prompts.",
    "weights": "Find weights of others.",
}
GROUP_PAGES = {
    "archive": "docs/archive.md",
    "data": "docs/data.md",
    "pacs": "docs/pacs.md",
    "prompts": "docs/prompts.md",
    "weights": "docs/weights.md",
}
for command, summary in COMMANDS.items():
    function = command.replace("-", "_")
    path = f"vesalius.cli.{CHAPTERS.get(command, function)}:{function}"
    app.command(path, name=command, help=summary, help_format="markdown")
app.command(
    "vesalius.cli.usage:install_completion",
    name="--install-completion",
    help="Let the shell complete commands and options.",
    help_format="markdown",
)
for group, commands in GROUPS.items():
    examples = "\n".join(f"vesalius {group} {command} --help" for command in commands)
    epilogue = write_epilogue(examples, GROUP_PAGES[group])
    inner = App(name=group, help=GROUP_HELP[group], help_epilogue=epilogue, help_format="markdown")
    for command, summary in commands.items():
        chapter = CHAPTERS.get(f"{group} {command}", group)
        inner.command(f"vesalius.cli.{chapter}:{group}_{command}", name=command, help=summary)
    app.command(inner)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; errors that the user can correct end it with one line and exit code 2.

    Any other error is a fault of Vesalius: exit code 70, and the traceback if the environment has VESALIUS_DEBUG=1.

    Args:
        arguments: Arguments without the program's name; by default those of the process.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        given, loudness = take_loudness(given)
        with showing_all_as_text(), keeping_quiet(loudness == "quiet"), _logging(loudness):
            _run(given)
    except UnknownOptionError as error:
        _stop(explain_option(error))
    except (VesaliusError, CycloptsError) as error:
        _stop(explain_arguments(error) if isinstance(error, UnusedCliTokensError) else error)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        _discard_output()
        sys.exit(141)
    except OSError as error:
        _stop_at_file(error)
    except ModuleNotFoundError as error:
        _stop_at_package(error)
    except Exception as error:  # the last resort: a traceback helps no user
        _stop_at_fault(error)


def _run(arguments: Sequence[str]) -> None:
    try:
        command, apps, _ = app.parse_commands(arguments)
        arguments = rename_options(" ".join(command), arguments)
        with long_help(apps):
            _refuse_empty_paths(arguments)
            app(arguments, console=open_console(), exit_on_error=False, print_error=False)
    finally:
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where a reader that went away or a full disk can still be told of


def _refuse_empty_paths(arguments: Sequence[str]) -> None:
    """Refuse paths without letters, as of a variable that is not set: Python takes them for the current folder.

    Raises:
        ConfigError: If one is given.
    """
    if "." in arguments or not any(not each or each.endswith("=") for each in arguments):
        return
    _, bound, _ = app.parse_args(arguments, exit_on_error=False, print_error=False)
    for parameter, given in bound.arguments.items():
        option = bound.signature.parameters[parameter].kind is inspect.Parameter.KEYWORD_ONLY
        for name, value in (vars(given) if is_dataclass(given) else {parameter: given}).items():
            if Path() in (value if isinstance(value, tuple | list) else (value,)):
                raise ConfigError(f"{f'--{name}' if option else name.upper()}: {EMPTY_PATH}".replace("_", "-"))


def _stop(message: object) -> None:
    complain(message)
    sys.exit(2)


def _stop_at_package(error: ModuleNotFoundError) -> None:
    if (error.name or "").partition(".")[0] not in TRAIN_PACKAGES:
        _stop_at_fault(error)
    _stop(not_installed(error.name, "train"))


def _stop_at_file(error: OSError) -> None:
    if error.errno is None:  # raised by a library, not by the system
        _stop_at_fault(error)
    place = "" if error.filename is None else f"{error.filename}: "
    _stop(f"{place}{error.strerror}.")


def _stop_at_fault(error: Exception) -> None:
    if os.environ.get("VESALIUS_DEBUG") == "1":
        for line in "".join(traceback.format_exception(error)).splitlines():
            say(line)
    told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    remedy = "VESALIUS_DEBUG=1 in the environment shows where; please report it"
    complain(f"This is a fault of Vesalius: {told.rstrip('.')}. {remedy}.")
    sys.exit(70)


def _discard_output() -> None:
    """Let Python end without a second error about unwritten output."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            os.dup2(nowhere, stream.fileno())
        except (AttributeError, OSError, ValueError):  # no stream, or not one of the system
            continue
    os.close(nowhere)


class _Notices(logging.Handler):
    """Shows logs as lines on stderr, with the seconds since the start."""

    def __init__(self) -> None:
        super().__init__()
        self._started = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        say(f"{time.monotonic() - self._started:6.2f} s  {record.getMessage()}")


@contextmanager
def _logging(loudness: Loudness) -> Iterator[None]:
    """Show the log of Vesalius with --verbose, and hide the warnings of libraries with --quiet."""
    handler, level, disabled = _Notices(), LOG.level, logging.root.manager.disable
    if loudness == "quiet":
        logging.disable(logging.WARNING)
    if loudness == "verbose":
        LOG.addHandler(handler)
        LOG.setLevel(logging.INFO)
    try:
        yield
        LOG.info("done")
    finally:
        LOG.removeHandler(handler)
        LOG.setLevel(level)
        logging.disable(disabled)
