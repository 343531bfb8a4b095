"""Where labels begin and end along the body."""

from dataclasses import replace

import numpy as np
import pytest

from vesalius.naming.labels import Answer, SliceName
from vesalius.naming.landmarks import find_landmarks

AFFINE = np.array([[0, 0, -1, 4], [0, -1, 0, 4], [10, 0, 0, -50], [0, 0, 0, 1.0]])
NOTHING = Answer(None, None, "pixels")


@pytest.fixture
def mark(make_volume):
    """Landmarks of an axial series whose slices, 10 mm apart from z = -50, show the chest so surely."""

    def mark(*chest, threshold=0.5, shown=None, affine=AFFINE, step=1.0, **facts):
        affine = affine.copy()
        affine[2, 0] *= step
        image = make_volume(*["chest"] * len(chest), affine=affine, **facts)
        named = shown or [value >= threshold for value in chest]
        slices = [
            SliceName(place, 10.0 * step * place, "axial", NOTHING, ("chest",) if there else (), (), {"chest": value})
            for place, (value, there) in enumerate(zip(chest, named, strict=True))
        ]
        return find_landmarks(slices, image, threshold)

    return mark


def test_an_edge_lies_where_the_probability_crosses_the_threshold(mark):
    (chest,) = mark(0.1, 0.2, 0.8, 0.9, 0.9, 0.1)
    assert (chest.kind, chest.label, chest.first, chest.last) == ("station", "chest", 2, 4)
    assert (chest.low.mm, chest.low.kind, chest.low.within_mm) == (pytest.approx(-35), "crosses", 10)
    assert (chest.high.mm, chest.high.kind) == (pytest.approx(-5), "crosses")
    assert chest.probability == pytest.approx(2.6 / 3)


def test_where_the_series_ends_the_label_may_go_on(mark):
    (chest,) = mark(0.9, 0.9, 0.9)
    assert [(edge.mm, edge.kind, edge.within_mm) for edge in (chest.low, chest.high)] == [
        (-50, "series ends", None), (-30, "series ends", None),
    ]  # fmt: skip


def test_an_edge_that_the_probability_passes_slowly_is_uncertain(mark):
    (chest,) = mark(0.1, 0.3, 0.4, 0.6, 0.7, 0.9)
    assert (chest.low.kind, chest.low.within_mm, chest.low.mm) == ("uncertain", 50, pytest.approx(-25))


def test_an_edge_that_only_the_order_of_the_body_decided_is_uncertain(mark):
    (chest,) = mark(0.1, 0.6, 0.9, 0.9, shown=[False, False, True, True])
    assert (chest.low.kind, chest.low.mm) == ("uncertain", pytest.approx(-35))


def test_slices_far_apart_make_no_sure_edge(mark):
    (chest,) = mark(0.0, 1.0, 1.0, step=5)
    assert (chest.low.kind, chest.low.within_mm) == ("uncertain", 50)


def test_a_label_that_is_interrupted_has_two_stretches(mark):
    assert [(each.first, each.last) for each in mark(0.9, 0.1, 0.9, 0.9)] == [(0, 0), (2, 3)]


def test_neighbours_within_ten_millimetres_are_averaged(mark):
    (chest,) = mark(0.9, 0.9, 0.9, 0.0, 0.0, 0.0, step=0.5)
    assert chest.high.mm == pytest.approx(-50 + 10 + 5 / 3)  # (0.6 - 0.5) / (0.6 - 0.3) of the way


@pytest.mark.parametrize("facts", [{"plane": "coronal", "affine": np.diag([1.0, 10, 1, 1])[[2, 0, 1, 3]]}, {}])
def test_only_axial_series_have_landmarks(labeller, make_volume, facts):
    named = labeller.label(make_volume("chest", "chest", **({"plane": "coronal"} if facts else {})))
    assert bool(named.landmarks) != bool(facts)


def test_places_are_those_of_the_patient_even_in_oblique_slices(labeller, make_volume):
    turned = np.array([[0, 0, -1, 0], [6.0, -0.8, 0, 0], [8.0, 0.6, 0, 100], [0, 0, 0, 1]])
    named = labeller.label(make_volume("chest", "chest", affine=turned))
    (chest,) = [each for each in named.landmarks if each.kind == "station"]
    assert (chest.low.mm, chest.high.mm) == (pytest.approx(100 + 0.6 * 3.5), pytest.approx(108 + 0.6 * 3.5))
    assert named.slices[1].position_mm != pytest.approx(chest.high.mm)


def test_localizers_and_pictures_have_none(labeller, make_volume):
    picture = make_volume("chest", affine=None, plane=None)
    scout = [make_volume("chest", "chest", header={"ImageType": "ORIGINAL\\PRIMARY\\LOCALIZER"})] * 2
    assert labeller.label(picture).landmarks == labeller.label(scout).landmarks == ()
    assert replace(labeller.label(picture), landmarks=()).to_dict()["landmarks"] == ()


def test_an_edge_between_unevenly_spaced_slices_lies_where_they_are(mark):
    (chest,) = mark(0.2, 0.8, 0.8, slice_steps=(0.0, 1.5, 2.0))
    assert (chest.low.mm, chest.low.within_mm) == (pytest.approx(-42.5), pytest.approx(15))
