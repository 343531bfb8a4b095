import json

import pytest

from vesalius.errors import ModelError
from vesalius.files import sha256_of
from vesalius.models import EncoderSpec
from vesalius.models.checkpoint_file import CONTRACT_NAME, ExportContract, check_files, read_contract, write_contract
from vesalius.models.registry import ModelRecipe


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
    check_files(folder, contract)


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
        check_files(folder, read_contract(folder / CONTRACT_NAME))


@pytest.mark.parametrize("name", ["absent.onnx", "../export.json", "/etc/hostname"])
def test_a_file_that_is_missing_or_elsewhere_is_refused(folder, name):
    change(folder, files={name: "0"})
    with pytest.raises(ModelError, match="named in export.json and not there"):
        check_files(folder, read_contract(folder / CONTRACT_NAME))


@pytest.mark.parametrize("fields", [{"format": 9}, {"runtime": "tensorrt"}])
def test_another_format_or_runtime_is_refused(folder, fields):
    change(folder, **fields)
    with pytest.raises(ModelError, match="expected format 1 for one of onnx, openvino"):
        read_contract(folder / CONTRACT_NAME)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"model": 3}', '{"model": {"name": "a", "options": []}}'])
def test_a_damaged_file_is_refused(tmp_path, text):
    (tmp_path / CONTRACT_NAME).write_text(text)
    with pytest.raises(ModelError, match="not a description of an export, or damaged"):
        read_contract(tmp_path / CONTRACT_NAME)
