"""What a queue says of its series: where each stands, how often it was tried, and what of it is to be sent yet."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from vesalius.errors import OutputError


class OtherSeriesError(OutputError):
    """An instance has the UID of one that came with another series."""


class State(StrEnum):
    """Where a series stands."""

    RECEIVING = "receiving"
    CLAIMED = "claimed"
    MADE = "made"
    """Results are on disk and not all of them sent."""
    DONE = "done"
    REFUSED = "refused"
    """It cannot succeed, however often it is tried."""
    DEAD = "dead"
    """It failed as often as it may."""


OVER = (State.DONE, State.REFUSED, State.DEAD)
"""States in which a series stays until it is removed, or tried again."""


@dataclass(frozen=True)
class QueuedSeries:
    """One series in the queue."""

    uid: str
    folder: Path
    """Folder of its instances."""
    state: State
    revision: int
    """Grows with every instance that is added."""
    attempts: int
    """Attempts begun: to make its results or, once they are made, to send them."""
    due: float
    """When it may be tried, in seconds since 1970; it waits after a failure alone."""
    reason: str
    """Why it failed last; "" if it did not."""
    results: tuple[tuple[str, str], ...]
    """Files in the folder of results that are to be sent yet, each with the name of a destination."""

    @property
    def short(self) -> str:
        """What logs call it: nothing that tells of a patient."""
        return self.folder.name[:8]

    @property
    def is_over(self) -> bool:
        """Whether nothing more is done with it, unless somebody asks."""
        return self.state in OVER
