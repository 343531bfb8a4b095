"""What a reader left out or guessed, told with the image instead of done in silence."""

import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from vesalius.errors import ImageNotice


@dataclass(frozen=True)
class Notice:
    """One thing that was left out of an image, or guessed.

    Example:
        >>> str(Notice("slices left out", "they form another stack", "Choose it with stack 2", count=4, total=6))
        '4 of 6 slices left out: they form another stack. Choose it with stack 2.'
    """

    what: str
    """What was left out or guessed, such as "slices left out"."""
    why: str
    """The reason, as a phrase without a full stop."""
    remedy: str = ""
    """How to choose otherwise, as a sentence without a full stop; "" if there is no way."""
    count: int | None = None
    """How many are concerned; None if nothing was counted."""
    total: int | None = None
    """Of how many."""

    def __str__(self) -> str:
        counted = "" if self.count is None else f"{self.count} of {self.total} "
        return f"{counted}{self.what}: {self.why}." + (f" {self.remedy}." if self.remedy else "")

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON, with the whole line as ``message``."""
        return {**asdict(self), "message": str(self)}


def warn_of(notices: Iterable[Notice], source: Path) -> None:
    """Issue one warning of the category `ImageNotice` for each notice; filters are left as they are.

    Args:
        notices: Of an image.
        source: File or folder it came from.
    """
    for notice in notices:
        warnings.warn(f"{source}: {notice}", ImageNotice, stacklevel=3)
