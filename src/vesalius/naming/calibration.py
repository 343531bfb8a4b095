"""What a model's notes say of its probabilities.

Whoever trains or evaluates a model may put under "naming": ::

    {"calibration": {"stations": {"labels": [...], "slopes": [...], "offsets": [...]}, ...}, "threshold": 0.5}

where "modality", "protocol", "plane", "stations" and "organs" may each have a ``PlattScaling.to_dict()``, as an
evaluation of naming writes them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from vesalius.errors import DataError, ModelError
from vesalius.evaluation.anatomy.platt import PlattScaling
from vesalius.prompts.anatomy import MODALITIES, ORGANS, PLANES, PROTOCOLS, STATIONS

LEAST_PROBABILITY = 0.5
"""Below it nothing is named, unless the model's notes say otherwise."""
CHOICES = {"modality": MODALITIES, "protocol": PROTOCOLS, "plane": PLANES}
"""Questions with one answer a series, and their labels."""
SETS = {"stations": STATIONS, "organs": ORGANS}
"""Questions with any number of answers a slice."""
LABELS = CHOICES | SETS


@dataclass(frozen=True)
class Calibration:
    """How scores become probabilities, and from which one a label is named."""

    scalings: Mapping[str, PlattScaling]
    """Question -> scaling, where there is any."""
    least_probability: float = LEAST_PROBABILITY

    @staticmethod
    def from_notes(notes: Mapping[str, object], place: object) -> "Calibration":
        """Read the notes of a checkpoint.

        Args:
            notes: As ``read_notes`` gives them.
            place: Whose notes, for the message.

        Raises:
            ModelError: If the calibration is not one.
        """
        naming = notes.get("naming")
        said = naming if isinstance(naming, Mapping) else {}
        try:
            rows = said.get("calibration", {})
            scalings = {name: _read(rows[name], LABELS[name]) for name in LABELS if name in rows}
            least = float(said.get("threshold", LEAST_PROBABILITY))
            if not 0 <= least <= 1:
                raise DataError(f"threshold: expected 0 to 1, got {least:g}")
        except (AttributeError, DataError, TypeError, ValueError) as error:
            remedy = "evaluate naming again and write its notes anew"
            raise ModelError(f"{place}: the calibration in its notes is damaged ({error}); {remedy}.") from error
        return Calibration(scalings, least)


def _read(content: Mapping[str, object], known: tuple[str, ...]) -> PlattScaling:
    scaling = PlattScaling.from_dict(content)
    if strange := sorted(set(scaling.labels) - set(known)):
        raise DataError(f"unknown labels {', '.join(strange)}")
    return scaling
