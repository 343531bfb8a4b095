import pytest

from vesalius.data.slices.cutting import NEIGHBOURS, distant_organs
from vesalius.prompts.anatomy import ORGANS, STATIONS, stations_of


def test_neighbours_are_mutual():
    assert NEIGHBOURS.keys() == set(STATIONS)
    assert all(one in NEIGHBOURS[other] for one in STATIONS for other in NEIGHBOURS[one])


@pytest.mark.parametrize("organ", ORGANS)
def test_no_organ_is_distant_from_its_own_stations(organ):
    assert all(organ not in distant_organs({station}) for station in stations_of(organ))


def test_more_stations_rule_out_less():
    assert distant_organs({"chest", "abdomen"}) < distant_organs({"chest"})
    assert "knee" in distant_organs({"head"})
    assert "hand" not in distant_organs({"pelvis"})  # it may lie beside
