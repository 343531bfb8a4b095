"""`vesalius doctor`, and what the command line does where PyTorch is not installed."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from vesalius.cli import TRAIN_PACKAGES, doctor
from vesalius.cli.doctor import CORE, HealthCheck, examine, sort_extras
from vesalius.errors import REINSTALL
from vesalius.models import describe_model, list_encoders, list_models
from vesalius.models.checkpoint_file import EMBEDDED, EMBEDDED_GRAPHS

NO_TORCH = """
from importlib.machinery import PathFinder
find = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name.partition(".")[0] == "torch" else find(name, *rest)
from vesalius.cli import main
"""
"""A process in which PyTorch is not to be found."""


def test_packages_that_are_told_of_are_those_of_the_project():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed, trains = (
        {re.match(r"[\w-]+", line)[0] for line in lines}
        for lines in (project["dependencies"], project["optional-dependencies"]["train"])
    )
    # Without the first two there is no command line; decoders are tried one by one.
    elsewhere = {"cyclopts", "rich", *(each for each in needed if each.startswith("pylibjpeg"))}
    assert CORE.keys() == needed - elsewhere
    assert set(TRAIN_PACKAGES) == {each.replace("-", "_") for each in trains}


@pytest.fixture(scope="module")
def checks() -> dict[tuple[str, str], HealthCheck]:
    return {(each.group, each.name): each for each in examine()}


@pytest.mark.slow
def test_everything_that_segmenting_needs_works_here(checks):
    assert [each for each in checks.values() if each.state == "broken"] == []
    assert {"Versions", "Compressed DICOM", "Devices", "Weights", "Folders"} <= {group for group, _ in checks}
    assert str(EMBEDDED["pocket"]) in checks["Weights", "pocket"].detail
    assert "iB free" in checks["Folders", "current folder"].detail
    assert "pylibjpeg" in checks["Compressed DICOM", "JPEG lossless"].detail


def test_the_test_is_timed(checks):
    timed = [each for (group, _), each in checks.items() if group == "Test on a generated picture"]
    assert [each.name for each in timed] == ["segment it", "read a new wording", "name it"]
    assert all(each.milliseconds > 0 for each in timed)


@pytest.mark.slow
def test_damaged_weights_are_broken_and_end_with_1(run, monkeypatch, tmp_path):
    damaged = tmp_path / "pocket.safetensors"
    damaged.write_bytes(EMBEDDED["pocket"].read_bytes()[:100_000])
    monkeypatch.setitem(EMBEDDED, "pocket", damaged)
    code, out, err = run("doctor", "--json")
    assert code == 1
    found = json.loads(out)
    assert found["broken"][0] == "pocket"
    (check,) = (each for each in found["checks"] if (each["group"], each["name"]) == ("Weights", "pocket"))
    assert str(damaged) in check["detail"]
    assert check["remedy"].endswith("from where it came: pip install --force-reinstall PATH_OF_THE_CLONE")


@pytest.mark.slow
def test_a_missing_graph_of_the_package_is_not_blamed_on_weights(monkeypatch, tmp_path):
    graphs = shutil.copytree(EMBEDDED_GRAPHS["pocket"], tmp_path / "graphs")
    (graphs / "image.onnx").unlink()
    monkeypatch.setitem(EMBEDDED_GRAPHS, "pocket", graphs)
    (check,) = (each for each in doctor._test() if each.name == "segment it")
    assert (check.state, check.remedy) == ("broken", REINSTALL)
    assert "image.onnx" in check.detail
    assert not any(words in check.detail for words in ("fine-tune", REINSTALL))


def test_tables_say_what_to_install(run, monkeypatch):
    lacking = HealthCheck("Extras", "lora", "missing", "lacks peft", "pip install 'vesalius[lora]'")
    monkeypatch.setattr(doctor, "examine", lambda: iter([lacking]))
    code, out, err = run("doctor")
    assert code == 0
    assert "pip install 'vesalius[lora]'" in out
    assert err == "Segmenting and naming work here.\n"


def test_a_folder_that_cannot_be_written_is_told(run, monkeypatch):
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", refuse)
    (first, *_) = doctor._folders()
    assert first.state == "missing"
    assert "cannot be written (Permission denied)" in first.detail
    assert "--out" in first.remedy


def test_extras_are_read_from_the_package_in_any_order():
    lines = ["numpy>=2", "onnx>=1; extra == 'export'", "vesalius[train]; extra == 'export'", "mypy; extra == 'dev'"]
    assert sort_extras([*lines, 'torch<3,>=2.8; extra == "train"']) == {"export": ["onnx", "torch"], "train": ["torch"]}


def without_torch(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = f"{NO_TORCH}main({list(arguments)!r})"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_completion_needs_no_torch(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert without_torch("--install-completion", "bash").returncode == 0


@pytest.mark.slow
def test_the_doctor_needs_no_torch():
    done = without_torch("doctor", "--json")
    assert done.returncode == 0, done.stderr
    checks = {(each["group"], each["name"]): each for each in json.loads(done.stdout)["checks"]}
    assert checks["Versions", "torch"]["remedy"] == "pip install 'vesalius[train]'"
    assert checks["Devices", "GPU"]["state"] == "missing"


@pytest.mark.slow
def test_models_are_listed_without_torch_but_not_counted():
    done = without_torch("models", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [each["name"] for each in found["models"]] == list_models() + list_encoders()
    assert [each["name"] for each in found["models"] if each["weights"]] == ["pocket"]
    assert {each["parameters"] for each in found["models"]} == {None}
    assert "pip install 'vesalius[train]'" in found["remark"]


@pytest.mark.parametrize("name", [*list_models(), *list_encoders()])
def test_descriptions_are_read_without_importing_the_model(name, build_tiny):
    from vesalius.models import registry

    told = describe_model(name)
    build_tiny(name)
    assert told == (registry._FACTORIES[name].__doc__ or "").strip().splitlines()[0]
