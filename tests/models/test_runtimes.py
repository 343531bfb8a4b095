from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch

from vesalius.errors import MissingPackageError, ModelError
from vesalius.models.exported import import_openvino, open_graph, unreported


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


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_every_thread_has_its_own_request_of_openvino(tmp_path, monkeypatch):
    pytest.importorskip("openvino_telemetry")
    openvino = import_openvino()
    with unreported():
        model = openvino.convert_model(torch.nn.Conv2d(3, 3, 3), example_input=torch.zeros(1, 3, 64, 64))
    model.inputs[0].set_names({"pixels"})
    model.outputs[0].set_names({"found"})
    openvino.save_model(model, tmp_path / "image.xml")
    graph, pictures = open_graph(tmp_path / "image.xml"), [torch.rand(1, 3, 64, 64) for _ in range(4)]
    expected = [graph({"pixels": each})["found"] for each in pictures]
    create, made, together = openvino.CompiledModel.create_infer_request, [], Barrier(4)
    monkeypatch.setattr(openvino.CompiledModel, "create_infer_request", lambda self: made.append(1) or create(self))

    def ask(picture):
        together.wait()
        return graph({"pixels": picture})["found"]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(ask, pictures * 3))
    assert len(made) == 4
    assert all(torch.equal(one, other) for one, other in zip(found, expected * 3, strict=True))
