"""Labels of slices as they occur: drawn from modalities, planes, stations and organs, some of them uncertain."""

from collections.abc import Callable

import numpy as np
import pytest

from vesalius.prompts.anatomy import MODALITIES, ORGANS, PLANES, PROTOCOLS, STATIONS, AnatomyLabel

DrawLabel = Callable[[np.random.Generator], AnatomyLabel]


@pytest.fixture
def draw_label() -> DrawLabel:
    """Any label: everything that a label can leave out is left out now and then."""

    def choose(names: tuple[str, ...], generator: np.random.Generator) -> str | None:
        return None if generator.random() < 0.15 else str(generator.choice(names))

    def draw(generator: np.random.Generator) -> AnatomyLabel:
        modality = choose(MODALITIES, generator)
        status = dict(zip((*ORGANS, *STATIONS), generator.choice(3, 26, p=[0.7, 0.2, 0.1]), strict=True))
        return AnatomyLabel(
            modality,
            choose(PROTOCOLS, generator) if modality == "MR" else None,
            choose(PLANES, generator) if modality in ("CT", "MR") else None,
            frozenset(name for name in STATIONS if status[name] == 1),
            frozenset(name for name in ORGANS if status[name] == 1),
            frozenset(name for name, found in status.items() if found == 2),
        )

    return draw
