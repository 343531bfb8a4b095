"""What came of a preparation."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, or that the user should know."""

    place: str
    """File, and row where there is one."""
    message: str
    """What is wrong, what was expected and what to do."""

    def __str__(self) -> str:
        return self.message if self.message.startswith(self.place) else f"{self.place}: {self.message}"


@dataclass(frozen=True)
class PrepareReport:
    """Summary of a prepared data set."""

    dest: Path
    records: Mapping[str, int]
    """Rows of each annotation file."""
    images: int
    """Different images among them."""
    empty: int
    """Rows whose mask is empty."""
    resumed: int
    """Items that an earlier run had finished."""
    problems: tuple[Problem, ...]
    """What was left out."""
    notes: tuple[Problem, ...] = ()
    """What else the user should know."""

    def to_dict(self) -> dict[str, object]:
        """For JSON; every problem with its place and message."""
        return {
            "dest": str(self.dest),
            "records": dict(self.records),
            "images": self.images,
            "empty": self.empty,
            "resumed": self.resumed,
            "problems": [asdict(problem) for problem in self.problems],
            "notes": [asdict(note) for note in self.notes],
        }
