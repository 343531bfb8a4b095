"""Neighbouring slices support one another."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from vesalius.naming.series import Probabilities, average_near, name_organs, name_stations, order_stations
from vesalius.prompts.anatomy import STATIONS


def look(*stations: str, sure: float = 0.9) -> np.ndarray:
    rest = (1 - sure) / (len(STATIONS) - 1)
    return np.array([[sure if name == station else rest for name in STATIONS] for station in stations])


def order(probabilities, step_mm=10.0):
    shown = order_stations(probabilities, STATIONS, np.arange(len(probabilities)) * step_mm)
    return [{name for name, value in zip(STATIONS, row, strict=True) if value} for row in shown]


def test_a_slice_between_others_gives_way():
    assert order(look("chest", "chest", "pelvis", "chest", "chest"), 5.0) == [{"chest"}] * 5


def test_the_body_is_passed_in_order_and_never_back():
    seen = order(look("pelvis", "pelvis", "abdomen", "pelvis", "abdomen", "chest", "chest"))
    places = [max(STATIONS[::-1].index(name) for name in each) for each in seen]
    assert places == sorted(places)
    assert (seen[0], seen[-1]) == ({"pelvis"}, {"chest"})


def test_one_slice_may_show_two_neighbours():
    both = np.where(np.isin(STATIONS, ["chest", "abdomen"]), 0.9, 0.05)
    assert order(np.stack([both] * 3))[1] == {"chest", "abdomen"}


def test_stations_that_are_no_neighbours_never_share_a_slice():
    odd = np.where(np.isin(STATIONS, ["head", "pelvis"]), 0.9, 0.05)
    assert len(order(np.stack([odd] * 3))[0]) == 1


def test_upper_limbs_show_throughout_or_not_at_all():
    assert order(look("upper limb", "upper limb", "lower body", "upper limb")) == [{"upper limb"}] * 4
    assert order(look("chest", "chest", "upper limb", "chest", "chest"), 5.0) == [{"chest"}] * 5


def test_a_wide_gap_lets_stations_be_skipped():
    assert order(look("lower body", "head"), 900.0) == [{"lower body"}, {"head"}]


def test_thin_slices_count_as_thick_ones_together():
    seen = look("chest", "chest", "chest", "abdomen", "abdomen")
    thick, thin = order(seen, 10.0), order(np.repeat(seen, 10, axis=0), 1.0)
    assert thin[5::10] == thick


@pytest.mark.parametrize("count", [1, 2])
def test_short_series_are_no_trouble(count):
    assert order(look(*["head"] * count)) == [{"head"}] * count


def test_some_stations_can_be_missing():
    shown = order_stations(np.array([[0.9, 0.1]]), ["chest", "abdomen"], [0.0])
    assert shown.tolist() == [[True, False]]


def test_close_slices_are_averaged():
    values = np.array([[0.0], [1.0], [0.5]])
    assert average_near(values, [0.0, 4.0, 20.0]).ravel().tolist() == [0.5, 0.5, 0.5]
    assert average_near(values, [0.0, 6.0, 20.0]).tolist() == values.tolist()


def test_averages_take_memory_in_proportion_to_the_series():
    count = 4_000
    tracemalloc.start()
    averaged = average_near(np.ones((count, 2)), np.arange(count) * 2.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (averaged == 1).all()
    assert peak < 1000 * count


def test_slices_in_any_order_have_the_same_neighbours():
    rng = np.random.default_rng(0)
    values, places = rng.random((30, 3)), rng.integers(0, 40, 30) * 1.1
    near = np.abs(places[:, None] - places) <= 5.0
    expected = [values[row].mean(0) for row in near]
    np.testing.assert_allclose(average_near(values, places), expected, rtol=1e-12)


@st.composite
def series(draw):
    """Probabilities of all stations [D, L], and places in half millimetres, ascending."""
    count = draw(st.integers(1, 12))
    shape = (count, len(STATIONS))
    values = draw(arrays.arrays(np.float64, shape, elements=st.floats(0, 1, width=32)))
    steps = draw(st.lists(st.integers(0, 60), min_size=count, max_size=count))
    return values, np.cumsum(steps) / 2


@pytest.mark.slow
@settings(max_examples=50, deadline=None, database=None)
@given(series(), st.randoms(use_true_random=False))
def test_averages_stay_between_the_values_and_know_no_order(case, random):
    values, places = case
    averaged = average_near(values, places)
    assert (averaged <= values.max(0) + 1e-12).all()
    assert (averaged >= values.min(0) - 1e-12).all()
    order = list(range(len(values)))
    random.shuffle(order)
    for turned in (order, order[::-1]):
        np.testing.assert_allclose(average_near(values[turned], places[turned]), averaged[turned], atol=1e-12)


@pytest.mark.slow
@settings(max_examples=50, deadline=None, database=None)
@given(series(), st.floats(0.1, 0.9))
def test_smoothing_never_raises_a_confidence(case, least):
    values, places = case
    found = Probabilities(STATIONS, values)
    for smoothing in ("ordered", "averaged", None):
        shown = name_stations(found, places, smoothing, least)
        organs = name_organs(found, places, smoothing, least)
        assert (values.max(0)[shown.any(0)] >= least - 1e-12).all()
        assert (values.max(0)[organs.any(0)] >= least - 1e-12).all()
        assert not shown[:, values.max(0) < least - 1e-12].any()
        for column, own in zip(shown.T, values.T, strict=True):
            if column.all():
                assert own.mean() >= least - 1e-12


@settings(max_examples=50, deadline=None, database=None)
@given(series(), st.floats(0.1, 0.9))
def test_slices_side_by_side_are_named_alike_from_both_ends(case, least):
    values, places = case
    there = name_stations(Probabilities(STATIONS, values), places, "averaged", least)
    back = name_stations(Probabilities(STATIONS, values[::-1]), places[::-1], "averaged", least)
    sure = np.abs(values.mean(0) - least) > 1e-9
    assert np.array_equal(there[:, sure], back[::-1][:, sure])


def test_between_near_slices_no_station_is_jumped_over():
    """However sure each slice is: a body has no pelvis next to its head."""
    seen = order(look(*["pelvis"] * 6, *["head"] * 6, sure=0.99))
    assert (seen[0], seen[-1]) == ({"pelvis"}, {"head"})
    chain = [name for name in STATIONS[::-1] if name in ("pelvis", "abdomen", "chest", "head")]
    places = [[chain.index(name) for name in each] for each in seen]
    assert all(min(after) <= max(before) + 1 for before, after in zip(places, places[1:], strict=False))
    assert {"abdomen", "chest"} <= set.union(*seen)
