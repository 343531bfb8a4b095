import numpy as np

from vesalius.naming.series import Probabilities, build_names, cap_organs, name_organs, name_stations, smoothing_of
from vesalius.prompts.anatomy import ORGANS, STATIONS

LABELS = ("head", "chest")


def found(*rows):
    return Probabilities(LABELS, np.array(rows))


def test_only_placed_stacks_of_slices_are_smoothed(make_volume):
    assert smoothing_of(make_volume("head", "head")) == "ordered"
    assert smoothing_of(make_volume("head", "head", plane="sagittal")) == "averaged"
    assert smoothing_of(make_volume("head")) is None
    assert smoothing_of(make_volume("head", "head", affine=None, plane=None)) is None


def test_averaged_slices_show_the_same():
    named = name_stations(found([0.9, 0.1], [0.9, 0.1], [0.0, 0.7]), [0, 1, 2], "averaged", 0.5)
    assert named.tolist() == [[True, False]] * 3


def test_a_run_that_is_unsure_on_the_whole_is_not_named():
    named = name_stations(found([0.4, 0.3], [0.45, 0.3]), [0.0, 10.0], "ordered", 0.5)
    assert not named.any()
    assert name_stations(found([0.45, 0.3], [0.7, 0.3]), [0.0, 10.0], "ordered", 0.5)[:, 0].all()


def test_organs_are_named_from_close_slices():
    values = found([0.9, 0.0], [0.2, 0.0], [0.9, 0.0])
    assert name_organs(values, [0, 3, 6], "ordered", 0.5)[:, 0].tolist() == [True, True, True]
    assert name_organs(values, [0, 3, 6], None, 0.5)[:, 0].tolist() == [True, False, True]


def test_the_likeliest_is_kept_with_its_probability_even_where_it_is_not_named():
    stations = found([0.4, 0.3]), np.zeros((1, 2), bool)
    name = build_names(stations, stations, [(None, None)], 7)[0]
    assert (name.index, name.station.label, name.station.probability) == (7, None, 0.4)


def test_no_organ_is_likelier_than_its_stations():
    organs = Probabilities(ORGANS, np.full((2, len(ORGANS)), 0.9))
    stations = Probabilities(STATIONS, np.tile([0.1, 0.2, 0.3, 0.6, 0.95, 0.05], (2, 1)))
    capped = dict(zip(ORGANS, cap_organs(organs, stations).values[0], strict=True))
    assert (capped["brain"], capped["liver"], capped["intestine"], capped["knee"]) == (0.1, 0.3, 0.6, 0.9)
