"""Public weights: what there is (``sources.toml``), and where its files lie on this machine.

Every file has a folder of its own: ``clipseg-rd64-refined/model.safetensors`` and so on, in the folder that the
environment variable ``VESALIUS_WEIGHTS`` names, by default ``vesalius/weights`` in the user's cache.
"""

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from vesalius.errors import ModelError, unknown_name

HUB = "https://huggingface.co"
ALIASES = {"pubmedclip": ("pubmedclip-vit32", "pubmedclip-vit32-hf")}
"""Models known by another name than their weights'; any of these will do, the first is what we ask for."""


@dataclass(frozen=True)
class WeightSource:
    """One row of the registry: a file, where it comes from and what it is for.

    It comes from ``hub`` at ``revision``, from ``url``, or by a person's hand from ``page``.
    """

    name: str
    title: str
    file: str
    models: tuple[str, ...]
    """Named models that start from it."""
    licence: str
    layout: str | None = None
    """What ``vesalius weights import`` reads it as; None for a vocabulary, which is used as it is."""
    hub: str | None = None
    revision: str | None = None
    url: str | None = None
    page: str | None = None
    size: int | None = None
    """Bytes, where published."""
    sha256: str | None = None
    """Hexadecimal, where published."""

    @property
    def path(self) -> Path:
        """Where the file belongs on this machine, whether it is there or not."""
        return weights_folder() / self.name / self.file

    @property
    def address(self) -> str | None:
        """Where the public can download the file; None if only ``page`` leads to it."""
        return self.address_at(HUB) if self.hub else self.url

    def address_at(self, hub: str) -> str:
        """The file's address at the hub, or at another server that speaks like it."""
        return f"{hub}/{self.hub}/resolve/{self.revision}/{self.file}"

    def is_here(self) -> bool:
        """Whether the file is in its place with the size it should have."""
        return self.path.is_file() and self.size in (None, self.path.stat().st_size)

    @property
    def megabytes(self) -> str | None:
        """Size in words, where published."""
        return f"{self.size / 1e6:.0f} MB" if self.size else None

    def fault(self) -> str:
        """Why it cannot be used."""
        if not self.path.is_file():
            return "is not on this machine"
        return f"({self.path}) is cut off, or another file: expected {self.size} bytes, got {self.path.stat().st_size}"

    def remedy(self) -> str:
        """What to do to have the file here."""
        return self.by_hand() if self.address is None else f"Run: vesalius weights fetch {self.name}. {self.by_hand()}"

    def by_hand(self) -> str:
        """Which file to bring from where to which place, without a command of ours."""
        if self.address is None:
            return f"Get {self.file} from {self.page} and put it at {self.path}"
        facts = ", ".join(filter(None, [self.megabytes, self.sha256 and f"sha256 {self.sha256}"]))
        known = f" ({facts})" if facts else ""
        return f"On a machine that reaches it: curl -L -o {self.file} {self.address}{known}; then put it at {self.path}"


def weights_folder() -> Path:
    """Where public weights lie: ``$VESALIUS_WEIGHTS``, else ``vesalius/weights`` in the user's cache."""
    if chosen := os.environ.get("VESALIUS_WEIGHTS"):
        return Path(chosen).expanduser()
    user_cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(user_cache) / "vesalius" / "weights"


@cache
def read_sources() -> Mapping[str, WeightSource]:
    """All rows of the registry by name."""
    tables = tomllib.loads(files("vesalius.models").joinpath("sources.toml").read_text(encoding="utf-8"))
    return {name: WeightSource(name=name, **row | {"models": tuple(row["models"])}) for name, row in tables.items()}


def find_source(name: str) -> WeightSource:
    """One row of the registry.

    Raises:
        ModelError: Naming the closest one that exists.
    """
    if name not in read_sources():
        raise ModelError(unknown_name("public weights", name, read_sources()))
    return read_sources()[name]


def find_encoder_source(name: str) -> WeightSource | None:
    """The public weights that a model which encodes is known by, such as "pubmedclip"; None if there are none.

    Where several files hold the same weights, one that is on this machine goes first.
    """
    known = [read_sources()[each] for each in ALIASES.get(name, (name,)) if each in read_sources()]
    return next((source for source in known if source.is_here()), known[0] if known else None)


def locate(name: str) -> Path:
    """The file of public weights on this machine; nothing is downloaded.

    Raises:
        ModelError: If it is not here or has been cut off, with what to do about it.
    """
    check_here([name])
    return find_source(name).path


def check_here(names: Sequence[str]) -> None:
    """See that files of public weights are on this machine, all of them before any is read.

    Raises:
        ModelError: Naming every one that is not here or has been cut off, and one command that fetches them.
    """
    lacking = [source for source in map(find_source, dict.fromkeys(names)) if not source.is_here()]
    if not lacking:
        return
    told = [f"{source.name} {source.fault()}" for source in lacking]
    fetched = [source.name for source in lacking if source.address is not None]
    command = [f"Run: vesalius weights fetch {' '.join(fetched)}"] if fetched else []
    raise ModelError(f"{'; '.join(told)}. {'. '.join([*command, *(source.by_hand() for source in lacking)])}.")
