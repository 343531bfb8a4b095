"""pytorch-lightning's Trainer for every run: devices, saved state, early stopping, TensorBoard and MLflow."""

import os
import warnings
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.accelerators import CPUAccelerator
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.loggers import Logger, MLFlowLogger, TensorBoardLogger
from pytorch_lightning.strategies import DDPStrategy

from vesalius.errors import require
from vesalius.training.callbacks import EndInTime, EpochBar
from vesalius.training.config import FitConfig
from vesalius.training.runtime_options import RuntimeOptions

LAST = "last.ckpt"
"""File of a run's state, in its folder."""


def build_loggers(out: Path, running: RuntimeOptions) -> list[Logger]:
    """pytorch-lightning's loggers for ``running.loggers``.

    TensorBoard's files go to ``out/tensorboard``. MLflow reports where MLFLOW_TRACKING_URI says, or to a database
    ``mlflow.db`` in the working folder, under the name of the run's folder.

    Raises:
        MissingPackageError: If a logger's package is not installed.
    """
    return [_BUILDERS[name](out) for name in running.loggers]


def _tensorboard(out: Path) -> Logger:
    require("tensorboard", extra="tensorboard")
    return TensorBoardLogger(out, name="", version="tensorboard")


def _mlflow(out: Path) -> Logger:
    require("mlflow", extra="mlflow")
    # pytorch-lightning's own default is a folder of files, which MLflow no longer takes.
    place = os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    return MLFlowLogger("vesalius", run_name=out.name, tracking_uri=place)


_BUILDERS = {"tensorboard": _tensorboard, "mlflow": _mlflow}


def build_trainer(
    out: Path, config: FitConfig, running: RuntimeOptions, callbacks: Sequence[Callback], *, monitor: str
) -> Trainer:
    """A trainer that saves its state in ``out``, stops early and reports.

    Args:
        out: Folder of the run.
        config: Length, precision, gradients.
        running: Devices, loggers, how often to save.
        callbacks: Further callbacks of the run.
        monitor: The validation metric, higher being better, whose standstill ends the run.
    """
    patience = EarlyStopping(
        monitor, mode="max", patience=config.patience, min_delta=1e-4, check_on_train_epoch_end=False
    )
    saving = _save_state(out, running, config.max_steps)
    trainer = Trainer(
        max_epochs=config.max_epochs,
        min_epochs=min(config.min_epochs, config.max_epochs),
        precision=config.precision,
        gradient_clip_val=config.gradient_clip_norm,
        accumulate_grad_batches=config.accumulate,
        num_sanity_val_steps=0,
        callbacks=[EndInTime(config.max_steps), *callbacks, *saving, patience, EpochBar(monitor)],
        logger=build_loggers(out, running),
        log_every_n_steps=1,
        enable_model_summary=False,
        enable_progress_bar=False,
        use_distributed_sampler=False,
        **_devices(running),
    )
    if config.precision == "16-mixed" and isinstance(trainer.accelerator, CPUAccelerator):
        warnings.warn("precision 16-mixed needs a GPU; on this CPU the run computes in bf16-mixed.", stacklevel=2)
    return trainer


def _save_state(out: Path, running: RuntimeOptions, max_steps: int) -> list[Callback]:
    """One callback saves after epochs, the other inside them: pytorch-lightning allows one occasion each."""
    place: dict[str, Any] = {"dirpath": out, "filename": Path(LAST).stem, "enable_version_counter": False}
    interval = timedelta(minutes=running.save_minutes)
    return [ModelCheckpoint(**place), SaveInside(max_steps, **place, train_time_interval=interval)]


class SaveInside(ModelCheckpoint):
    """Save inside an epoch, where it can be resumed without loss.

    After its last batch, or the run's last step, a resumed run would leave the validation out, and gradients that wait
    for more batches are not part of the state.

    Args:
        max_steps: Steps of the run at most; -1 for no limit.
        settings: As pytorch-lightning's class takes them.
    """

    def __init__(self, max_steps: int, **settings: Any) -> None:  # noqa: ANN401 - any of another class
        super().__init__(**settings)
        self.max_steps = max_steps

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Save if it is time."""
        over = trainer.is_last_batch or trainer.global_step == self.max_steps
        if not over and (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            super().on_train_batch_end(trainer, module, outputs, batch, batch_idx)  # type: ignore[arg-type]


def _devices(running: RuntimeOptions) -> dict[str, Any]:
    """Arguments of the trainer for one device, or several that share batches."""
    if running.devices * running.nodes == 1:
        kind, _, index = running.device.partition(":")
        return {"accelerator": kind, "devices": [int(index or 0)] if kind == "cuda" else 1}
    strategy = DDPStrategy(
        # Heads for naming do not train while segmentation does.
        find_unused_parameters=True,
        process_group_backend="nccl" if torch.cuda.is_available() else "gloo",
    )
    # Batch norms see their own part of a batch on a CPU, where PyTorch cannot synchronise them.
    synchronised = torch.cuda.is_available()
    counts = {"devices": running.devices, "num_nodes": running.nodes}
    return {**counts, "strategy": strategy, "sync_batchnorm": synchronised}
