"""Options that commands share, and what the command line says of itself: help, unknown options, shell completion."""

import difflib
import inspect
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from cyclopts.exceptions import UnknownOptionError, UnusedCliTokensError

from vesalius.console import warn
from vesalius.errors import ConfigError, join_first
from vesalius.models.choices import Precision, RuntimeChoice

AsJson = Annotated[bool, Parameter(name="--json")]
"""Whether a command prints one JSON object instead of tables."""
OutPath = Annotated[Path | None, Parameter(alias="-o")]
"""Folder or file for the results, if any are written."""
Flat = Parameter(name="*")
"""Makes each field of a dataclass an option of its own."""
Split = Literal["train", "val", "test"]
WithRuntime = Annotated[
    RuntimeChoice,
    Parameter(
        help="Program that runs the model: onnx (pocket and what was fine-tuned from it, on the CPU), torch (any "
        "model, anywhere), or the first that fits."
    ),
]
OnDevice = Annotated[
    str,
    Parameter(
        help="Where it computes: cpu, cuda, cuda:1 or mps; auto takes a GPU where there is one and PyTorch runs the "
        "model. On a GPU everything runs in PyTorch."
    ),
]
InPrecision = Annotated[
    Precision,
    Parameter(help="Numbers that PyTorch computes with; the mixed ones halve their bits where that is safe, for GPUs."),
]
GroupRegex = Annotated[
    str | None,
    Parameter(
        help="Names the patient or video in an image's file name: its first bracket, or all that matches, such as "
        '"^[^_]+".'
    ),
]
Overwrite = Annotated[bool, Parameter(help="Replace what this command made there from something else.")]
"""The last five have their help here, once; that of all other options stands in the docstrings of their commands."""

EXIT_CODES = {
    0: "Done.",
    2: "A file, an option or a setting is wrong; one line on stderr says what, and what to do.",
    70: "A fault of Vesalius, please report it; VESALIUS_DEBUG=1 in the environment shows where.",
    130: "Interrupted by Ctrl-C.",
    141: "Whoever read the output went away.",
}
"""Exit codes of every command; some also have 1."""
SECTION = re.compile(r"^(Exit codes|Examples|Documentation|Args):\n((?:    .*\n?|\n)*)", re.MULTILINE)
CODE = re.compile(r"^(\d+): (.*)$", re.MULTILINE)
SYNONYMS = {
    "batch": ("--batch-size",),
    "bs": ("--batch-size",),
    "checkpoint": ("--model",),
    "ckpt": ("--model",),
    "config": ("--recipe",),
    "cuda": ("--devices", "--device"),
    "data-dir": ("--data",),
    "dataset": ("--data",),
    "dest": ("--out",),
    "device": ("--devices", "--device"),
    "epochs": ("--max-epochs",),
    "force": ("--overwrite", "--replace"),
    "format": ("--to", "--json"),
    "gpu": ("--devices", "--device"),
    "gpus": ("--devices", "--device"),
    "input": ("IMAGE", "PATH", "--data"),
    "iterations": ("--max-steps",),
    "lr": ("--learning-rate",),
    "network": ("--model",),
    "num-epochs": ("--max-epochs",),
    "num-workers": ("--workers", "--jobs"),
    "orientation": ("--plane",),
    "output": ("--out",),
    "output-dir": ("--out",),
    "overwrite": ("--replace",),
    "param": ("--set",),
    "patients": ("--group-regex",),
    "phrase": ("--class", "PROMPTS"),
    "prompt": ("PROMPTS", "--prompts"),
    "random-seed": ("--seed",),
    "restart": ("--resume",),
    "steps": ("--max-steps",),
    "subset": ("--split",),
    "target": ("--class", "--phrase", "--set prompts.target=…"),
    "text": ("PROMPTS", "--prompts"),
    "threads": ("--workers", "--jobs"),
    "type": ("--to", "--as"),
    "wandb": ("--log",),
    "wd": ("--set weight_decay=…",),
    "weight-decay": ("--set weight_decay=…",),
    "weights": ("--model",),
}
"""Names of options in other programs -> ours, likeliest first; the first that the command has is proposed."""
Loudness = Literal["normal", "quiet", "verbose"]
LOUDNESS: dict[str, Loudness] = {"--quiet": "quiet", "--verbose": "verbose"}
"""Options of every command."""
LOUDNESS_HELP = "`--quiet`: nothing but results and errors. `--verbose`: what is loaded, and how long it takes."
RENAMED = {
    "train": {"--views": "--cached-augmentations"},
    "evaluate-naming": {"--least-patients": "--min-patients"},
}
"""Command -> its options' names of before -> those of today."""
CLOSE = 0.75
"""Minimum similarity of an option that is proposed for an unknown one."""


@contextmanager
def long_help(apps: Iterable[App]) -> Iterator[None]:
    """While the block lasts, a command's help is all of its docstring, with examples and exit codes below the options.

    Lists of commands keep the short line, so that they need not load the commands.

    Args:
        apps: Apps of a command line, from the program to the command, as ``App.parse_commands`` finds them.
    """
    for command in apps:
        function = command.default_command
        if function is not None and function.__module__.partition(".")[0] == "vesalius":
            short, command.help = command.help, _describe(command, inspect.getdoc(function) or "")
            try:
                yield
            finally:
                command.help = short
            return
    yield


def _describe(command: App, docstring: str) -> str:
    sections = {found[1]: inspect.cleandoc(found[2]) for found in SECTION.finditer(docstring)}
    codes = EXIT_CODES | {int(code): told for code, told in CODE.findall(sections.get("Exit codes", ""))}
    command.help_epilogue = write_epilogue(sections.get("Examples", ""), sections.get("Documentation", ""), codes)
    return SECTION.split(docstring)[0].strip()


def write_epilogue(examples: str, pages: str, codes: Mapping[int, str] = EXIT_CODES, *, as_rich: bool = False) -> str:
    """Examples, exit codes and pages of the documentation, which a help shows below the options.

    Args:
        examples: Command lines.
        pages: Files of the documentation.
        codes: Exit codes and their meaning.
        as_rich: Write Rich's markup, which is shown faster, instead of Markdown.
    """
    if as_rich:
        lines = "\n".join(f" {line}" for line in examples.splitlines())
        listed = "\n".join(f" • {code}: {told}" for code, told in sorted(codes.items()))
        below = f"[b]Exit codes[/b]\n\n{listed}\n\n{LOUDNESS_HELP.replace('`', '')}\n\n[b]Documentation:[/b] {pages}"
        return f"\n[b]Examples[/b]\n\n{lines}\n\n{below}"
    listed = "\n".join(f"- {code}: {told}" for code, told in sorted(codes.items()))
    below = f"**Exit codes**\n\n{listed}\n\n{LOUDNESS_HELP}\n\n**Documentation:** {pages}"
    return f"**Examples**\n\n```text\n{examples}\n```\n\n{below}"


def take_loudness(arguments: Sequence[str]) -> tuple[list[str], Loudness]:
    """Separate the options of every command from a command line, up to "--".

    Raises:
        ConfigError: If there are two of them.
    """
    end = arguments.index("--") if "--" in arguments else len(arguments)
    asked = {each for each in arguments[:end] if each in LOUDNESS}
    if len(asked) > 1:
        raise ConfigError(f"{' and '.join(sorted(asked))} say the opposite of each other; choose one.")
    rest = [each for each in arguments[:end] if each not in LOUDNESS] + list(arguments[end:])
    return rest, LOUDNESS[asked.pop()] if asked else "normal"


def rename_options(command: str, arguments: Sequence[str]) -> list[str]:
    """The same command line with the options' names of today; a warning lists those that had old ones, as of recipes.

    >>> rename_options("train", ["train", "--model=pocket", "--", "--views"])
    ['train', '--model=pocket', '--', '--views']
    """
    end = arguments.index("--") if "--" in arguments else len(arguments)
    given = [each.partition("=") for each in arguments[:end]]
    names = RENAMED.get(command, {})
    if old := [name for name in names if name in {each[0] for each in given}]:
        warn(f"vesalius {command}: renamed options, write {', '.join(f'{names[name]} for {name}' for name in old)}.")
    return ["".join((names.get(name, name), *value)) for name, *value in given] + list(arguments[end:])


def explain_option(error: UnknownOptionError) -> str:
    """Message for an unknown option: the option that may have been meant, and where all are listed."""
    given = (error.token.keyword or error.token.value).partition("=")[0]
    names = [name for each in error.argument_collection if each.parse for name in each.names if name != "*"]
    meant = _find_meant(given.strip("-").lower().replace("_", "-"), names)
    close = [meant] if meant else difflib.get_close_matches(given, names, n=1, cutoff=CLOSE)
    note = "" if not close or close[0].startswith("-") else ", which is given without an option"
    hint = f" Did you mean {close[0]}{note}?" if close else ""
    command = " ".join(["vesalius", *(error.command_chain or ())])
    return f"Unknown option: {given}.{hint} All options: {command} --help"


def explain_arguments(error: UnusedCliTokensError) -> str:
    """Message for arguments that a command has no place for, as where the shell made many names of a pattern."""
    command = " ".join(["vesalius", *(error.command_chain or ())])
    left = error.unused_tokens or []
    files = " Of several files, name the folder." if any(map(os.path.exists, left)) else ""
    return f"Too many arguments for {command}: {join_first(left)}.{files} All arguments: {command} --help"


def _find_meant(word: str, names: list[str]) -> str | None:
    return next((each for each in SYNONYMS.get(word, ()) if each.partition(" ")[0] in names), None)


def install_completion(shell: Literal["bash", "zsh", "fish", "powershell"] | None = None, /) -> None:
    """Let the shell complete commands and options; open a new shell afterwards.

    Writes a script where the shell looks for completions, and for bash, zsh and PowerShell a line into its startup file
    that loads it. Do it again after an update: the script knows the commands of one version.

    Examples:
        vesalius --install-completion
        vesalius --install-completion zsh

    Documentation:
        README.md

    Args:
        shell: By default the one that this is called from.
    """
    from cyclopts.completion.detect import ShellDetectionError

    from vesalius.cli import app
    from vesalius.console import say

    try:
        script = app.install_completion(shell=shell)
    except ShellDetectionError as error:
        remedy = "name it: vesalius --install-completion bash (or zsh, fish, powershell)"
        raise ConfigError(f"which shell calls is not to be seen; {remedy}.") from error
    say(f"Written: {script}; open a new shell to use it.")
