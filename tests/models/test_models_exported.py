import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
import torch

from vesalius.errors import MissingPackageError, ModelError
from vesalius.files import sha256_of
from vesalius.imaging import MedicalImage
from vesalius.models import EncoderSpec, ImageFeatures, TextFeatures
from vesalius.models.checkpoint_file import (
    CONTRACT_NAME,
    ExportContract,
    read_contract,
    verify_checksums,
    write_contract,
)
from vesalius.models.exported import (
    ExportedSegmenter,
    flatten_image,
    flatten_text,
    import_openvino,
    open_exported,
    open_graph,
    restore_image,
    restore_text,
    unreported,
)
from vesalius.models.registry import ModelRecipe
from vesalius.naming import AnatomyLabeller


@pytest.fixture(scope="module")
def pair(build_tiny):
    """A model, and one whose graphs are that model's own steps."""
    model = build_tiny("pocket")

    def decode(tensors):
        batch = len(tensors["text_embedding"])
        found = model.decode(restore_image(tensors, batch), restore_text(tensors, batch))
        return {"logits": found.logits, "existence": found.existence}

    graphs = {
        "image": lambda tensors: flatten_image(model.encode_pixels(tensors["pixel_values"])),
        "text": lambda tensors: flatten_text(model.encode_tokens(tensors["input_ids"], tensors["attention_mask"])),
        "decoder": decode,
    }
    return model, ExportedSegmenter(model, graphs).eval()


def test_it_answers_as_the_model_it_was_made_from(pair):
    model, exported = pair
    images, prompts = torch.rand(2, 3, 40, 56), ["polyp", "one small polyp"]
    with torch.inference_mode():
        expected, found = model.predict(images, prompts), exported.predict(images, prompts)
    assert torch.equal(found.logits, expected.logits)
    assert torch.equal(found.existence, expected.existence)


def test_it_judges_existence_where_its_model_does(pair):
    assert pair[1].judges_existence


@pytest.mark.slow
def test_it_names_as_its_model_does(pair):
    image = MedicalImage(torch.rand(3, 40, 48).numpy(), source=Path("x"), affine=np.eye(4), modality="CT")
    expected, found = (AnatomyLabeller(model).label(image).to_dict() for model in pair)
    assert found == expected


def test_it_cannot_be_trained(pair):
    with pytest.raises(ModelError, match=r"\(pocket\) cannot be trained; use the checkpoint"):
        pair[1].train()


def test_it_cannot_be_saved_as_a_checkpoint(pair):
    with pytest.raises(ModelError, match="cannot be saved as a checkpoint"):
        pair[1].state_dict()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "image.onnx").write_bytes(b"graph")
    files = {"image.onnx": sha256_of(tmp_path / "image.onnx")}
    contract = ExportContract("onnx", "int8", ModelRecipe("clipseg", {"taps": (1, 2)}), files, {"epochs": 3})
    write_contract(tmp_path, contract, EncoderSpec(32), {"vesalius": "0"})
    return tmp_path


def change(folder, **fields):
    path = folder / CONTRACT_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_what_is_written_is_read_again(folder):
    contract = read_contract(folder / CONTRACT_NAME)
    assert contract.recipe == ModelRecipe("clipseg", {"taps": (1, 2)})
    assert (contract.precision, contract.notes) == ("int8", {"epochs": 3})
    assert contract.graph_file("image") == "image.onnx"
    assert contract.graph_file("text") is None
    verify_checksums(folder, contract)


def test_jobs_that_an_export_does_not_do_are_remembered(folder):
    assert read_contract(folder / CONTRACT_NAME).refused == {}
    assert json.loads((folder / CONTRACT_NAME).read_text())["jobs"] == ["segment", "name"]
    contract = ExportContract("onnx", "int8", ModelRecipe("clipseg", {}), {}, {}, {"name": "no common space"})
    write_contract(folder, contract, EncoderSpec(32), {})
    assert read_contract(folder / CONTRACT_NAME).refused == {"name": "no common space"}
    assert json.loads((folder / CONTRACT_NAME).read_text())["jobs"] == ["segment"]


def test_others_can_read_how_pixels_are_prepared(folder):
    pixels = json.loads((folder / CONTRACT_NAME).read_text())["pixel_values"]
    assert pixels["shape"] == ["batch", 3, 32, 32]
    assert pixels["mean"] == [0.485, 0.456, 0.406]


def test_a_file_that_changed_is_refused(folder):
    (folder / "image.onnx").write_bytes(b"another")
    with pytest.raises(ModelError, match=r"image\.onnx: not the file that was exported"):
        verify_checksums(folder, read_contract(folder / CONTRACT_NAME))


@pytest.mark.parametrize("name", ["absent.onnx", "../export.json", "/etc/hostname"])
def test_a_file_that_is_missing_or_elsewhere_is_refused(folder, name):
    change(folder, files={name: "0"})
    with pytest.raises(ModelError, match="named in export.json and not there"):
        verify_checksums(folder, read_contract(folder / CONTRACT_NAME))


@pytest.mark.parametrize("fields", [{"format": 9}, {"runtime": "tensorrt"}])
def test_another_format_or_runtime_is_refused(folder, fields):
    change(folder, **fields)
    with pytest.raises(ModelError, match="expected format 1 for one of onnx, openvino"):
        read_contract(folder / CONTRACT_NAME)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"model": 3}',
        '{"model": {"name": "a", "options": []}}',
        pytest.param("[" * 100_000, id="nested"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, text):
    (tmp_path / CONTRACT_NAME).write_text(text)
    with pytest.raises(ModelError, match="not a description of an export, or damaged"):
        read_contract(tmp_path / CONTRACT_NAME)


def test_an_images_features_come_back_with_their_parts():
    inner = ImageFeatures(torch.rand(2, 4), (torch.rand(2, 5, 3),))
    features = ImageFeatures(torch.zeros(2, 0), tuple(torch.rand(2, 3, 1 + n) for n in range(11)), (inner, inner))
    restored = restore_image(flatten_image(features), 2)
    assert restored.embedding.shape == (2, 0)
    assert [tap.shape for tap in restored.taps] == [tap.shape for tap in features.taps]
    assert torch.equal(restored.parts[1].embedding, inner.embedding)
    assert torch.equal(restored.parts[1].taps[0], inner.taps[0])


def test_a_prompts_features_come_back_with_their_tokens():
    features = TextFeatures(torch.rand(2, 4), torch.rand(2, 3, 5), torch.ones(2, 3))
    names = flatten_text(features)
    assert list(names) == ["text_embedding", "text_tokens", "text_token_mask"]
    assert torch.equal(restore_text(names, 2).tokens, features.tokens)


def test_a_model_that_does_not_read_has_no_tensors_for_prompts():
    assert flatten_text(TextFeatures(torch.zeros(3, 0))) == {}
    assert restore_text({}, 3).embedding.shape == (3, 0)


@pytest.mark.parametrize(("package", "suffix"), [("onnxruntime", "onnx"), ("openvino", "xml")])
def test_a_damaged_graph_is_refused(tmp_path, package, suffix):
    pytest.importorskip(package)
    path = tmp_path / f"image.{suffix}"
    path.write_bytes(b"no graph")
    with pytest.raises(ModelError, match=r"cannot read this graph .*; export the model again"):
        open_graph(path)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["onnx", "xml"])
def test_a_graph_of_another_model_is_refused_when_it_is_run(tmp_path, suffix):
    onnx, path = pytest.importorskip("onnx"), tmp_path / f"image.{suffix}"
    sizes = {name: onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3]) for name in ("in", "out")}
    node = onnx.helper.make_node("Relu", ["in"], ["out"])
    made = onnx.helper.make_graph([node], "graph", [sizes["in"]], [sizes["out"]])
    written = onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(written, tmp_path / "image.onnx")
    if suffix == "xml":
        openvino = import_openvino()
        with unreported():
            openvino.save_model(openvino.convert_model(tmp_path / "image.onnx"), path)
    graph = open_graph(path)
    assert torch.equal(graph({"in": torch.ones(1, 3), "other": torch.ones(1)})["out"], torch.ones(1, 3))
    with pytest.raises(ModelError, match=rf"image\.{suffix}: .* cannot run this graph .*; export the model again"):
        graph({"in": torch.ones(1, 4)})
    with pytest.raises(ModelError, match=rf"image\.{suffix}: takes in, which the model does not have"):
        graph({"other": torch.ones(1, 3)})


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("unet_d", {"image_size": 100_000}, "image_size must be a whole number"),
        ("unet_d", {"size": 32}, "size"),
        ("unet_e", {}, "No model named 'unet_e'"),
        ("clip_vit_b32", {}, "encodes"),
    ],
)
def test_a_recipe_that_no_model_fits_is_refused_with_its_file(tmp_path, model, options, message):
    contract = ExportContract("onnx", "float32", ModelRecipe(model, options), {}, {})
    with pytest.raises(ModelError, match=rf"export\.json: .*{message}.* Export the model again\."):
        open_exported(tmp_path, contract)


def test_a_decoder_without_logits_is_refused(pair):
    model, _ = pair
    graphs = {"decoder": lambda tensors: {"existence": torch.zeros(1)}}
    with pytest.raises(ModelError, match="has a decoder without logits; export it again"):
        ExportedSegmenter(model, graphs).eval().decode(ImageFeatures(torch.zeros(1, 0), ()), model.encode_text(["a"]))


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
