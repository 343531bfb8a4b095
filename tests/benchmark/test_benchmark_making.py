import dataclasses
import json
import shutil

import pytest

from vesalius.benchmark.cells import describe_span, read_run_info
from vesalius.errors import DataError
from vesalius.evaluation.stored import EVALUATION_NAME
from vesalius.evaluation.stored import MANIFEST as MANIFEST_FIELD
from vesalius.training.fit import HISTORY, MANIFEST


def test_it_says_what_a_number_is_worth(run_tiny):
    made = read_run_info(run_tiny.cells[1])
    assert (made.label, made.data, made.seed, made.weights) == ("unet_d", "kvasir_polyp", 1, "untrained")
    assert (made.image_size, made.batch_size, made.learning_rate, made.epochs) == (32, 2, 1e-3, 2)
    assert made.precision == "32-true"
    assert made.best_epoch in (1, 2)
    history = (run_tiny.cells[1].folder / HISTORY).read_text().splitlines()
    assert f"{made.val_dice:.6f}" == f"{float(history[made.best_epoch].split(',')[-1]):.6f}"
    assert "torch" in made.machine


def test_it_says_how_long_training_and_scoring_took(run_tiny, tmp_path):
    cell = dataclasses.replace(run_tiny.cells[0], folder=tmp_path / "cell")
    shutil.copytree(run_tiny.cells[0].folder, cell.folder)
    scored = json.loads((cell.folder / EVALUATION_NAME).read_text())
    run = json.loads((cell.folder / MANIFEST).read_text())
    assert min(scored[MANIFEST_FIELD]["seconds"], run["seconds"]) >= 0  # tiny ones are rounded to 0
    scored[MANIFEST_FIELD]["seconds"], run["seconds"] = 3.5, 12.5
    (cell.folder / EVALUATION_NAME).write_text(json.dumps(scored))
    (cell.folder / MANIFEST).write_text(json.dumps(run))
    made = read_run_info(cell)
    assert (made.training_seconds, made.scoring_seconds) == (12.5, 3.5)


@pytest.mark.parametrize(
    ("changes", "weights"), [({"pretrained": True}, "public"), ({"model": "pocket"}, "embedded"), ({}, "untrained")]
)
def test_it_says_what_training_began_with(run_tiny, changes, weights):
    cell = run_tiny.cells[0]
    changed = dataclasses.replace(cell, entry=dataclasses.replace(cell.entry, **changes))
    assert read_run_info(changed).weights == weights


def test_a_damaged_folder_is_named(run_tiny, tmp_path):
    cell = dataclasses.replace(run_tiny.cells[0], folder=tmp_path)
    with pytest.raises(DataError, match="delete the folder to train anew"):
        read_run_info(cell)
    for name in ("metrics.csv", "manifest.json", "evaluation.json"):
        (tmp_path / name).write_text(json.dumps({}))
    with pytest.raises(DataError, match="damaged"):
        read_run_info(cell)


def test_a_span_is_one_word_where_all_agree():
    assert describe_span([0.001, 0.0001]) == "0.0001 to 0.001"
    assert describe_span([64, 64]) == "64"
