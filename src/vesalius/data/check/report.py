"""All findings about one data set, and their counts."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from vesalius import __version__
from vesalius.data.check.findings import Finding, Severity, read_kinds
from vesalius.data.check.rows import SPLITS, Row


@dataclass(frozen=True)
class Leak:
    """How many images of a split resemble images that a model has seen before."""

    seen: str
    scored: str
    images: int
    """Images of `scored` with a duplicate or near-duplicate in `seen`."""
    of: int
    """All images of `scored`."""


@dataclass(frozen=True)
class KindCount:
    """How often a kind of finding occurs."""

    kind: str
    findings: int
    splits: Mapping[str, int]
    """Findings that touch each split; one that crosses splits counts in all of them."""


@dataclass(frozen=True)
class CheckReport:
    """What a check found; gravest kinds first."""

    root: Path
    records: Mapping[str, int]
    """Records by split, without those that cannot be used."""
    images: int
    """Image files that could be read."""
    findings: Sequence[Finding]
    leaks: Sequence[Leak]
    settings: Mapping[str, object]
    seconds: float
    rows: Sequence[Row] = ()
    """The usable records, which say what mask lies on which image."""

    @property
    def wrong(self) -> bool:
        """Whether there is an error or a warning."""
        return any(finding.severity is not Severity.NOTE for finding in self.findings)

    def by_kind(self) -> dict[str, list[Finding]]:
        """The findings of each kind that occurs, gravest kinds first."""
        found: dict[str, list[Finding]] = {name: [] for name in read_kinds()}
        for finding in self.findings:
            found[finding.kind].append(finding)
        return {name: each for name, each in found.items() if each}

    def counts(self) -> list[KindCount]:
        """One row a kind that occurs."""
        return [
            KindCount(name, len(found), {split: sum(split in each.splits() for each in found) for split in SPLITS})
            for name, found in self.by_kind().items()
        ]

    def severities(self) -> dict[Severity, int]:
        """Findings of each severity."""
        return {grade: sum(finding.severity is grade for finding in self.findings) for grade in Severity}

    def to_dict(self) -> dict[str, object]:
        """For JSON: everything, every finding with its kind's severity."""
        return {
            "data": str(self.root),
            "version": __version__,
            "wrong": self.wrong,
            "settings": dict(self.settings),
            "records": dict(self.records),
            "images": self.images,
            "seconds": round(self.seconds, 2),
            "severities": {str(grade): count for grade, count in self.severities().items()},
            "counts": [asdict(each) for each in self.counts()],
            "leaks": [asdict(leak) for leak in self.leaks],
            "findings": [_to_dict(finding) for found in self.by_kind().values() for finding in found],
        }


def _to_dict(finding: Finding) -> dict[str, object]:
    return {
        "kind": finding.kind,
        "severity": str(finding.severity),
        "message": finding.message,
        "places": [asdict(place) for place in finding.places],
        "details": dict(finding.details),
    }
