import json
import re
import sys
from importlib.util import find_spec

import pytest

from vesalius.cli import main
from vesalius.demo.samples import Album
from vesalius.folders import NOTE

needs_nilearn = pytest.mark.skipif(find_spec("nilearn") is None, reason="needs: pip install 'vesalius[demo]'")
LEAST_BRAIN_DICE = 0.85


@pytest.fixture
def run_demo(capsys, monkeypatch, tmp_path):
    """Run it in an empty folder; its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*options: str) -> tuple[int, str, str]:
        try:
            main(["demo", *options])
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capsys.readouterr()

    return run


@needs_nilearn
@pytest.mark.slow
def test_the_demo_outlines_the_template_s_brain(run_demo, tmp_path):
    code, out, err = run_demo("--out", "pages")
    assert code == 0, err
    page = tmp_path / "pages" / "index.html"
    assert out.splitlines()[-1] == str(page)
    html = page.read_text(encoding="utf-8")
    found = re.search(r"“brain”</td><td>mean Dice ([\d.]+)", html)
    assert found is not None
    assert float(found[1]) >= LEAST_BRAIN_DICE
    pictures = re.findall(r'src="([^"]+)"', html)
    assert pictures
    assert all((page.parent / picture).is_file() for picture in pictures)
    assert json.loads((page.parent / NOTE).read_text())["demo"]["files"] == sorted({"index.html", *pictures})


@needs_nilearn
def test_an_unknown_model_is_one_line_and_leaves_no_page(run_demo, tmp_path):
    code, _, err = run_demo("--model", "pokcet")
    assert code == 2
    assert "Did you mean 'pocket'" in err
    assert list(tmp_path.iterdir()) == []


@needs_nilearn
def test_a_page_of_somebody_else_is_left_alone(run_demo, tmp_path):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "index.html").write_text("mine")
    code, _, err = run_demo()
    assert code == 2
    assert "--overwrite" in err
    assert (tmp_path / "demo" / "index.html").read_text() == "mine"


@needs_nilearn
def test_a_folder_of_held_out_images_that_is_not_there_is_refused(run_demo):
    code, _, err = run_demo("--held-out", "nowhere")
    assert code == 2
    assert err.startswith("error: --held-out nowhere: no such folder")


def test_without_nilearn_it_says_what_to_install(run_demo, monkeypatch):
    monkeypatch.setitem(sys.modules, "nilearn", None)
    code, _, err = run_demo()
    assert code == 2
    assert "pip install 'vesalius[demo]'" in err


def test_pictures_wait_in_memory_until_the_folder_is_claimed(tmp_path):
    import numpy as np

    album = Album()
    place = album.add("a", np.zeros((4, 4, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []
    album.write(tmp_path)
    assert (tmp_path / place).is_file()
