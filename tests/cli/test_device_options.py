"""`--device` and `--precision` of the commands that measure."""

import json

import pytest

from vesalius.models.checkpoints import save_model


@pytest.fixture(scope="module")
def weights(build_tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "pocket.safetensors"
    save_model(build_tiny("pocket"), path)
    return path


@pytest.fixture
def measure(run, weights, tiny_dataset, tiny_slices, tmp_path):
    """Run one of the commands on tiny data; its exit code, stdout and stderr."""
    recipe = tmp_path / "tiny.toml"
    recipe.write_text('[data]\nsets = ["kvasir_polyp"]\n[models.unet_d]\noptions.image_size = 32\n')
    given = {
        "evaluate": (weights, "--data", tiny_dataset, "-o", "out"),
        "evaluate-naming": (weights, "--data", tiny_slices, "-o", "out", "--min-patients", 1),
        "audit": (weights, "--data", tiny_dataset, "-o", "out", "--pictures", 1),
        "benchmark": (recipe, "--data", tiny_dataset.parent, "--dry-run"),
    }
    return lambda command, *options: run(command, *given[command], *options)


@pytest.mark.parametrize("command", ["evaluate", "evaluate-naming", "audit", "benchmark"])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(measure, command):
    code, _, err = measure(command, "--device", "cuda:99")
    assert code == 2
    assert err.startswith("error: --device cuda:99: is not on this machine; there are: cpu")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "file", "place"),
    [
        ("evaluate", "evaluation.json", ("manifest", "settings")),
        ("evaluate-naming", "naming.json", ("manifest",)),
        ("audit", "audit.json", ()),
    ],
)
def test_the_record_says_what_computed_and_in_which_numbers(measure, tmp_path, command, file, place):
    code, _, err = measure(command, "--device", "cpu", "--precision", "bf16-mixed")
    assert code == 0, err
    found = json.loads((tmp_path / "out" / file).read_text())
    for field in place:
        found = found[field]
    assert (found["device"], found["precision"]) == ("cpu", "bf16-mixed")
    code, _, err = measure(command, "--device", "cpu")
    assert code == 2
    assert "precision" in err  # results in other numbers do not take the place of these


def test_a_benchmark_scored_in_other_numbers_is_another(run_tiny_cell):
    exact, rough = run_tiny_cell("32").describe(), run_tiny_cell("bf16-mixed").describe()
    assert "scoring_precision" not in exact  # folders of earlier versions go on
    assert rough == {**exact, "scoring_precision": "bf16-mixed"}


@pytest.fixture
def run_tiny_cell(tiny_dataset, tmp_path):
    from vesalius.benchmark.cells import list_cells
    from vesalius.benchmark.recipe import BenchmarkRecipe, ModelEntry

    plan = BenchmarkRecipe("Tiny", None, (tiny_dataset.name,), (ModelEntry("unet_d", "unet_d", {}, False, {}),))
    return lambda precision: list_cells(plan, tiny_dataset.parent, tmp_path, precision)[0]
