import pytest

from vesalius.errors import MissingPackageError, ModelError
from vesalius.models.runtimes import open_graph


@pytest.mark.parametrize(("package", "suffix"), [("onnxruntime", "onnx"), ("openvino", "xml")])
def test_a_damaged_graph_is_refused(tmp_path, package, suffix):
    pytest.importorskip(package)
    path = tmp_path / f"image.{suffix}"
    path.write_bytes(b"no graph")
    with pytest.raises(ModelError, match=r"cannot read this graph .*; export the model again"):
        open_graph(path)


@pytest.mark.parametrize(("package", "suffix"), [("onnxruntime", "onnx"), ("openvino", "xml")])
def test_a_missing_program_is_named(tmp_path, package, suffix, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(MissingPackageError, match=rf"{package} is not installed .*vesalius\[export\]"):
        open_graph(tmp_path / f"image.{suffix}")
