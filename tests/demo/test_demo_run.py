import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("nilearn", reason="needs the demo extra: pip install -e '.[demo]'")

ROOT = Path(__file__).parents[2]
LEAST_BRAIN_DICE = 0.85


def run_demo(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "demo/run.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=600)


@pytest.mark.slow
def test_the_demo_outlines_the_template_s_brain_without_shared_material(tmp_path):
    outcome = run_demo("--out", str(tmp_path), "--shared", str(tmp_path / "none"))
    assert outcome.returncode == 0, outcome.stderr
    page = tmp_path / "index.html"
    assert outcome.stdout.splitlines()[-1] == str(page)
    html = page.read_text(encoding="utf-8")
    found = re.search(r"“brain”</td><td>mean Dice ([\d.]+)", html)
    assert found is not None
    assert float(found[1]) >= LEAST_BRAIN_DICE
    assert "No held-out test images" in html
    pictures = re.findall(r'src="([^"]+)"', html)
    assert pictures
    assert all((tmp_path / picture).is_file() for picture in pictures)


@pytest.mark.slow
def test_an_unknown_model_is_one_line_and_leaves_no_page(tmp_path):
    outcome = run_demo("--model", "pokcet", "--out", str(tmp_path))
    assert outcome.returncode == 2
    assert "Did you mean 'pocket'" in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert not (tmp_path / "index.html").exists()
