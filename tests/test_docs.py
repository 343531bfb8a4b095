"""Every code block of the documentation runs, in a folder that holds the files it speaks of."""

import json
import re
import shlex
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom.data import get_testdata_file

from vesalius.cli import main
from vesalius.data.annotations import read_annotations
from vesalius.imaging import write_rgb
from vesalius.models.checkpoint_file import CHECKPOINT_NAME, find_checkpoint

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LONG = {
    "README.md",
    "anatomy-evaluation.md",
    "anatomy-training.md",
    "archive-search.md",
    "audit.md",
    "clinical.md",
    "evaluation.md",
    "known-phrases.md",
    "naming.md",
    "prompts.md",
    "python.md",
    "report.md",
    "segmenting.md",
    "statistics.md",
    "training.md",
}
"""Pages that keep the whole of `pocket` at work for seconds."""
BLOCK = re.compile(r"^```(bash|python|json)\n(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, write_dataset) -> Path:
    """`scan.png`, `scan.dcm`, `head.nii.gz`, `archive` of both, the data set `kvasir`, and pocket in `runs/kvasir`."""
    root = tmp_path_factory.mktemp("docs")
    rng = np.random.default_rng(0)
    write_rgb(root / "scan.png", rng.random((64, 80, 3)))
    shutil.copy(get_testdata_file("CT_small.dcm", download=False), root / "scan.dcm")
    nib.save(nib.Nifti1Image(rng.random((20, 24, 3)).astype(np.float32), np.diag([2, 2, 4, 1])), root / "head.nii.gz")
    shutil.copytree(write_dataset("docs_data"), root / "kvasir")
    (root / "archive").mkdir()
    for name in ("scan.dcm", "head.nii.gz"):
        shutil.copy(root / name, root / "archive")
    (root / "runs/kvasir").mkdir(parents=True)
    (root / "runs/kvasir" / CHECKPOINT_NAME).symlink_to(find_checkpoint("pocket"))
    return root


@pytest.mark.filterwarnings("ignore:.*have no effect")  # the folder `kvasir` is in nobody's catalog
@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.slow] * (page.name in LONG), id=page.name) for page in PAGES]
)
def test_code_blocks_run(page, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    names: dict[str, object] = {}
    for language, block in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "python":
            exec(compile(block, str(page), "exec"), names)
        elif language == "json":
            check_annotations(block, folder)
        else:
            for line in block.replace("\\\n", " ").splitlines():
                program, *arguments = shlex.split(line, comments=True)
                assert program == "vesalius"
                main(arguments)
    assert "error" not in capsys.readouterr().err


def check_annotations(block: str, folder: Path) -> None:
    path = folder / "block.json"
    path.write_text(block, encoding="utf-8")
    assert len(read_annotations(path)) == len(json.loads(block))


def test_pages_link_to_files_and_headings_that_exist():
    folders = ("docs", "recipes", "experiments", "src")
    for page in (*ROOT.glob("*.md"), *(page for folder in folders for page in (ROOT / folder).rglob("*.md"))):
        for link in re.findall(r"\]\(([^):]+)\)", page.read_text(encoding="utf-8")):
            name, _, heading = link.partition("#")
            target = page.parent / name if name else page
            assert target.exists(), f"{page.name} links to {name}"
            assert not heading or heading in read_headings(target), f"{page.name} links to {link}"


def read_headings(page: Path) -> set[str]:
    """As GitHub makes links of them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}
