"""Where a run reports, beside its own table."""

import os
from pathlib import Path

from pytorch_lightning.loggers import Logger, MLFlowLogger, TensorBoardLogger

from vesalius.errors import require
from vesalius.training.running import Running


def build_loggers(out: Path, running: Running) -> list[Logger]:
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
