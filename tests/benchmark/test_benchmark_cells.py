import dataclasses
import json
import shutil

import numpy as np
import pytest

from vesalius.benchmark.cells import CELL_NAME, check_unchanged, describe_span, read_run_info, remember
from vesalius.errors import ConfigError, DataError
from vesalius.evaluation.stored import EVALUATION_NAME
from vesalius.evaluation.stored import MANIFEST as MANIFEST_FIELD
from vesalius.imaging import read_mask, write_mask
from vesalius.training.fit import HISTORY, MANIFEST

pytestmark = pytest.mark.slow


@pytest.fixture
def cell(run_tiny, tmp_path):
    """A cell about which nothing is on disk yet."""
    return dataclasses.replace(run_tiny.cells[0], folder=tmp_path / "cell")


def test_the_grid_goes_data_set_by_data_set_model_by_model_seed_by_seed(run_tiny):
    assert [str(cell) for cell in run_tiny.cells] == [
        "unet_d on kvasir_polyp, seed 0",
        "unet_d on kvasir_polyp, seed 1",
        "unet_from_weights on kvasir_polyp, seed 0",
        "unet_from_weights on kvasir_polyp, seed 1",
    ]
    assert run_tiny.cells[1].folder.parts[-3:] == ("kvasir_polyp", "unet_d", "seed-1")


def test_files_say_how_far_a_cell_has_come(cell):
    def state() -> tuple[bool, bool, bool]:
        return cell.interrupted, cell.trained, cell.finished

    assert state() == (False, False, False)
    cell.folder.mkdir()
    (cell.folder / "last.ckpt").touch()
    (cell.folder / "model.safetensors").touch()
    assert state() == (True, False, False)
    (cell.folder / "manifest.json").touch()
    assert state() == (False, True, False)
    (cell.folder / "rows.parquet").touch()
    (cell.folder / "evaluation.json").touch()
    assert state() == (False, True, True)


def test_the_same_settings_may_go_on(cell):
    check_unchanged(cell)
    remember(cell)
    check_unchanged(cell)


def test_other_settings_are_refused_by_name(cell):
    remember(cell)
    training = {**cell.entry.training, "learning_rate": 0.5, "loss": {"bce": 1.0}}
    changed = dataclasses.replace(cell.entry, training=training, options={"image_size": 48})
    with pytest.raises(ConfigError) as caught:
        check_unchanged(dataclasses.replace(cell, entry=changed, prompts=None))
    message = str(caught.value)
    assert message.startswith(f"{cell.folder}: made with other settings (")
    for change in (
        "options.image_size was 32, is 48",
        "training.learning_rate was 0.001, is 0.5",
        "training.loss.bce was 0.2, is 1.0",
        'prompts was ["p0", "p2"], is not given',
    ):
        assert change in message
    assert message.endswith("give another --out, or delete the folder to train anew.")


def test_other_data_are_refused(cell, write_dataset):
    remember(cell)
    with pytest.raises(ConfigError, match="annotations was"):
        check_unchanged(dataclasses.replace(cell, data=write_dataset("kvasir_polyp", train=3)))
    changed = write_dataset("kvasir_polyp")
    for path in (changed / "masks").iterdir():
        write_mask(path, np.ones(read_mask(path).shape, bool))
    with pytest.raises(ConfigError, match="settings .files was"):
        check_unchanged(dataclasses.replace(cell, data=changed))


@pytest.mark.parametrize(("text", "message"), [("{", "damaged"), ("[]", "everything")])
def test_a_damaged_memory_is_no_permission(cell, text, message):
    cell.folder.mkdir()
    (cell.folder / CELL_NAME).write_text(text)
    with pytest.raises(ConfigError, match=message):
        check_unchanged(cell)


def test_what_is_remembered_is_all_that_decides_the_numbers(cell):
    remember(cell)
    content = json.loads((cell.folder / CELL_NAME).read_text())
    assert content.keys() == {"model", "options", "pretrained", "training", "prompts", "annotations", "files"}
    assert content["training"]["seed"] == 0


def test_a_cell_begun_before_settings_were_renamed_goes_on(cell, capsys):
    remember(cell)
    content = json.loads((cell.folder / CELL_NAME).read_text())
    content["training"]["momentum"] = content["training"].pop("beta2")
    del content["files"]
    (cell.folder / CELL_NAME).write_text(json.dumps(content))
    check_unchanged(cell)
    assert "beta2 for momentum" in capsys.readouterr().err.replace("\n", " ")


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
