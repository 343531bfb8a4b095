"""A slice to teach or test naming with."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vesalius.data.slices.cutting import distant_organs
from vesalius.prompts.anatomy import ORGANS, AnatomyLabel

Made = Literal["contrast", "coarse", "across", "painted"]


@dataclass(frozen=True)
class LabelledSlice:
    """A slice, what it shows, and where it comes from."""

    picture: NDArray[np.uint8]
    """[S, S], or [S, S, 3] in colour."""
    label: AnatomyLabel
    series: str
    """What is counted together."""
    patient: str
    """What is held out together."""
    native: bool = True
    """Taken in this plane and shown as `name` would; others are for training only."""
    test: bool = False
    """Never trained on."""
    made: Made | None = None
    """How it was made of others: as another sequence would show it or coarse (``other_sequences.py``), by cutting
    across them (``people.py``), or as MR would show CT (``ct_as_mr.py``)."""

    @property
    def rgb(self) -> NDArray[np.float32]:
        """[S, S, 3] in [0, 1]."""
        shades = self.picture.astype(np.float32) / np.float32(255)
        return shades if shades.ndim == 3 else np.repeat(shades[..., None], 3, axis=2)


def partial(
    modality: str, plane: str | None, station: str | None, *organs: str, perhaps: tuple[str, ...] = ()
) -> AnatomyLabel:
    """A label of a kind of picture: what is far from the station is absent, what is near it unknown.

    Args:
        modality: Label.
        plane: Label, None where there is none.
        station: The one that the kind is named for, None where nobody knows.
        *organs: Those that show.
        perhaps: Stations beside it that may show.
    """
    stations = frozenset({station} if station else ())
    absent = distant_organs(stations) if station else frozenset()
    unsure = frozenset(ORGANS) - frozenset(organs) - absent
    known = AnatomyLabel.partial(modality, plane=plane, stations=stations if station else None, organs=organs)
    uncertain = (known.uncertain - frozenset(ORGANS)) | unsure | frozenset(perhaps)
    return AnatomyLabel(modality, None, plane, stations, frozenset(organs), uncertain)
