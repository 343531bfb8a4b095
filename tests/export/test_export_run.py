import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from rich.progress import Progress

from vesalius import Predictor
from vesalius.console import progress_bar
from vesalius.errors import DataError, ModelError, OutputError
from vesalius.export.run import Timing, export_model, time_models
from vesalius.imaging import MedicalImage
from vesalius.journal import alone
from vesalius.models.checkpoint_file import find_checkpoint, read_notes
from vesalius.models.checkpoints import load_segmenter, save_model
from vesalius.naming import AnatomyLabeller


@pytest.mark.slow
def test_an_export_gives_the_numbers_of_its_model(report, checkpoint):
    images, prompts = torch.rand(3, 3, 40, 56), ["polyp", "", "one small round polyp"]
    with torch.inference_mode():
        expected, found = (load_segmenter(source)(images, prompts) for source in (checkpoint, report.folder))
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)
    assert report.difference < 1e-3


@pytest.mark.slow
def test_a_predictor_takes_an_export_like_a_checkpoint(report):
    answers = Predictor(report.folder).set_image(torch.rand(30, 50, 3).numpy()).predict(["polyp"] * 5)
    assert [answer.probability.shape for answer in answers] == [(30, 50)] * 5


@pytest.mark.slow
def test_an_export_remembers_what_its_checkpoint_does(report):
    assert read_notes(find_checkpoint(report.folder)) == {"epochs": 3}


@pytest.mark.slow
def test_an_export_says_what_goes_into_each_graph(report):
    inputs = json.loads((report.folder / "export.json").read_text())["inputs"]
    assert inputs["decoder"] == ["image_tap0", "text_embedding"]
    assert inputs["text"] == ["input_ids", "attention_mask"]


@pytest.mark.slow
def test_both_sizes_and_times_are_reported(report, checkpoint):
    assert report.sizes[0] == checkpoint.stat().st_size
    assert report.sizes[1] > report.sizes[0] // 2
    assert all(timing.answer > 0 for timing in report.timings)


@pytest.mark.slow
def test_an_export_says_which_jobs_it_does_not_do(report):
    assert report.refused == {"name": "the model's image and text vectors share no space"}
    with pytest.raises(
        ModelError, match="this export does not name: the model's image and text vectors share no space"
    ):
        AnatomyLabeller(report.folder)


@pytest.mark.slow
@pytest.mark.slow
def test_an_export_of_pocket_outlines_judges_existence_and_names(build_tiny, tmp_path):
    pytest.importorskip("onnxscript")
    scaling = {"labels": ["head", "chest"], "slopes": [0.5, 0.5], "offsets": [0.0, 0.0]}
    notes = {"naming": {"calibration": {"stations": scaling}, "threshold": 0.1}}
    save_model(build_tiny("pocket", text_layers=1), tmp_path / "model.safetensors", notes)
    with progress_bar() as bar:
        report = export_model(tmp_path / "model.safetensors", tmp_path / "out", bar)
    assert report.refused == {}
    rgb = torch.rand(40, 56, 3).numpy()
    models = (tmp_path / "model.safetensors", report.folder)
    expected, found = (Predictor(model).set_image(rgb).predict("polyp").existence for model in models)
    assert found == pytest.approx(expected, abs=1e-4)
    image = MedicalImage(torch.rand(3, 40, 56).numpy(), source=tmp_path, affine=np.eye(4), modality="CT")
    before, after = (AnatomyLabeller(model) for model in models)
    assert after.calibration == before.calibration
    expected, found = before.label(image), after.label(image)
    assert [each.stations for each in found.slices] == [each.stations for each in expected.slices]
    assert found.slices[0].station_probabilities == pytest.approx(expected.slices[0].station_probabilities, abs=1e-3)
    with ThreadPoolExecutor(8) as pool:
        assert [each.to_dict() for each in pool.map(after.label, [image] * 16)] == [found.to_dict()] * 16


@pytest.mark.slow
def test_an_existing_folder_is_left_alone(checkpoint, tmp_path):
    with pytest.raises(OutputError, match="is there already"), progress_bar() as bar:
        export_model(checkpoint, tmp_path, bar)


@pytest.mark.slow
def test_calibration_without_images_is_refused(checkpoint, write_dataset, tmp_path):
    pytest.importorskip("onnxruntime")
    root = write_dataset(train=1, val=0)
    with pytest.raises(DataError, match=r"anns/val\.json"), progress_bar() as bar:
        export_model(checkpoint, tmp_path / "out", bar, calibrate=root)


@pytest.mark.slow
def test_an_export_cannot_be_exported(report, tmp_path):
    with pytest.raises(ModelError, match="an exported model already"), progress_bar() as bar:
        export_model(report.folder, tmp_path / "again", bar)


@pytest.mark.slow
def test_a_wrong_export_is_not_left_behind(report, checkpoint, tmp_path, monkeypatch):
    def copy_another(tracing, path):
        shutil.copy(report.folder / path.name, path)

    monkeypatch.setattr("vesalius.export.run.write_graph", copy_another)
    monkeypatch.setattr("vesalius.export.checking.TOLERANCE", -1.0)
    with pytest.raises(ModelError, match="the export is not the same model"), progress_bar() as bar:
        export_model(checkpoint, tmp_path / "made" / "out", bar)
    assert list((tmp_path / "made").iterdir()) == []


@pytest.mark.slow
def test_what_a_killed_export_left_goes_with_the_next_and_what_one_that_runs_needs_stays(
    checkpoint, tmp_path, monkeypatch
):
    def stop(work, *_):
        assert list(work.folder.iterdir()) == []
        raise KeyboardInterrupt

    monkeypatch.setattr("vesalius.export.run._fill", stop)
    graphs = tmp_path / ".export-out" / "graphs"
    graphs.mkdir(parents=True)
    (graphs / "image.onnx").write_bytes(b"half of a graph")
    with alone(graphs.parent, "export", ".lock"), pytest.raises(OutputError, match="another vesalius export writes"):
        export_model(checkpoint, tmp_path / "out", Progress(disable=True))
    assert (graphs / "image.onnx").exists()
    with pytest.raises(KeyboardInterrupt):
        export_model(checkpoint, tmp_path / "out", Progress(disable=True))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_damaged_graph_is_noticed(report, tmp_path):
    folder = shutil.copytree(report.folder, tmp_path / "copy")
    (folder / "text.onnx").write_bytes(b"")
    with pytest.raises(ModelError, match=r"text\.onnx: not the file that was exported"):
        load_segmenter(folder)


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["biomedclipseg", "biomedclipseg_a", "biomedclipseg_d", "clipseg_b", "pocket", "unet_d"]
)
def test_every_model_that_is_one_graph_a_step_can_be_exported(name, build_tiny, tmp_path):
    pytest.importorskip("onnxscript")
    save_model(build_tiny(name), tmp_path / "model.safetensors")
    with progress_bar() as bar:
        assert export_model(tmp_path / "model.safetensors", tmp_path / "out", bar).difference < 1e-3


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.parametrize("name", ["cris", "ensemble_c"])
def test_models_that_no_graph_can_say_are_refused(name, build_tiny, tmp_path):
    pytest.importorskip("onnxscript")
    save_model(build_tiny(name), tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match="graph"), progress_bar() as bar:
        export_model(tmp_path / "model.safetensors", tmp_path / "out", bar)


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_eight_bits_keep_dice(runtime, checkpoint, tiny_dataset, tmp_path):
    pytest.importorskip("openvino_telemetry")  # importing openvino itself would report that
    with progress_bar() as bar:
        report = export_model(
            checkpoint, tmp_path / "with, comma" / "out", bar, runtime=runtime, calibrate=tiny_dataset
        )
    assert report.dice.images == 2
    assert abs(report.dice.change) <= 0.01
    assert json.loads((report.folder / "export.json").read_text())["precision"] == "int8"
    Predictor(report.folder)


EXPORT = """
import os, sys
from pathlib import Path
from openvino_telemetry.utils.sender import TelemetrySender
sent = []
TelemetrySender.send = lambda self, backend, message: sent.append(message)
from vesalius.export.run import export_model
from vesalius.predict import Predictor
from vesalius.console import progress_bar
with progress_bar() as bar:
    Predictor(export_model(Path(sys.argv[1]), Path(sys.argv[2]), bar, runtime="openvino").folder)
print(len(sent), "CI" in os.environ)
"""


@pytest.mark.slow
@pytest.mark.slow
def test_openvino_reports_nothing_to_its_makers(checkpoint, tmp_path):
    pytest.importorskip("openvino_telemetry")
    surroundings = {name: value for name, value in os.environ.items() if name != "CI"} | {"HOME": str(tmp_path)}
    command = [sys.executable, "-c", EXPORT, str(checkpoint), str(tmp_path / "out")]
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "False"]


def test_models_are_timed_in_turns(build_tiny):
    first, second = time_models([build_tiny("unet_d"), build_tiny("unet_d")], rounds=1)
    assert min(first.image, first.decoder, second.image, second.decoder) > 0


def test_an_answer_takes_an_image_and_a_decoding():
    assert Timing(3.0, 1.0, 2.0).answer == 5.0
