import re

import pytest

from vesalius.data.catalog import find_card, read_catalog
from vesalius.data.prepare.sources import expression
from vesalius.errors import DataError
from vesalius.prompts import find_target

CARDS = read_catalog()
ORIGINALS = sorted(name for name, card in CARDS.items() if card.files)


@pytest.mark.parametrize("name", sorted(CARDS))
def test_every_data_set_is_described_and_its_target_is_known(name):
    card = CARDS[name]
    assert all((card.title, card.home, card.licence, card.layout))
    assert re.match(r"https?://", card.home)
    if card.target:
        assert find_target(card.target).phrases


@pytest.mark.parametrize("name", ORIGINALS)
def test_every_original_says_all_that_a_user_asks(name):
    card = CARDS[name]
    assert all((card.masks, card.prompts, card.splits))
    assert card.target or card.phrase or card.labels or card.reader != "pictures"


@pytest.mark.parametrize("name", ORIGINALS)
def test_expressions_fill_the_templates_of_names(name):
    for pattern in CARDS[name].files:
        words = expression(pattern.image).groupindex
        for template in (pattern.name, pattern.mask_name, pattern.group, pattern.kind):
            assert set(re.findall(r"{(\w+)}", template)) <= words.keys() | {"label", "name"}
        masks = expression(pattern.mask).groupindex
        assert CARDS[name].reader == "chexlocalize" or set(re.findall(r"{(\w+)}", pattern.name)) <= masks.keys()


def test_an_unknown_name_tells_the_closest_and_all(tmp_path):
    with pytest.raises(DataError, match=r"No data set to prepare named 'kvasir'\..*custom, .*kvasir_polyp"):
        find_card("kvasir")
    with pytest.raises(DataError, match="named 'brain_mr'"):
        find_card("brain_mr")


def test_the_shared_data_sets_are_known(shared):
    folders = {path.name for path in (shared / "data/segmentation").iterdir() if path.is_dir()}
    assert folders
    assert folders <= read_catalog().keys()
