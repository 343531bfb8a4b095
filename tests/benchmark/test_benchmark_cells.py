import dataclasses
import json

import pytest

from vesalius.benchmark.cells import CELL_NAME, check_unchanged, remember
from vesalius.errors import ConfigError


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
        'prompts was ["p0", "p2"], is null',
    ):
        assert change in message
    assert message.endswith("give another --out, or delete the folder to train anew.")


def test_other_data_are_refused(cell, write_dataset):
    remember(cell)
    with pytest.raises(ConfigError, match="annotations was"):
        check_unchanged(dataclasses.replace(cell, data=write_dataset("kvasir_polyp", train=3)))


@pytest.mark.parametrize(("text", "message"), [("{", "damaged"), ("[]", "everything")])
def test_a_damaged_memory_is_no_permission(cell, text, message):
    cell.folder.mkdir()
    (cell.folder / CELL_NAME).write_text(text)
    with pytest.raises(ConfigError, match=message):
        check_unchanged(cell)


def test_what_is_remembered_is_all_that_decides_the_numbers(cell):
    remember(cell)
    content = json.loads((cell.folder / CELL_NAME).read_text())
    assert content.keys() == {"model", "options", "pretrained", "training", "prompts", "annotations"}
    assert content["training"]["seed"] == 0


def test_a_cell_begun_before_settings_were_renamed_goes_on(cell, capsys):
    remember(cell)
    content = json.loads((cell.folder / CELL_NAME).read_text())
    content["training"]["momentum"] = content["training"].pop("beta2")
    (cell.folder / CELL_NAME).write_text(json.dumps(content))
    check_unchanged(cell)
    assert "beta2 for momentum" in capsys.readouterr().err.replace("\n", " ")
