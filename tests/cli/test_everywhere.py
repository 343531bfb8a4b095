"""What every command has: `--quiet`, `--verbose` and completion by the shell."""

import json
import logging
import re

import numpy as np
import pytest

from vesalius.cli.usage import take_loudness
from vesalius.console import keeping_quiet, progress_bar, say, warn
from vesalius.errors import ConfigError
from vesalius.imaging import write_rgb


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
    run("models", "--quiet", "--json")
    say("heard")
    assert capsys.readouterr().err == "heard\n"


def test_quiet_shows_no_bar_and_no_warning(capsys):
    with keeping_quiet():
        warn("nothing")
        assert progress_bar().disable
    assert capsys.readouterr().err == ""


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
