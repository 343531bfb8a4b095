"""Scores to probabilities: a slope and an offset a label (Platt, 1999); `evaluation.naming.fitting` fits them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import DataError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PlattScaling:
    """Parameters for L labels."""

    labels: tuple[str, ...]
    slopes: tuple[float, ...]
    """Log-odds a unit of score."""
    offsets: tuple[float, ...]

    def probabilities(self, scores: Array) -> Array:
        """Probability that each label shows.

        Args:
            scores: [N, L].

        Returns:
            [N, L].
        """
        logits = scores * np.array(self.slopes) + np.array(self.offsets)
        return np.asarray(1 / (1 + np.exp(-np.clip(logits, -700, 700))))

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(content: Mapping[str, object]) -> "PlattScaling":
        """Read what ``to_dict`` gave.

        Raises:
            DataError: If a field is missing or lengths differ.
        """
        try:
            labels, slopes, offsets = (_as_list(content[name]) for name in ("labels", "slopes", "offsets"))
            scaling = PlattScaling(tuple(map(str, labels)), tuple(map(_number, slopes)), tuple(map(_number, offsets)))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"not the parameters of a calibration ({error}); evaluate again to have them.") from error
        if not len(labels) == len(slopes) == len(offsets):
            raise DataError(f"calibration: {len(labels)} labels, {len(slopes)} slopes and {len(offsets)} offsets.")
        return scaling


def _as_list(value: object) -> Sequence[object]:
    if not isinstance(value, list | tuple):
        raise TypeError(f"expected a list, got {value!r}")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise TypeError(f"expected a number, got {value!r}")
    return float(value)
