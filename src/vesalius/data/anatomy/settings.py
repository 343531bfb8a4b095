"""How volumes are cut into labelled slices, and what a person says of a series without outlines."""

from dataclasses import dataclass

from vesalius.errors import ConfigError
from vesalius.imaging.intensity import named_window


@dataclass(frozen=True)
class CutSettings:
    """Which slices are taken, and how they look."""

    per_plane: int = 5
    """Slices of a volume in each plane, at most."""
    spacing_mm: float = 10.0
    """Least distance between them."""
    size: int = 224
    """Side of the pictures."""
    windows: tuple[str, ...] = ("soft tissue",)
    """CT windows by name; each slice is written in every one."""

    def __post_init__(self) -> None:
        if self.per_plane < 1 or self.spacing_mm < 0 or not 16 <= self.size <= 4096 or not self.windows:
            raise ConfigError(
                "--per-plane must be 1 or more, --spacing-mm 0 or more, --size 16 to 4096, and --windows not empty; "
                f"got {self.per_plane}, {self.spacing_mm:g}, {self.size}, {len(self.windows)} windows."
            )
        for name in self.windows:
            named_window(name)


@dataclass(frozen=True)
class SliceRange:
    """Slices that show a station or an organ."""

    name: str
    first: int | None = None
    """First slice in display order (axial: from the feet), from 0; None for all slices."""
    last: int | None = None
    """Last slice, included."""

    @property
    def whole(self) -> bool:
        """Whether it holds every slice."""
        return self.first is None and self.last is None

    def holds(self, index: int) -> bool:
        """Whether a slice is among them."""
        return (self.first is None or self.first <= index) and (self.last is None or index <= self.last)


@dataclass(frozen=True)
class Said:
    """What a person says of a series; what is not said stays unknown, or is the header's."""

    modality: str | None = None
    protocol: str | None = None
    stations: tuple[SliceRange, ...] = ()
    """Where there are any, slices that no range holds have none of these stations."""
    organs: tuple[SliceRange, ...] = ()
    """Likewise. Organs of which nothing is said are absent far from the stations that show, else unknown."""
