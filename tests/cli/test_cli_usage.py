"""What the command line says of itself, how it ends whatever happens, and the options of every command."""

import dataclasses
import json
import logging
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vesalius.cli import COMMANDS, GROUPS, app, main
from vesalius.cli.usage import SYNONYMS, take_loudness
from vesalius.console import keeping_quiet, progress_bar, say, warn
from vesalius.errors import ConfigError
from vesalius.imaging import write_rgb
from vesalius.training.config import TrainConfig

ROOT = Path(__file__).parents[2]
EVERY = [[name] for name in COMMANDS] + [[group, name] for group, names in GROUPS.items() for name in names]
WITH_OUT = {"segment", "name", "train", "train-naming", "evaluate", "evaluate-naming", "pacs name", "pacs segment",
            "compare", "report", "audit", "benchmark", "demo", "export", "data check", "prompts generate",
            "weights import", "archive index", "archive run", "deidentify"}  # fmt: skip
WITH_1 = {"benchmark", "doctor", "data check", "prompts generate", "prompts check", "weights verify"}


@pytest.mark.parametrize("command", [[], *([group] for group in GROUPS), *EVERY], ids=" ".join)
def test_every_help_has_examples_that_are_understood_exit_codes_and_its_page(run, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = run(*command, "--help")
    assert (code, err) == (0, "")
    examples = read_examples(out)
    assert examples
    assert all(shlex.split(each)[: len(command) + 1] == ["vesalius", *command] for each in examples)
    assert re.search(r"^ • 2: A file, an option or a setting is wrong", out, re.MULTILINE)
    assert (" • 1: " in out) == (" ".join(command) in WITH_1)
    pages = re.search(r"^Documentation: (.+?)\s*$", out, re.MULTILINE)[1].split(", ")
    assert all((ROOT / page).is_file() for page in pages)
    assert ("--out -o" in out) == (" ".join(command) in WITH_OUT)
    assert "()]" not in out  # options that may be repeated say nothing of their default
    for example in examples:
        if "--help" not in example:
            app.parse_args(shlex.split(example)[1:], exit_on_error=False, print_error=False)


def read_examples(text: str) -> list[str]:
    """The command lines of a help; none is folded, so that it can be copied."""
    section = re.search(r"^Examples\s*\n(.*?)^Exit codes", text, re.MULTILINE | re.DOTALL)[1]
    return [line.strip() for line in section.splitlines() if line.strip()]


def read_helps() -> dict[str, dict[str, str | None]]:
    """Option -> command -> what the help of the command says of it."""
    found: dict[str, dict[str, str | None]] = {}
    for command in EVERY:
        _, apps, _ = app.parse_commands(command)
        for each in apps[-1].assemble_argument_collection(parse_docstring=True):
            if each.parse and each.show:
                found.setdefault(each.name, {})[" ".join(command)] = each.parameter.help
    return found


def test_every_option_has_a_help_and_shared_ones_have_the_same():
    helps = read_helps()
    assert [(option, command) for option, told in helps.items() for command, text in told.items() if not text] == []
    del helps["--group-regex"]["data prepare"]  # which looks at paths
    shared = ("--device", "--precision", "--runtime", "--group-regex", "--recipe", "--log", "--save-minutes")
    assert {option: set(helps[option].values()) for option in shared if len(set(helps[option].values())) > 1} == {}


def test_help_names_every_command(run):
    code, out, _ = run("--help")
    assert code == 0
    text = " ".join(out.replace("│", " ").split())  # long summaries are folded
    assert all(f"{name} {summary}" in text for name, summary in COMMANDS.items())
    assert all(name in out for name in GROUPS)


@pytest.mark.slow
@pytest.mark.parametrize("command", [[], ["serve"], ["pacs", "listen"]], ids=" ".join)
def test_help_loads_no_torch(command):
    heavy = "{'torch', 'numpy', 'pydicom', 'pynetdicom', 'fastapi'}"
    script = (
        f"import sys, vesalius.cli\nvesalius.cli.main({[*command, '--help']})\nassert not {heavy} & {{*sys.modules}}"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).returncode == 0


def test_the_long_help_is_shown_and_lists_keep_the_short_one(run):
    _, out, _ = run("train", "--help")
    assert "Without a recipe the paper's settings hold: AdamW at 1e-5" in out
    _, out, _ = run("--help")
    assert "Train a model on your data." in out
    assert "AdamW" not in out


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_the_version(run, option):
    from vesalius import __version__

    assert run(option) == (0, f"{__version__}\n", "")


MEANT = {
    ("train", "--lr"): "--learning-rate",
    ("train", "--epochs"): "--max-epochs",
    ("train", "--gpus"): "--devices",
    ("train", "--device"): "--devices",
    ("train", "--weight_decay"): "--set weight_decay=…",
    ("train", "--target"): "--set prompts.target=…",
    ("train", "--num-workers"): "--workers",
    ("train", "--config"): "--recipe",
    ("train", "--devcies"): "--devices",
    ("evaluate", "--dataset"): "--data",
    ("evaluate", "--output"): "--out",
    ("segment", "--checkpoint"): "--model",
    ("prompts generate", "--target"): "--class",
}


@pytest.mark.parametrize(("command", "option"), MEANT)
def test_an_option_of_another_name_is_answered_with_ours(run, command, option):
    needed = {"train": ["--model", "m", "--data", "d"], "evaluate": ["m", "--data", "d"]}
    given = needed.get(command, ["x", "y"] if command == "segment" else ["x"])
    code, _, err = run(*command.split(), *given, f"{option}=3")
    expected = f"error: Unknown option: {option}. Did you mean {MEANT[command, option]}?"
    assert (code, err) == (2, f"{expected} All options: vesalius {command} --help\n")


def test_an_option_that_resembles_none_is_not_guessed(run):
    code, _, err = run("segment", "x", "y", "--colour", "red")
    assert (code, err) == (2, "error: Unknown option: --colour. All options: vesalius segment --help\n")


def test_names_that_a_shell_made_of_a_pattern_are_too_many(run, tmp_path):
    names = [f"{place}.png" for place in range(6)]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    told = "Too many arguments for vesalius name: 1.png, 2.png, 3.png and 2 more. Of several files, name the folder."
    code, _, err = run("name", *names)
    assert (code, err) == (2, f"error: {told} All arguments: vesalius name --help\n")


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ("train --model m --data d --views 2", "--cached-augmentations for --views"),
        ("train --model m --data d --views=2", "--cached-augmentations for --views"),
        ("evaluate-naming m --data d --least-patients 2", "--min-patients for --least-patients"),
    ],
)
def test_an_option_by_its_old_name_is_read_with_a_warning(run, given, option):
    command = given.split()[0]
    _, _, err = run(*given.split())
    assert f"vesalius {command}: renamed options, write {option}." in err
    assert "Unknown option" not in err
    assert option.split()[-1] not in run(command, "--help")[1]


def test_every_option_that_is_proposed_exists(run):
    names = set()
    for command in EVERY:
        _, apps, _ = app.parse_commands(command)
        names |= {name for each in apps[-1].assemble_argument_collection() for name in each.names}
    proposed = {each for several in SYNONYMS.values() for each in several}
    settings = {each.removeprefix("--set ").removesuffix("=…") for each in proposed if each.startswith("--set ")}
    assert {each for each in proposed if not each.startswith("--set ")} <= names
    for setting in settings:
        kind = TrainConfig()
        for part in setting.split("."):
            assert part in {field.name for field in dataclasses.fields(kind)}
            kind = getattr(kind, part)


def test_a_folder_in_brackets_is_no_json(run, tmp_path):
    code, _, err = run("compare", "[a]", "[b]")
    assert code == 2
    assert err.startswith("error: [a]: expected the folder of an evaluation")


@pytest.fixture
def fail(run, monkeypatch):
    """Run a command that fails with an error."""

    def fail(error: BaseException) -> tuple[int, str, str]:
        def stumble(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr("vesalius.models.public_weights.read_sources", stumble)
        return run("weights", "list")

    return fail


def test_a_fault_of_ours_is_one_line_and_70(fail, monkeypatch):
    monkeypatch.delenv("VESALIUS_DEBUG", raising=False)
    code, out, err = fail(ValueError("bad \x1b[31m [/b]"))
    assert (code, out) == (70, "")
    assert err == (
        "error: This is a fault of Vesalius: ValueError: bad \\x1b[31m [/b]. "
        "VESALIUS_DEBUG=1 in the environment shows where; please report it.\n"
    )


def test_with_debug_it_shows_where(fail, monkeypatch):
    monkeypatch.setenv("VESALIUS_DEBUG", "1")
    code, _, err = fail(ValueError("bad \x1b[31m"))
    assert code == 70
    assert "Traceback (most recent call last):" in err
    assert "in stumble" in err
    assert "\x1b" not in err


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (PermissionError(13, "Permission denied", "a\x1b"), 2, "error: a\\x1b: Permission denied.\n"),
        (OSError(28, "No space left on device"), 2, "error: No space left on device.\n"),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(32, "Broken pipe"), 141, ""),
    ],
)
def test_what_the_system_refuses_is_told_without_a_traceback(fail, error, code, message, monkeypatch):
    monkeypatch.setattr("vesalius.cli._discard_output", lambda: None)
    assert fail(error) == (code, "", message)


def start(*arguments: object, **options: object) -> "subprocess.CompletedProcess[str]":
    """A process of its own, as the installed program is."""
    command = [sys.executable, "-c", "from vesalius.cli import main; main()", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")} | options.pop("environment", {})
    return subprocess.run(command, env=environment, stderr=subprocess.PIPE, check=False, text=True, **options)


@pytest.mark.slow
def test_a_reader_that_went_away_is_no_reason_to_complain():
    read, write = os.pipe()
    os.close(read)
    gone = start("--help", stdout=write)
    os.close(write)
    assert (gone.returncode, gone.stderr) == (141, "")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_a_full_disk_is_told():
    with Path("/dev/full").open("w") as full:
        found = start("--help", stdout=full)
    assert (found.returncode, found.stderr) == (2, "error: No space left on device.\n")


@pytest.mark.slow
@pytest.mark.parametrize("environment", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_no_locale_stops_a_command(environment):
    found = start("segment", "a", "b", b"--\xff\xc3\x9f", stdout=subprocess.PIPE, environment=environment)
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.startswith(r"error: Unknown option: --\udcff")
    assert found.stderr.count("\n") == 1


def test_what_libraries_log_is_shown_as_text(run, monkeypatch, logged):
    import logging

    def log() -> dict[str, object]:
        logging.getLogger("someone").warning("%s", "a \x1b[31m")
        return {}

    monkeypatch.setattr("vesalius.models.public_weights.read_sources", log)
    assert run("weights", "list")[0] == 0
    assert logged.messages[0] == r"a \x1b[31m"
    main(["--version"])
    logging.getLogger("someone").warning("%s", "b \x1b")
    assert logged.messages[-1] == "b \x1b"  # only while a command runs


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "scan.png"
    write_rgb(path, np.random.default_rng(0).random((40, 56, 3)))
    return path


def test_quiet_leaves_the_result_and_no_notice(run, picture):
    _, loud, notices = run("segment", picture, "kidney stone")
    code, quiet, nothing = run("segment", picture, "kidney stone", "--quiet")
    assert "kidney stone" in notices
    assert (code, quiet, nothing) == (0, loud, "")


def test_quiet_keeps_errors(run):
    code, out, err = run("--quiet", "segment", "missing.png", "polyp")
    assert (code, out) == (2, "")
    assert err.startswith("error: missing.png")


def test_quiet_ends_with_the_command(run, picture, capsys):
    run("weights", "list", "--quiet", "--json")
    say("heard")
    assert capsys.readouterr().err == "heard\n"


def test_quiet_shows_no_bar_and_no_warning(capsys):
    with keeping_quiet():
        warn("nothing")
        assert progress_bar().disable
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_verbose_says_what_is_loaded_and_how_long_it_takes(run, picture):
    code, out, err = run("segment", picture, "polyp", "--json", "--verbose")
    assert code == 0
    assert json.loads(out)
    assert "pocket.safetensors: weights, on the package's graphs in ONNX Runtime" in err
    assert re.search(r"^ +\d+\.\d\d s  Segmenting: .*\d\.\d\d s$", err, re.MULTILINE)
    assert err.splitlines()[-1].endswith("s  done")
    assert logging.getLogger("vesalius").handlers == []


def test_both_are_refused(run):
    code, _, err = run("models", "--quiet", "--verbose")
    assert code == 2
    assert err == "error: --quiet and --verbose say the opposite of each other; choose one.\n"


def test_what_follows_two_dashes_is_a_prompt():
    assert take_loudness(["segment", "a.png", "--quiet", "--", "--verbose"]) == (
        ["segment", "a.png", "--", "--verbose"],
        "quiet",
    )
    with pytest.raises(ConfigError):
        take_loudness(["--verbose", "models", "--quiet"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shell", "place"),
    [
        ("bash", ".local/share/bash-completion/completions/vesalius"),
        ("zsh", ".zsh/completions/_cyclopts_vesalius"),
        ("fish", ".config/fish/completions/vesalius.fish"),
    ],
)
def test_completion_is_installed_where_the_shell_looks(run, monkeypatch, tmp_path, shell, place):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("ZSH", "ZSH_CUSTOM"):
        monkeypatch.delenv(name, raising=False)
    code, _, err = run("--install-completion", shell)
    assert code == 0
    assert str(tmp_path / place) in err
    script = (tmp_path / place).read_text()
    assert "evaluate-naming" in script
    assert "--tolerance" in script


def test_a_shell_that_is_none_is_refused(run):
    code, _, err = run("--install-completion", "tcsh")
    assert code == 2
    assert "bash" in err


@pytest.mark.parametrize(
    ("command", "place"),
    [
        ("data prepare custom mine --masks m --images=", "--images"),
        ("train --model pocket --data d --recipe=", "--recipe"),
        ("pacs listen --rules r --queue q --key k --certificate=", "--certificate"),
    ],
)
def test_an_empty_path_among_settings_is_not_the_current_folder(run, command, place):
    code, _, err = run(*command.split())
    assert code == 2
    assert f"{place}: is empty" in err
