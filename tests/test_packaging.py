"""What stands beside the sources: how to cite them, and the image."""

import re
import tomllib
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
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {"pyproject.toml", "src", project["readme"], *project["license-files"]}
    copied = set(re.search(r"^COPY (pyproject.*) \./$", read("Dockerfile"), re.MULTILINE)[1].split()) | {"src"}
    allowed = {line[1:] for line in read(".dockerignore").splitlines() if line.startswith("!")}
    assert copied == allowed == needed


def test_the_image_runs_as_nobody_in_particular():
    stages = read("Dockerfile").split("FROM ")
    assert "USER vesalius" in stages[-1]
    assert 'ENTRYPOINT ["vesalius"]' in stages[-1]
    assert "torch" not in stages[-1]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")
