import csv
import dataclasses
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vesalius.errors import ConfigError
from vesalius.models.checkpoints import load_model
from vesalius.training.config import TrainConfig
from vesalius.training.fit import fit
from vesalius.training.runtime_options import RuntimeOptions
from vesalius.training.trainer import build_loggers
from waiting import PATIENCE_S

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"devices": 0}, "devices must be at least 1, got 0"),
        ({"nodes": 0}, "nodes must be at least 1, got 0"),
        ({"workers": -1}, "workers must be at least 0, got -1"),
        ({"save_minutes": 0}, "save_minutes must be above 0, got 0"),
        ({"loggers": ("mlflow", "mlflow")}, "loggers are named twice: mlflow, mlflow"),
    ],
)
def test_a_wrong_value_is_named(given, message):
    with pytest.raises(ConfigError, match=message):
        RuntimeOptions(**given)


def test_half_precision_on_a_cpu_is_told(build_tiny, tiny_dataset, tmp_path):
    config = TrainConfig(batch_size=2, max_epochs=1, max_steps=1, precision="16-mixed")
    with pytest.warns(UserWarning, match="precision 16-mixed needs a GPU; on this CPU the run computes in bf16-mixed"):
        fit(build_tiny("unet_d"), [tiny_dataset], tmp_path, config, RuntimeOptions(device="cpu"))


RUN = """
import sys
from pathlib import Path
import torch
from vesalius.models import build_model
from vesalius.training.config import TrainConfig
from vesalius.training.fit import fit
from vesalius.training.runtime_options import RuntimeOptions
torch.set_num_threads(1)
torch.manual_seed(0)
widths = {"vision_width": 64, "text_width": 64, "decoder_width": 16}
model = build_model("clipseg", image_size=64, text_layers=2, taps=(1, 2, 3), **widths)
config = TrainConfig(learning_rate=1e-3, batch_size=int(sys.argv[4]), max_epochs=3, gradient_clip_norm=1e9)
running = RuntimeOptions(devices=int(sys.argv[3]), nodes=int(sys.argv[5]) if len(sys.argv) > 5 else 1)
fit(model, [Path(sys.argv[1])], Path(sys.argv[2]), config, running)
"""


def rows(out: Path) -> list[dict[str, float]]:
    with (out / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


@pytest.mark.parametrize(("train", "val", "batch_size"), [(4, 2, 4), (7, 3, 5), (5, 1 + 2 * 5, 5)])
def test_two_processes_come_to_what_one_does(write_dataset, tmp_path, train, val, batch_size):
    """Also where a batch cannot be shared in equal parts: every image counts alike, to train on and to validate."""
    data = write_dataset("kvasir_polyp", train=train, val=val)
    script = tmp_path / "run.py"
    script.write_text(RUN, encoding="utf-8")
    for devices in (1, 2):
        command = [sys.executable, str(script), str(data), str(tmp_path / str(devices)), str(devices)]
        command.append(str(batch_size))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("epoch 3:") == 1
    one, two = rows(tmp_path / "1"), rows(tmp_path / "2")
    assert len(one) == len(two) == 3
    for alone, shared in zip(one, two, strict=True):
        # Sums of float32 in another order; nothing else differs.
        assert shared == pytest.approx(alone, rel=1e-4, abs=1e-5)
    first, second = (load_model(tmp_path / devices).state_dict() for devices in ("1", "2"))
    torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-5)


def start_on_machine(how: str, number: int, port: int, script: Path, *arguments: object) -> subprocess.Popen[str]:
    """One of two machines, both of which are this one, as torchrun or SLURM starts them."""
    command = [sys.executable, str(script), *map(str, arguments)]
    environment = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    if how == "torchrun":
        place = ["--nnodes", "2", "--nproc-per-node", "1", "--node-rank", str(number)]
        start = [sys.executable, "-m", "torch.distributed.run", *place, "--master-addr", "127.0.0.1"]
        command = [*start, "--master-port", str(port), *command[1:]]
    else:
        ours = {"NTASKS": 2, "NTASKS_PER_NODE": 1, "PROCID": number, "LOCALID": 0, "NODEID": number, "JOB_ID": 1}
        environment |= {f"SLURM_{name}": str(value) for name, value in ours.items()}
        environment |= {"SLURM_NODELIST": "localhost", "SLURM_JOB_NAME": "train"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.parametrize("how", ["torchrun", "slurm"])
def test_two_machines_come_to_what_one_does(write_dataset, tmp_path, how):
    data = write_dataset("kvasir_polyp", train=4, val=2)
    script = tmp_path / "run.py"
    script.write_text(RUN, encoding="utf-8")
    subprocess.run([sys.executable, script, data, tmp_path / "1", "1", "4"], capture_output=True, check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = [start_on_machine(how, number, port, script, data, tmp_path / "2", 1, 4, 2) for number in (0, 1)]
    told = [each.communicate(timeout=5 * PATIENCE_S)[0] for each in started]
    assert [each.returncode for each in started] == [0, 0], told
    for alone, shared in zip(rows(tmp_path / "1"), rows(tmp_path / "2"), strict=True):
        assert shared == pytest.approx(alone, rel=1e-4, abs=1e-5)
    first, second = (load_model(tmp_path / each).state_dict() for each in ("1", "2"))
    torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-5)


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
