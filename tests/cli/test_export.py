import json

import pytest


@pytest.mark.parametrize("options", [["--int8"], ["--calibrate", "data"]])
def test_eight_bits_need_calibration_and_calibration_eight_bits(run, options):
    code, _, message = run("export", "pocket", "--out", "out", *options)
    assert code == 2
    assert "give both, or neither" in message


def test_an_unknown_model_is_named(run):
    pytest.importorskip("onnxruntime")
    code, _, message = run("export", "pokcet", "--out", "out")
    assert code == 2
    assert "Did you mean 'pocket'?" in message


def test_without_the_extra_the_remedy_is_named(run, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    code, _, message = run("export", "pocket", "--out", "out")
    assert code == 2
    assert "pip install 'vesalius[export]'" in message


@pytest.mark.slow
def test_the_embedded_model_is_exported_and_used(run, tiny_dataset):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    code, printed, _ = run("export", "pocket", "--out", "exported", "--json")
    assert code == 0
    assert json.loads(printed)["largest_difference_float32"] < 1e-3
    picture = tiny_dataset / "images" / "test_0.png"
    answers, existence = {}, {}
    for model in ("pocket", "exported"):
        code, printed, _ = run("segment", picture, "polyp", "--model", model, "--out", f"by-{model}", "--json")
        assert code == 0
        answers[model] = json.loads(printed)
        existence[model] = answers[model]["results"][0].pop("existence")
    assert existence["exported"] == pytest.approx(existence["pocket"], abs=1e-4)
    assert str(answers["exported"]).replace("exported", "pocket") == str(answers["pocket"])
    code, _, message = run("train", "--model", "exported", "--data", tiny_dataset, "--max-steps", 1)
    assert code == 2
    assert "use the checkpoint it was exported from" in message
