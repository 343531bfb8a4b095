import dataclasses

import pytest

from vesalius.training.config import TrainConfig
from vesalius.training.fit import fit
from vesalius.training.runtime_options import RuntimeOptions
from vesalius.training.trainer import build_loggers

CONFIG = TrainConfig(learning_rate=1e-3, batch_size=2, max_epochs=2)


def test_without_any_there_is_the_table_alone(tmp_path):
    assert build_loggers(tmp_path, RuntimeOptions()) == []


def test_tensorboard_gets_every_epoch(build_tiny, tiny_dataset, tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    fit(build_tiny("clipseg"), [tiny_dataset], tmp_path, CONFIG, RuntimeOptions(loggers=("tensorboard",)))
    events = reader.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert {"train_loss", "val_loss", "val_dice"} <= set(events.Tags()["scalars"])
    assert len(events.Scalars("val_dice")) == 2


@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_mlflow_gets_the_run_under_its_folders_name(build_tiny, tiny_dataset, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(tmp_path)
    config = dataclasses.replace(CONFIG, max_epochs=1)
    fit(build_tiny("clipseg"), [tiny_dataset], tmp_path / "mine", config, RuntimeOptions(loggers=("mlflow",)))
    (run,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert run.info.run_name == "mine"
    assert {"train_loss", "val_dice"} <= run.data.metrics.keys()
