"""How much a reader takes in: every limit, its default and the environment variable that changes it."""

import os
from dataclasses import dataclass
from pathlib import Path

from vesalius.errors import ConfigError, ImageError

BYTES_PER_MEGABYTE = 2**20


@dataclass(frozen=True)
class Limit:
    """A number that an environment variable can raise or lower."""

    variable: str
    """Environment variable; a positive whole number."""
    default: int
    """What counts where the variable is not set."""
    unit: str
    """What is counted, in words."""

    @property
    def value(self) -> int:
        """The limit in force.

        Raises:
            ConfigError: If the variable holds no positive whole number.
        """
        text = os.environ.get(self.variable, "").strip()
        if not text:
            return self.default
        if not text.isdecimal() or int(text) == 0:
            raise ConfigError(f"{self.variable}: expected a positive whole number ({self.unit}), got '{text}'.")
        return int(text)

    def check(self, count: int, source: Path) -> None:
        """Refuse what exceeds the limit.

        Args:
            count: How many there are.
            source: What the message names.

        Raises:
            ImageError: If there are more than the limit; the message says how to raise it.
        """
        if count > self.value:
            raise ImageError(
                f"{source}: has {count:,} {self.unit}, more than the limit of {self.value:,}. Make it smaller, or "
                f"raise the limit: set the environment variable {self.variable} to {count} or more."
            )


PIXELS = Limit("VESALIUS_MAX_PIXELS", 100_000_000, "pixels in one picture")
"""Rows times columns of one picture or slice."""

FRAMES = Limit("VESALIUS_MAX_FRAMES", 20_000, "frames or slices")
"""Frames of one file, or slices of one series."""

MEGABYTES = Limit("VESALIUS_MAX_MEGABYTES", 1024, "megabytes of pixels to hold in memory at once")
"""Decoded pixels that are held in memory at once; more are read slice by slice where that is possible."""

KEPT_MEGABYTES = Limit("VESALIUS_KEPT_MEGABYTES", 128, "megabytes of pixels to keep in memory")
"""Images whose pixels take up to this much are decoded once and kept; larger ones are decoded slice by slice."""


def megabytes(size: int) -> int:
    """Bytes as megabytes, rounded up."""
    return -(-size // BYTES_PER_MEGABYTE)
