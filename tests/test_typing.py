"""What type checkers make of code that uses the package."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import vesalius

USER_CODE = """
from pathlib import Path

import numpy as np
import vesalius
from numpy.typing import NDArray
from PIL import Image
from typing_extensions import assert_type

picture: NDArray[np.uint8] = np.zeros((4, 6), np.uint8)
assert_type(vesalius.segment("pocket", "scan.png", "polyp"), vesalius.Segmentation)
assert_type(vesalius.segment("pocket", Path("scan.png"), ["polyp"]), list[vesalius.Segmentation])
assert_type(vesalius.segment_volume("pocket", picture, "polyp"), vesalius.VolumeSegmentation)
assert_type(vesalius.segment_volume("pocket", picture, ("a", "b"), plane="coronal"), list[vesalius.VolumeSegmentation])
predictor = vesalius.Predictor("pocket", device="cpu")
assert_type(predictor.set_image(Image.new("L", (6, 4))).predict("polyp"), vesalius.Segmentation)
assert_type(predictor.predict(["polyp"]), list[vesalius.Segmentation])
assert_type(predictor.predict_volume(vesalius.read_image("ct"), "liver").volume_ml, float | None)
mask: NDArray[np.bool_] = predictor.predict("polyp").mask
probability: NDArray[np.float32] = vesalius.segment_volume("pocket", "ct", "liver").probability
wrong: int = predictor.predict(["polyp"])
name: str | None = vesalius.AnatomyLabeller().label(picture).modality.label
"""


def test_the_package_says_that_it_is_typed():
    assert (Path(vesalius.__file__).parent / "py.typed").exists()


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="needs mypy")
def test_strict_type_checks_of_user_code_pass_and_know_one_from_many(tmp_path):
    (tmp_path / "user.py").write_text(USER_CODE)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "user.py"]
    environment = {"MYPYPATH": str(Path(vesalius.__file__).parents[1])}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    (error,) = [line for line in result.stdout.splitlines() if line.startswith("user.py") and " error: " in line]
    assert 'expression has type "list[Segmentation]", variable has type "int"' in error
