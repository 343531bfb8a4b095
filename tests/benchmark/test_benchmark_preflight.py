from dataclasses import replace

import pytest

from vesalius.benchmark import running as preflight
from vesalius.benchmark.running import Cost, inspect
from vesalius.models.inference import CPU


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


@pytest.mark.parametrize("name", ["clipseg", "cris", "pocket", "ensemble_c"])
def test_a_step_is_measured_without_weights(run_tiny, build_tiny, name):
    entry = replace(run_tiny.cells[0].entry, model=name, options=build_tiny(name).recipe.options)
    cost = preflight._measure(entry, CPU)
    assert isinstance(cost, Cost), cost
    assert min(cost.training, cost.scoring) > 0
