import dataclasses
import json
import shutil
import signal
from dataclasses import replace

import pytest

from vesalius.benchmark import running
from vesalius.benchmark import running as preflight
from vesalius.benchmark.running import Cost, check_prompt_families, inspect, run_cells
from vesalius.data.datasets import SegmentationDataset
from vesalius.errors import PromptError
from vesalius.evaluation.stored import read_evaluation
from vesalius.models.checkpoints import load_segmenter
from vesalius.models.inference import CPU
from vesalius.training.callbacks import NextEpoch
from vesalius.training.trainer import LAST

pytestmark = pytest.mark.slow


@pytest.fixture
def one_second(monkeypatch):
    """Every model takes a second an image to train, and as long to score."""
    measured = []
    monkeypatch.setattr(preflight, "_measure", lambda entry, device: measured.append(entry.label) or Cost(1.0, 1.0))
    return measured


def test_hours_follow_from_images_epochs_and_a_measured_step(run_tiny, one_second, tmp_path):
    cell = replace(run_tiny.cells[0], folder=tmp_path)
    found = inspect([cell, replace(cell, seed=7)])
    assert one_second == ["unet_d"], "a model is measured once"
    # two epochs of four training and two validation images, and two to test
    assert found.hours[str(cell)] * 3600 == pytest.approx(2 * (4 + 2) + 2)
    assert found.finished == 0


def test_what_is_finished_costs_nothing(run_tiny, one_second):
    found = inspect(run_tiny.cells[:1])
    assert (found.finished, found.hours, one_second) == (1, {}, [])


def test_a_model_without_public_weights_is_told_before_it_fails(run_tiny):
    found = inspect(run_tiny.cells[1:])
    (reason,) = found.missing
    assert "unet_d: no public weights to start from" in reason


def test_records_about_absent_things_need_no_family(write_dataset, add_absent):
    dataset = SegmentationDataset(add_absent(write_dataset(), "test"), "test")
    check_prompt_families(dataset, ["p1", "p3"])
    with pytest.raises(PromptError, match=r"record of 'test_0\.png'.*'p7'"):
        check_prompt_families(dataset, ["p7"])


@pytest.mark.parametrize("name", ["clipseg", "cris", "pocket", "ensemble_c"])
def test_a_step_is_measured_without_weights(run_tiny, build_tiny, name):
    entry = replace(run_tiny.cells[0].entry, model=name, options=build_tiny(name).recipe.options)
    cost = preflight._measure(entry, CPU)
    assert isinstance(cost, Cost), cost
    assert min(cost.training, cost.scoring) > 0


@pytest.fixture
def cell(run_tiny, tmp_path):
    """A cell about which nothing is on disk yet."""
    return dataclasses.replace(run_tiny.cells[0], folder=tmp_path / "cell")


@pytest.fixture
def forbid(monkeypatch):
    """Make a function of ``running`` fail the test when it is called."""

    def forbid(name: str) -> None:
        monkeypatch.setattr(running, name, lambda *_, **__: pytest.fail(f"{name} was called"))

    return forbid


def test_a_finished_cell_has_weights_and_an_evaluation_and_no_optimiser_state(run_tiny, tiny_dataset):
    done = run_tiny.cells[0]
    assert done.finished
    names = {path.name for path in done.folder.iterdir()}
    assert names == {
        ".train.lock", "cell.json", "evaluation.json", "made.json", "manifest.json", "metrics.csv", "model.safetensors",
        "model.seen.safetensors", "rows.parquet",
    }  # fmt: skip
    stored = read_evaluation(done.folder)
    assert {row.family for row in stored.rows} == {"p0", "p2"}
    assert (stored.split, stored.data) == ("test", str(tiny_dataset.resolve()))
    assert load_segmenter(stored.model).spec.image_size == 32


def test_a_cell_that_fails_says_why_and_the_others_go_on(run_tiny):
    failures = [outcome.failure for outcome in run_tiny.outcomes]
    assert failures[:2] == [None, None]
    assert all("unet_d: no public weights to start from" in failure for failure in failures[2:])
    assert not run_tiny.cells[2].folder.exists()


def test_every_step_is_told_with_its_place_in_the_grid(run_tiny):
    assert run_tiny.steps[:4] == [
        "[1/4] unet_d on kvasir_polyp, seed 0: training",
        "[1/4] unet_d on kvasir_polyp, seed 0: scoring",
        "[2/4] unet_d on kvasir_polyp, seed 1: training",
        "[2/4] unet_d on kvasir_polyp, seed 1: scoring",
    ]
    assert run_tiny.steps[4].startswith("[3/4] unet_from_weights on kvasir_polyp, seed 0: training")
    assert run_tiny.steps[5].startswith("[3/4] unet_from_weights on kvasir_polyp, seed 0: failed. unet_d: no public")


def test_what_is_finished_is_left_alone(run_tiny, forbid):
    forbid("fit")
    forbid("evaluate")
    steps = []
    (outcome,) = run_cells(run_tiny.cells[:1], steps.append)
    assert outcome.failure is None
    assert steps == ["[1/1] unet_d on kvasir_polyp, seed 0: finished earlier"]


def test_the_state_of_a_run_that_was_killed_when_it_had_scored_is_removed(run_tiny, cell):
    shutil.copytree(run_tiny.cells[0].folder, cell.folder)
    (cell.folder / LAST).write_bytes(b"as large as weights")
    run_cells([cell], lambda _: None)
    assert not (cell.folder / LAST).exists()


def test_what_is_trained_is_only_scored(run_tiny, cell, forbid):
    cell.folder.mkdir()
    for name in ("cell.json", "manifest.json", "metrics.csv", "model.safetensors"):
        (cell.folder / name).write_bytes((run_tiny.cells[0].folder / name).read_bytes())
    forbid("fit")
    (outcome,) = run_cells([cell], lambda _: None)
    assert outcome.failure is None
    assert read_evaluation(cell.folder).rows == read_evaluation(run_tiny.cells[0].folder).rows


def test_an_interrupted_training_goes_on_and_comes_to_the_same(run_tiny, cell, monkeypatch):
    interrupt_after_first_epoch(monkeypatch)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run_cells([cell], lambda _: None)
    assert signal.getsignal(signal.SIGINT) is before
    monkeypatch.undo()
    assert cell.interrupted
    steps = []
    (outcome,) = run_cells([cell], steps.append)
    assert outcome.failure is None
    assert steps[0].endswith("training goes on")
    assert not (cell.folder / LAST).exists()
    assert read_evaluation(cell.folder).rows == read_evaluation(run_tiny.cells[0].folder).rows
    assert (cell.folder / "metrics.csv").read_text() == (run_tiny.cells[0].folder / "metrics.csv").read_text()


def interrupt_after_first_epoch(monkeypatch):
    """Press Ctrl-C when the second epoch begins."""
    begin = NextEpoch.on_train_epoch_start

    def begin_or_stop(self, trainer, module):
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt
        begin(self, trainer, module)

    monkeypatch.setattr(NextEpoch, "on_train_epoch_start", begin_or_stop)


def test_a_cell_of_other_settings_fails_and_keeps_its_numbers(run_tiny):
    done = run_tiny.cells[0]
    before = (done.folder / "evaluation.json").read_bytes()
    changed = dataclasses.replace(done, prompts=("p0",))
    (outcome,) = run_cells([changed], lambda _: None)
    assert "made with other settings" in outcome.failure
    assert (done.folder / "evaluation.json").read_bytes() == before


@pytest.mark.parametrize("name", ["rows.parquet", "metrics.csv", "evaluation.json"])
def test_a_damaged_cell_fails_alone(run_tiny, cell, name):
    shutil.copytree(run_tiny.cells[0].folder, cell.folder)
    (cell.folder / name).write_bytes(b"\xff")
    damaged, good = run_cells([cell, run_tiny.cells[1]], lambda _: None)
    assert str(cell.folder) in damaged.failure
    assert good.failure is None


def test_missing_data_fail_before_any_training(run_tiny, cell, forbid):
    forbid("start_model")
    (outcome,) = run_cells([dataclasses.replace(cell, data=cell.data / "nowhere")], lambda _: None)
    assert "no such data folder" in outcome.failure


def test_missing_prompts_fail_before_any_training(cell, forbid):
    forbid("start_model")
    (outcome,) = run_cells([dataclasses.replace(cell, prompts=("p0", "p9"))], lambda _: None)
    assert "anns/test.json, record of 'test_0.png': No prompt family named 'p9'." in outcome.failure


def test_an_error_nobody_foresaw_is_named_by_its_kind(cell, monkeypatch):
    def burst(*_, **__):
        raise MemoryError("of 3 TiB")

    monkeypatch.setattr(running, "fit", burst)
    (outcome,) = run_cells([cell], lambda _: None)
    assert outcome.failure == "MemoryError: of 3 TiB"


def test_the_evaluation_says_how_the_weights_came_about(run_tiny):
    manifest = json.loads((run_tiny.cells[0].folder / "evaluation.json").read_text())["manifest"]
    assert manifest["training"]["config"]["learning_rate"] == 1e-3
    assert manifest["settings"] == {
        "prompts": ["p0", "p2"],
        "tolerance": 2.0,
        "device": "cpu",
        "precision": "32",
    }
    assert manifest["image_size"] == 32
