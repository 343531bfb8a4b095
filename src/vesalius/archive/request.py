"""What is asked of an archive, and how the work is spread."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, asdict, dataclass, replace
from typing import Any

from vesalius.errors import ConfigError, require
from vesalius.models.checkpoint_file import JOBS, Job, identify_model
from vesalius.models.choices import DEFAULT_MODEL, Precision, RuntimeChoice
from vesalius.prompts.user_prompts import check_distinct

LONGEST_S = 1_000_000
"""Longest time that an item may be given, s; clocks of operating systems take no more than some years."""


@dataclass(frozen=True)
class ArchiveRequest:
    """What is asked of every image of a source."""

    source: str
    """Folder, file, pattern, manifest (.parquet), URL of an object store, or a DICOMweb service (http, https)."""
    task: Job
    prompts: tuple[str, ...] = ()
    """Phrases; for "segment" only."""
    _: KW_ONLY
    model: str = DEFAULT_MODEL
    each: bool = False
    """Whether every DICOM file is an image of its own, not a slice of the series in its folder."""
    runtime: RuntimeChoice = "auto"
    device: str = "auto"
    precision: Precision = "32"
    weights: str = ""
    """Checksum of the model's file, which workers compare with their own."""

    def resolve(self) -> "ArchiveRequest":
        """The same, checked, with the checksum of its model, whose path is the same from whatever folder.

        Raises:
            ConfigError: If phrases do not fit the task.
            MissingPackageError: If pyarrow is not installed.
            ModelError: If there is no such model, or its public weights are not on this machine.
            PromptError: If a phrase is empty or stands twice, or none is given.
        """
        require("pyarrow", extra="archive")
        if self.task not in JOBS:
            raise ConfigError(f"--task {self.task}: expected name or segment.")
        if self.task == "segment":
            check_distinct(self.prompts)
        elif self.prompts:
            raise ConfigError("--prompt: goes with --task segment; --task name asks for all names it knows.")
        model, weights = identify_model(self.model, self.task)
        return replace(self, model=model, weights=weights)

    def settings(self) -> dict[str, object]:
        """All that decides the results: ready for JSON, and unchanged when read back."""
        told = {name: value for name, value in self.to_dict().items() if name not in ("model", "runtime", "device")}
        return {**told, "prompts": list(self.prompts)}

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(content: Mapping[str, Any]) -> "ArchiveRequest":
        """The request of a ``to_dict``."""
        return ArchiveRequest(**{**content, "prompts": tuple(content["prompts"])})


@dataclass(frozen=True)
class WorkerOptions:
    """How a worker works; nothing of this decides the results."""

    threads: int = 0
    """Threads that compute; 0 for all cores."""
    timeout_s: float = 600.0
    """Seconds after which an item is given up."""
    tries: int = 3
    """Tries of an item that takes too long, ends its process or cannot be fetched."""
    isolated: bool = True
    """Whether items are worked on in a process of their own, which they can break or hang alone."""

    def check(self) -> None:
        """Refuse options out of their range.

        Raises:
            ConfigError: Naming the option.
        """
        if self.threads < 0:
            raise ConfigError(f"--threads: expected 0 or more, got {self.threads}.")
        if not 0 < self.timeout_s <= LONGEST_S:
            raise ConfigError(f"--timeout: expected seconds above 0, {LONGEST_S:,} at most, got {self.timeout_s:g}.")
        if self.tries < 1:
            raise ConfigError(f"--tries: expected 1 or more, got {self.tries}.")


@dataclass(frozen=True)
class ShardLimits:
    """Size of a shard; a killed worker loses at most one."""

    items: int = 512
    """Largest number of items."""
    bytes: int = 256 * 2**20
    """Bytes of the images from which a shard is full."""

    def check(self) -> None:
        """Refuse a limit below 1.

        Raises:
            ConfigError: If it is.
        """
        if self.items < 1:
            raise ConfigError(f"--shard: expected a number of images, 1 or more, got {self.items}.")
