"""How naming is evaluated."""

from dataclasses import dataclass, field

from vesalius.errors import ConfigError, unknown_name
from vesalius.evaluation.bootstrap import Bootstrap
from vesalius.prompts.anatomy import STATIONS


@dataclass(frozen=True)
class NamingSettings:
    """What counts, and how intervals are drawn.

    Raises:
        ConfigError: If a number is out of its range or a station does not exist.
    """

    least_patients: int = 10
    """Patients who must show a label for it to enter macro means."""
    bootstrap: Bootstrap = field(default_factory=lambda: Bootstrap(resamples=2000))
    """Draws, confidence and seed."""
    stratified: bool = True
    """Draw patients of each modality apart, so that every draw holds as many of each."""
    stations: tuple[str, ...] = STATIONS
    """Stations to choose among; ``PAPER_STATIONS`` for the paper's five."""
    caption_wordings: int = 1
    """Wordings of a caption in the contradiction experiment, whose vectors are averaged; the first is the paper's."""

    def __post_init__(self) -> None:
        for name in ("least_patients", "caption_wordings"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: expected 1 or more, got {getattr(self, name)}.")
        for station in self.stations:
            if station not in STATIONS:
                raise ConfigError(unknown_name("station", station, STATIONS))
        if len(self.stations) < 2:
            raise ConfigError(f"stations: expected two or more to choose among, got {len(self.stations)}.")
