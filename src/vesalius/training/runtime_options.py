"""Options of a run that do not change its result; ``vesalius train`` and ``train-naming`` make their own from them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from vesalius.errors import ConfigError, check_at_least, check_positive

Logger = Literal["tensorboard", "mlflow"]


@dataclass(frozen=True)
class SavingOptions:
    """Processes, saving and logging of every run."""

    resume: bool = False
    """Go on where an interrupted run in the same folder stopped, as if it had not been interrupted. The same command
    does so by itself; this refuses to begin anew."""
    overwrite: bool = False
    """Begin anew where the folder holds a run, and replace that."""
    workers: int = 0
    """Processes that prepare images, for each device; 0 for none but the one that trains."""
    save_minutes: float = 10.0
    """Between savings of the run's state inside an epoch; it is saved after every epoch anyway."""
    loggers: Annotated[tuple[Logger, ...], Parameter(name="--log")] = ()
    """Report to TensorBoard or MLflow too, beside metrics.csv; repeat it for both."""

    def __post_init__(self) -> None:
        check_at_least(self, 0, "workers")
        check_positive(self, "save_minutes")
        if self.resume and self.overwrite:
            raise ConfigError("--resume goes on with a run and --overwrite replaces it; choose one.")
        if len(set(self.loggers)) < len(self.loggers):
            raise ConfigError(f"loggers are named twice: {', '.join(self.loggers)}.")


@dataclass(frozen=True)
class RuntimeOptions(SavingOptions):
    """Devices and stored features, too."""

    features: Path | None = None
    """Folder for stored features, which several runs can share; OUT/features by default."""
    devices: int = 1
    """Accelerators of each machine that share every batch, or processes where there is none."""
    device: Annotated[str, Parameter(parse=False)] = "auto"
    """Device to train on, "auto" being a GPU where there is one; the benchmark's option."""
    nodes: int = 1
    """Machines, on each of which SLURM or torchrun starts Vesalius."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "devices", "nodes")
