from pathlib import Path

import numpy as np
import pytest
import torch

from vesalius.imaging import MedicalImage
from vesalius.models.zero_shot import label_logits, phrase_vectors
from vesalius.naming import AnatomyLabeller, Answer, SeriesName, SliceName
from vesalius.prompts import ASPECTS, AnatomyLabel, anatomy_phrases
from vesalius.training.naming import UNKNOWN, NamingConfig, encode_labels, fit_naming

PICTURE = np.random.default_rng(0).integers(0, 255, (1, 40, 48), dtype=np.uint8)
VOLUME = np.random.default_rng(1).random((3, 40, 48)).astype(np.float32)


@pytest.fixture
def model(build_tiny):
    return build_tiny("pocket")


def series(*stations: str | None) -> SeriesName:
    unknown = Answer(None, None, "pixels")
    slices = tuple(
        SliceName(index, 3.0 * index, Answer(station, 0.9, "pixels")) for index, station in enumerate(stations)
    )
    return SeriesName(Path("x"), unknown, unknown, slices)


def test_the_header_goes_before_the_pixels(model):
    image = MedicalImage(VOLUME, source=Path("x"), affine=np.eye(4), modality="MR", plane="coronal")
    named = AnatomyLabeller(model).label(image)
    assert named.modality == Answer("MR", None, "header")
    assert named.plane == Answer("coronal", None, "header")
    assert [each.index for each in named.slices] == [0, 1, 2]
    assert {each.station.source for each in named.slices} == {"pixels"}


def test_a_radiograph_has_no_plane(model):
    named = AnatomyLabeller(model).label(MedicalImage(PICTURE, source=Path("x"), modality="DX"))
    assert named.modality.label == "X-ray"
    assert named.plane.label is None


def test_no_label_is_given_under_one_half(model):
    named = AnatomyLabeller(model).label(MedicalImage(PICTURE, source=Path("x")))
    answers = [named.modality, *(each.station for each in named.slices)]
    assert all((answer.label is None) == (answer.probability < 0.5) for answer in answers)


def test_neighbouring_slices_of_a_station_form_a_range():
    ranges = series("head", "head", None, "chest", "head").stations
    assert [(each.station, each.first, each.last) for each in ranges] == [
        ("head", 0, 1), (None, 2, 2), ("chest", 3, 3), ("head", 4, 4),
    ]  # fmt: skip
    assert (ranges[0].first_mm, ranges[0].last_mm) == (0.0, 3.0)


def test_progress_counts_every_slice(model):
    counts = []
    AnatomyLabeller(model).label(MedicalImage(np.repeat(PICTURE, 20, 0), source=Path("x")), on_slices=counts.append)
    assert sum(counts) == 20
    assert len(counts) == 2


def test_every_aspect_has_labels_with_phrases():
    phrases = anatomy_phrases()
    assert tuple(phrases) == ASPECTS
    assert all(len(labels) > 1 and all(labels.values()) for labels in phrases.values())


def test_phrase_vectors_are_unit_means(model):
    vectors = phrase_vectors(model, {"a": ("one phrase", "another"), "b": ("a third",)})
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(2))
    mean = model.encode_text(["one phrase", "another"]).embedding.mean(0)
    torch.testing.assert_close(vectors[0], mean / mean.norm())


def test_training_the_projection_separates_features_and_touches_nothing_else(model):
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(2, 432, generator=generator)
    pooled = centres.repeat_interleave(20, 0) + 0.1 * torch.randn(40, 432, generator=generator)
    labels = [AnatomyLabel.partial("CT", plane="axial", stations=["head"])] * 20
    labels += [AnatomyLabel.partial("MR", stations=["chest"])] * 20
    before = {key: value.clone() for key, value in model.state_dict().items()}
    losses = fit_naming(model, pooled, labels, NamingConfig(epochs=60, batch_size=16))
    assert losses[-1] < losses[0] / 2
    with torch.no_grad():
        vectors = phrase_vectors(model, anatomy_phrases()["modality"])
        guesses = label_logits(model.projection(pooled), vectors).argmax(1)
    assert (guesses == encode_labels(labels, "modality")).float().mean() > 0.9
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {key for key in before if key.startswith("projection.")}


def test_unknown_labels_are_left_out():
    targets = encode_labels([AnatomyLabel("MR"), AnatomyLabel()], "modality")
    assert targets.tolist() == [list(anatomy_phrases()["modality"]).index("MR"), UNKNOWN]
