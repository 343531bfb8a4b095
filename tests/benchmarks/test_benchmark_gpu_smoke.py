"""The check that is run where there is a GPU; here on the CPU, with tiny models."""

import pytest
import torch

from vesalius.models import list_encoders, list_models
from vesalius.models.inference import CPU


@pytest.fixture(scope="module")
def script(import_script):
    return import_script("experiments/benchmarks", "gpu_smoke")


FAST = ("pocket", "clipseg", "clip_vit_b16")
SLOWEST = ("biomedclipseg_a", "clipseg_b", "ensemble_c")
"""U-Nets in 16 bits take minutes on a CPU; with a GPU the script tries them, too."""
NAMES = [
    pytest.param(name, marks=() if name in FAST else pytest.mark.slow)
    for name in (*list_models(), *list_encoders())
    if name not in SLOWEST
]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_model_answers_trains_and_is_measured(script, build_tiny, name):
    (outcome,) = script.smoke({name: build_tiny(name).recipe.options}, CPU)
    assert outcome.failure is None
    assert outcome.difference == 0  # the device is the CPU


@pytest.mark.slow
def test_other_answers_are_a_failure(script, build_tiny, monkeypatch):
    answers = iter([torch.ones(3), torch.ones(3) + 0.01])
    monkeypatch.setattr(script, "answer", lambda *_: next(answers))
    (outcome,) = script.smoke({"clipseg": build_tiny("clipseg").recipe.options}, CPU)
    assert outcome.failure == "answers are 0.01 off the CPU's"


def test_a_failing_model_is_named_and_ends_with_1(script, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["gpu_smoke.py", "--device", "cpu", "--models", "nothing"])
    with pytest.raises(SystemExit) as stop:
        script.main()
    assert stop.value.code == 1
    out = capsys.readouterr().out
    assert "ModelError" in out
    assert "0 of 1 work" in out
