import numpy as np
import pytest

from vesalius.evaluation.naming.fitting import score_by_prevalence
from vesalius.evaluation.naming.measures import top1_in_set


def test_every_image_gets_how_often_known_labels_show(make_case):
    train, case = make_case(uncertain=0.3, seed=3), make_case(images=6)
    scored = score_by_prevalence(train, case)
    shares = [train.present[:, label].sum() / train.known[:, label].sum() for label in range(3)]
    np.testing.assert_allclose(scored.scores, np.tile(shares, (6, 1)))
    assert scored.truth is case.truth


def test_top1_is_that_of_always_naming_the_commonest(make_case):
    case = make_case(uncertain=0)
    commonest = case.present.mean(0).argmax()
    shows = case.present.any(1)
    expected = case.present[shows, commonest].mean()
    assert np.nanmean(top1_in_set(score_by_prevalence(case, case))) == pytest.approx(expected)
