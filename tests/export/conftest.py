"""One tiny export that tests may look at and not change; needs the packages of the extra `export`."""

import pytest

from vesalius.console import progress_bar
from vesalius.export.run import export_model
from vesalius.models.checkpoints import save_model


@pytest.fixture(scope="session")
def checkpoint(build_tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp("original") / "model.safetensors"
    save_model(build_tiny("clipseg", taps=(1,), text_layers=1), path, {"epochs": 3})
    return path


@pytest.fixture(scope="session")
def report(checkpoint, tmp_path_factory):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    with progress_bar() as bar:
        return export_model(checkpoint, tmp_path_factory.mktemp("exports") / "onnx", bar)
