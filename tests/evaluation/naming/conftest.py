"""Made-up scores of labels, and slices that a made-up model has encoded."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vesalius.evaluation.naming.encoding import EncodedSlices
from vesalius.evaluation.naming.label_scores import LabelScores, NamingSettings
from vesalius.evaluation.statistics import Bootstrap
from vesalius.prompts.anatomy import AnatomyLabel

MakeCase = Callable[..., LabelScores]
MakeSlices = Callable[..., EncodedSlices]
ORGANS = {"head": "brain", "chest": "lungs", "abdomen": "liver", "pelvis": "pelvic bone"}


@pytest.fixture(scope="session")
def few() -> NamingSettings:
    """Few draws, and labels of three patients count."""
    return NamingSettings(min_patients=3, bootstrap=Bootstrap(resamples=100))


@pytest.fixture(scope="session")
def make_case() -> MakeCase:
    """Random truth and scores that are the higher the likelier a label shows; patients have two images each."""

    def make(
        images: int = 40, labels: int = 3, *, seed: int = 0, signal: float = 2.0, uncertain: float = 0.1, who: str = "p"
    ) -> LabelScores:
        rng = np.random.default_rng(seed)
        truth = (rng.random((images, labels)) < 0.4).astype(np.int8)
        scores = signal * truth + rng.normal(size=truth.shape)
        truth[rng.random(truth.shape) < uncertain] = -1
        return LabelScores(
            labels=tuple(f"label {number}" for number in range(labels)),
            scores=scores,
            truth=truth,
            patients=tuple(f"{who}{number // 2}" for number in range(images)),
            groups=tuple("CT" if number < images // 2 else "MR" for number in range(images)),
        )

    return make


@pytest.fixture(scope="session")
def make_slices() -> MakeSlices:
    """Slices of four stations, each with its organ, as vectors around one direction a station."""

    def make(images: int = 24, *, seed: int = 0, width: int = 64, who: str = "p") -> EncodedSlices:
        rng = np.random.default_rng(seed)
        centres = np.random.default_rng(0).normal(size=(len(ORGANS), width))
        stations = [list(ORGANS)[number % len(ORGANS)] for number in range(images)]
        vectors = np.stack([centres[list(ORGANS).index(each)] for each in stations]) + rng.normal(size=(images, width))
        shown = tuple(
            AnatomyLabel("CT" if number % 3 else "MR", None, "axial", frozenset({each}), frozenset({ORGANS[each]}))
            for number, each in enumerate(stations)
        )
        patients = tuple(f"{who}{number // len(ORGANS)}" for number in range(images))
        return EncodedSlices(F.normalize(torch.from_numpy(vectors).float(), dim=-1), shown, patients)

    return make
