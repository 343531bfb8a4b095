import numpy as np
import pytest

from vesalius.naming.phrasebook import LABELS, Calibration, Phrasebook, label_phrases
from vesalius.prompts.anatomy import ORGANS, STATIONS, phrases_of
from vesalius.runtime.torch import TorchRuntime


@pytest.mark.parametrize("question", LABELS)
def test_labels_are_asked_in_different_words(question):
    asked = [label_phrases(question, label) for label in LABELS[question]]
    assert all(len(set(texts)) == len(texts) >= 2 for texts in asked)
    assert len({text for texts in asked for text in texts}) == sum(map(len, asked))


def test_uncalibrated_labels_share_their_probability(clairvoyant):
    book = Phrasebook(TorchRuntime(clairvoyant), Calibration({}))
    odds = book.odds(np.random.default_rng(0).random((3, max(clairvoyant.rows.values()) + 1), np.float32))
    assert odds["organs"].shape == (3, len(ORGANS))
    shares = book.probabilities("stations", odds["stations"])
    assert shares.shape == (3, len(STATIONS))
    assert shares.sum(1) == pytest.approx(1)


def test_stations_and_organs_are_asked_in_captions_too():
    assert len(label_phrases("organs", "liver")) > len(phrases_of("organ")["liver"])
    assert label_phrases("plane", "axial") == phrases_of("plane")["axial"]
