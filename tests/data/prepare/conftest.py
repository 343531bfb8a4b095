"""Prepare tiny originals, arranged as their authors distribute them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_originals import blob, save_mask, save_picture

from vesalius.data.catalog import find_card
from vesalius.data.prepare import (
    PreparePlan,
    PrepareReport,
    SliceConfig,
    Source,
    SplitConfig,
    find_samples,
    prepare,
    read_existing,
)

THIRDS = SplitConfig(val=0.25, test=0.25)

Prepare = Callable[..., PrepareReport]


@pytest.fixture
def prepare_original(tmp_path) -> Prepare:
    """Prepare a data set of the catalog from a folder or archive."""

    def run(
        name: str, root: Path, dest: Path | None = None, *, given: Path | None = None, slices: SliceConfig | None = None
    ) -> PrepareReport:
        source = Source(root)
        plan = PreparePlan(name, THIRDS, read_existing(given) if given else None)
        return prepare(find_samples(find_card(name), source, slices), source, dest or tmp_path / "dest", plan)

    return run


@pytest.fixture
def kvasir(tmp_path) -> Path:
    """Eight pictures with JPEG masks."""
    for number in range(8):
        save_picture(tmp_path / f"Kvasir-SEG/images/cju{number}.jpg", number)
        save_mask(tmp_path / f"Kvasir-SEG/masks/cju{number}.jpg", blob(number), quality=90)
    return tmp_path / "Kvasir-SEG"
