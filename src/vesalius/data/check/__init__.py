"""What is wrong with a data set: files, masks, prompts, duplicates, leaks. `check_dataset` is the way in."""

from vesalius.data.check.checking import CheckSettings, Grouping, check_dataset
from vesalius.data.check.findings import CheckFinding, FindingKind, Place, Severity, read_kinds
from vesalius.data.check.report import CheckReport, KindCount, Leak

__all__ = [
    "CheckReport",
    "CheckSettings",
    "CheckFinding",
    "Grouping",
    "FindingKind",
    "KindCount",
    "Leak",
    "Place",
    "Severity",
    "check_dataset",
    "read_kinds",
]
