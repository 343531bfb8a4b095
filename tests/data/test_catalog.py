import dataclasses

import pytest

from vesalius.data.catalog import read_catalog
from vesalius.prompts import find_target


@pytest.mark.parametrize("name", sorted(read_catalog()))
def test_every_data_set_is_described_and_outlines_a_known_target(name):
    card = read_catalog()[name]
    assert all(dataclasses.astuple(card))
    assert card.home.startswith("https://")
    assert find_target(card.target).phrases


def test_the_shared_data_sets_are_known(shared):
    folders = {path.name for path in (shared / "data/segmentation").iterdir() if path.is_dir()}
    assert folders
    assert folders <= read_catalog().keys()
