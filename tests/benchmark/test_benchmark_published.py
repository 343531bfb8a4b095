import re

import pytest

from vesalius.benchmark.recipe import find_publication, read_publications
from vesalius.data.catalog import read_catalog
from vesalius.errors import ConfigError
from vesalius.models import list_models


@pytest.mark.parametrize("name", read_publications())
def test_every_number_is_of_a_model_and_a_data_set_that_exist_here(name):
    publication = find_publication(name)
    assert publication.source
    assert publication.measure
    assert publication.dice.keys() <= set(list_models())
    for row in publication.dice.values():
        assert row.keys() <= read_catalog().keys()
        assert all(0 < value < 1 for value in row.values())


def test_the_paper_s_table_is_read():
    publication = find_publication("vlsm_ensemble")
    assert publication.find("ensemble_c", "clinicdb_polyp") == 0.81166
    assert publication.find("biomedclipseg_d", "clinicdb_polyp") is None
    assert publication.find("ensemble_c", "elsewhere") is None
    assert len(publication.dice) == 7


def test_the_paper_s_table_is_that_of_our_notes(shared):
    text = (shared / "spec" / "segmentation.md").read_text(encoding="utf-8")
    found = {
        line.split("|")[1].strip().lower().replace("-", "_"): [float(cell) for cell in line.split("|")[2:7]]
        for line in text.splitlines()
        if re.match(r"\| [A-Za-z-]+ (\| 0\.\d{5} ){5}\|", line)
    }
    assert {name: list(row.values()) for name, row in find_publication("vlsm_ensemble").dice.items()} == found


def test_an_unknown_publication_is_named():
    with pytest.raises(ConfigError, match="No publication named 'vlsm_ensembel'. Did you mean 'vlsm_ensemble'"):
        find_publication("vlsm_ensembel")
