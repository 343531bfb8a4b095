"""Slices that were never scanned: what they show, drawn as bodies are built, and features as an encoder might give."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vesalius.prompts.anatomy import ORGANS, PLANES, PROTOCOLS, STATIONS, AnatomyLabel, stations_of

WIDTH = 64
"""Of an image's features."""
STATION_STRENGTH = 0.5
"""Of a station's code beside an organ's, 1: a region shows less of itself than of its organs."""
IN_STATION = {station: [organ for organ in ORGANS if station in stations_of(organ)] for station in STATIONS}
"""Organs from top to bottom, so that neighbours are seen together."""
TRUNK = STATIONS[:-1]
"""From head to foot; the upper limb is imaged alone."""


def draw_label(generator: np.random.Generator) -> AnatomyLabel:
    """What a slice shows: neighbouring organs of a station, and of the next one too where the plane is a long one."""
    plane = str(generator.choice(PLANES, p=(0.6, 0.2, 0.2)))
    protocol = None if generator.random() < 0.5 else str(generator.choice(PROTOCOLS))
    index = int(generator.integers(len(STATIONS)))
    stations = list(STATIONS[index : index + 1])
    if plane != "axial" and index + 1 < len(TRUNK) and generator.random() < 0.5:
        stations.append(STATIONS[index + 1])
    organs = {organ for station in stations for organ in _neighbours(IN_STATION[station], plane, generator)}
    return AnatomyLabel("MR" if protocol else "CT", protocol, plane, frozenset(stations), frozenset(organs))


def draw_distinct(count: int, generator: np.random.Generator) -> list[AnatomyLabel]:
    """Labels of which no two are the same."""
    found: dict[AnatomyLabel, None] = {}
    while len(found) < count:
        found[draw_label(generator)] = None
    return list(found)


def _neighbours(organs: Sequence[str], plane: str, generator: np.random.Generator) -> Sequence[str]:
    most = 2 if plane == "axial" else 4
    count = int(generator.integers(1, most + 1))
    first = int(generator.integers(max(1, len(organs) - count + 1)))
    return organs[first : first + count]


class Scanner:
    """Labels to features: a fixed random code for everything that shows, and noise.

    Args:
        noise: Length of the noise, where an organ's code has length 1.
        generator: Decides the codes.
    """

    def __init__(self, noise: float, generator: np.random.Generator) -> None:
        names = (*ORGANS, *STATIONS, *PLANES, *PROTOCOLS, "CT", "MR")
        codes = generator.standard_normal((len(names), WIDTH))
        self._codes = dict(zip(names, codes / np.linalg.norm(codes, axis=1, keepdims=True), strict=True))
        self._noise = noise

    def scan(self, labels: Sequence[AnatomyLabel], generator: np.random.Generator) -> NDArray[np.float32]:
        """Features of images that show this, organs large or small, [N, WIDTH]."""
        noise = generator.standard_normal((len(labels), WIDTH)) * self._noise / np.sqrt(WIDTH)
        codes = np.stack([self._code(label, generator) for label in labels])
        return codes.astype(np.float32) + np.asarray(noise, np.float32)

    def _code(self, label: AnatomyLabel, generator: np.random.Generator) -> NDArray[np.float64]:
        sizes = {organ: generator.uniform(0.5, 1.5) for organ in sorted(label.organs)}
        sizes |= dict.fromkeys(sorted(label.stations), STATION_STRENGTH)
        sizes |= {name: 1.0 for name in (label.modality, label.protocol, label.plane) if name}
        return sum((size * self._codes[name] for name, size in sizes.items()), np.zeros(WIDTH))
