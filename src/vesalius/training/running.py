"""How a run is carried out: whatever does not change its result."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vesalius.errors import ConfigError

Logger = Literal["tensorboard", "mlflow"]


@dataclass(frozen=True)
class Running:
    """Machine, places and habits of a run."""

    resume: bool = False
    """Go on from the run's last state."""
    features: Path | None = None
    """Folder for stored features; ``features`` in the run's own by default."""
    devices: int = 1
    """Accelerators, or processes on a CPU, of each machine; together they share every batch."""
    nodes: int = 1
    """Machines; SLURM or torchrun starts Vesalius on each."""
    workers: int = 0
    """Processes that prepare images, for each device; 0 for none but the one that trains."""
    save_minutes: float = 10.0
    """Between savings of the run's state inside an epoch; it is saved after every epoch anyway."""
    loggers: tuple[Logger, ...] = ()
    """Where to report, beside ``metrics.csv``."""

    def __post_init__(self) -> None:
        for name, least in (("devices", 1), ("nodes", 1), ("workers", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}, got {getattr(self, name)}.")
        if self.save_minutes <= 0:
            raise ConfigError(f"save_minutes must be above 0, got {self.save_minutes}.")
        if len(set(self.loggers)) < len(self.loggers):
            raise ConfigError(f"loggers are named twice: {', '.join(self.loggers)}.")
