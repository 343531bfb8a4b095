"""Ready files for archives on clusters: they can be parsed, and their commands are ours."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from vesalius.cli import app

RECIPES = Path(__file__).parents[2] / "recipes" / "archive"
COMMAND = re.compile(r"vesalius (archive run [^\n'`]*)")


@pytest.mark.parametrize("name", ["kuberay.yaml", "ray-cluster.yaml", "slurm.sh"])
def test_the_command_of_each_file_has_options_that_there_are(name):
    (told,) = {
        each.partition(" |")[0]
        for each in COMMAND.findall((RECIPES / name).read_text(encoding="utf-8"))
        if "--out" in each
    }
    workers = re.sub(r'"?\$workers"?', "8", told)
    function, bound, _ = app.parse_args(shlex.split(workers), print_error=False, exit_on_error=False)
    assert function.__name__ == "archive_run"
    assert bound.arguments["workers"] >= 8
    assert bound.arguments["ray"]


@pytest.mark.parametrize("name", ["kuberay.yaml", "ray-cluster.yaml"])
def test_yaml_is_yaml(name):
    yaml = pytest.importorskip("yaml", reason="comes with the extra ray")
    assert isinstance(yaml.safe_load((RECIPES / name).read_text(encoding="utf-8")), dict)


@pytest.mark.parametrize(("told", "code"), [('{\n  "done": 6,\n  "failures": []\n}', 0), ("", 1)])
def test_a_run_on_kubernetes_that_came_to_its_end_is_not_repeated(told, code, tmp_path):
    yaml = pytest.importorskip("yaml", reason="comes with the extra ray")
    entry = yaml.safe_load((RECIPES / "kuberay.yaml").read_text(encoding="utf-8"))["spec"]["entrypoint"]
    (tmp_path / "vesalius").write_text(f"#!/bin/sh\necho '{told}'\nexit 2\n")
    (tmp_path / "vesalius").chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(["sh", "-c", entry], env={"PATH": path}, check=False, stdout=subprocess.DEVNULL)
    assert ended.returncode == code


def test_the_shell_script_is_one():
    assert subprocess.run(["bash", "-n", str(RECIPES / "slurm.sh")], check=False).returncode == 0
