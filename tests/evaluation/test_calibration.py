import numpy as np
import pytest
from torch import from_numpy
from torchmetrics.functional.classification import binary_calibration_error

from vesalius.evaluation.calibration import BINS, Reliability
from vesalius.evaluation.statistics import Bootstrap

FEW = Bootstrap(resamples=200)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def draw(rng: np.random.Generator, images: int, *, bent: float = 1.0) -> Reliability:
    """Images whose pixels are inside as often as stated, or as often as ``stated ** bent``."""
    rows = []
    for _ in range(images):
        stated = rng.random((40, 50))
        rows.append(Reliability.count(stated, rng.random(stated.shape) < stated**bent))
    return Reliability.join(rows)


def test_errors_are_those_worked_out_by_hand():
    seen = Reliability.count(np.array([0.95, 0.95, 0.95, 0.95, 0.05]), np.array([True, True, True, False, False]))
    assert seen.ece() == pytest.approx((4 * abs(0.95 - 0.75) + 0.05) / 5)
    assert seen.brier() == pytest.approx((3 * 0.05**2 + 0.95**2 + 0.05**2) / 5)
    low, high = seen.curve()
    assert (low.count, low.stated, low.observed) == (1, pytest.approx(0.05), 0)
    assert (high.count, high.stated, high.observed) == (4, pytest.approx(0.95), pytest.approx(0.75))


def test_the_error_over_pixels_is_that_of_torchmetrics_where_the_likelier_answer_is_inside(rng):
    # torchmetrics takes the confidence of the likelier class, which is ours above one half.
    stated = (0.5 + 0.5 * rng.random(5000)).astype(np.float32)
    inside = rng.random(5000) < stated**2
    theirs = binary_calibration_error(from_numpy(stated), from_numpy(inside.astype(np.int64)), n_bins=BINS)
    assert Reliability.count(stated, inside).ece() == pytest.approx(theirs.item(), abs=1e-6)


def test_counting_images_one_by_one_is_counting_all_pixels_at_once(rng):
    stated, inside = rng.random((3, 8, 8)), rng.random((3, 8, 8)) < 0.5
    joined = Reliability.join([Reliability.count(*each) for each in zip(stated, inside, strict=True)])
    assert joined.ece() == pytest.approx(Reliability.count(stated, inside).ece())
    assert joined.brier() == pytest.approx(Reliability.count(stated, inside).brier())


def test_who_states_what_happens_has_no_error_and_who_overstates_has(rng):
    clusters = np.arange(20)
    honest, bold = (draw(rng, 20, bent=bent).summarise(clusters, FEW) for bent in (1.0, 2.0))
    assert honest.ece.value < 0.02
    assert bold.ece.value == pytest.approx(1 / 6, abs=0.02)  # the mean of p - p²
    assert bold.ece.low < bold.ece.value < bold.ece.high
    assert all(point.observed < point.stated for point in bold.curve[2:-1])


def test_a_weight_of_two_counts_an_image_twice(rng):
    two = draw(rng, 2)
    again = Reliability.join([two, Reliability(two.counts[:1], two.stated[:1], two.inside[:1], two.squares[:1])])
    weights = np.array([[2.0, 1.0]])
    assert two.ece(weights)[0] == pytest.approx(again.ece())
    assert two.brier(weights)[0] == pytest.approx(again.brier())


def test_what_is_sure_is_left_out_of_the_doubtful_error():
    sure = Reliability.count(np.array([0.0, 1.0]), np.array([False, False]))
    assert sure.ece() == pytest.approx(0.5)
    assert sure.summarise(np.array([0]), FEW).doubtful_ece is None
    both = Reliability.count(np.array([0.0, 1.0, 0.5]), np.array([False, False, True]))
    assert both.ece(doubtful=True) == pytest.approx(0.5)


def test_one_image_has_no_interval(rng):
    assert draw(rng, 1).summarise(np.array([0]), FEW).ece.low is None


def test_probabilities_and_truth_must_fit():
    with pytest.raises(ValueError, match="differ in shape"):
        Reliability.count(np.zeros((2, 2)), np.zeros((2, 3), bool))
