"""How far an archive is, what it took, and what is left."""

from collections.abc import Mapping
from dataclasses import dataclass

from vesalius.archive.log import ArchiveTotals, read_records, read_settings
from vesalius.archive.store import ArchiveStore
from vesalius.errors import ConfigError


@dataclass(frozen=True)
class ArchiveStatus:
    """What the log of an archive tells."""

    address: str
    settings: Mapping[str, object]
    totals: ArchiveTotals
    failures: Mapping[str, int]
    """Reason of failures, shortened to what they share -> their number."""

    @property
    def seconds_per_slice(self) -> float | None:
        """Seconds of one worker for a slice; None before the first."""
        return sum(self.totals.seconds.values()) / self.totals.slices if self.totals.slices else None

    @property
    def left(self) -> int | None:
        """Items that are neither done nor failed; None while they are being listed."""
        return self.totals.left if self.totals.complete else None

    @property
    def eta_s(self) -> float | None:
        """Seconds until all is done at the pace so far; None if unknown."""
        done = self.totals.items
        return self.left * self.totals.wall / done if self.left is not None and done else None

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        told = {name: value for name, value in self.totals.__dict__.items() if name not in ("seconds", "failures")}
        shares = {f"{name}_seconds": value for name, value in self.totals.seconds.items()}
        own = {"seconds_per_slice": self.seconds_per_slice, "left": self.left, "eta_seconds": self.eta_s}
        return {"out": self.address, "settings": dict(self.settings), **told, **shares, **own, "reasons": self.failures}


def read_status(out: str) -> ArchiveStatus:
    """Read the log of an archive; may be done while a run is under way.

    Args:
        out: Folder or URL that ``vesalius archive run --out`` was given.

    Raises:
        ConfigError: If there is no archive.
        OutputError: If it cannot be read.
    """
    store = ArchiveStore(out)
    content = read_settings(store)
    if content is None:
        raise ConfigError(f"{out}: holds no archive; name the folder that `vesalius archive run --out` was given.")
    totals = ArchiveTotals()
    for _, record in read_records(store):
        totals.add(record)
    reasons: dict[str, int] = {}
    for each in totals.all_failures():
        reason = str(each["reason"]).replace(str(each["source"]), "…")
        reasons[reason] = reasons.get(reason, 0) + 1
    return ArchiveStatus(out, content["settings"], totals, dict(sorted(reasons.items(), key=lambda one: -one[1])))
