"""A model that tells what it is shown from brightness, and series of known content."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from vesalius.imaging import MedicalImage
from vesalius.models import VisionLanguageEncoder
from vesalius.models.encoder import EncoderSpec, ImageFeatures, TextFeatures
from vesalius.naming import AnatomyLabeller
from vesalius.naming.phrasebook import LABELS, label_phrases
from vesalius.prompts.anatomy import STATIONS, phrases_of

ORGAN_OF = {"head": "brain", "chest": "lungs", "abdomen": "liver", "pelvis": "pelvic bone", "lower body": "knee"}
LEVELS = {station: (place + 1) / 8 for place, station in enumerate(STATIONS)}
"""Brightness that the model takes for a station; black is nothing."""


class Clairvoyant(VisionLanguageEncoder):
    """Every label is a direction; an image is the sum of its station's, its organ's, MR's and sagittal's."""

    def __init__(self) -> None:
        super().__init__(EncoderSpec(8), lambda prompts: prompts)
        self.anchor = nn.Parameter(torch.zeros(1))
        labels = [(question, label) for question, names in LABELS.items() for label in names]
        self.rows = {text: row for row, each in enumerate(labels) for text in label_phrases(*each)}
        self.asked = 0
        self.seen = 0

    def encoder_modules(self, part):
        return []

    def encode_pixels(self, pixel_values):
        raise NotImplementedError

    def encode_tokens(self, input_ids, attention_mask):
        raise NotImplementedError

    def encode_text(self, prompts):
        self.asked += len(prompts)
        return TextFeatures(torch.eye(max(self.rows.values()) + 1)[[self.rows[prompt] for prompt in prompts]])

    def encode_image(self, images):
        self.seen += len(images)
        return ImageFeatures(torch.stack([self._tell(image.mean().item()) for image in images]), ())

    def _tell(self, brightness):
        vector = torch.full((max(self.rows.values()) + 1,), 1e-3)
        if brightness < 0.05:
            return vector
        station = min(LEVELS, key=lambda name: abs(LEVELS[name] - brightness))
        for text in ("a CT image", "an MR T1 image", "an axial slice", phrases_of("station")[station][0]):
            vector[self.rows[text]] = 1.0
        if station in ORGAN_OF:
            vector[self.rows[phrases_of("organ")[ORGAN_OF[station]][0]]] = 1.0
        return vector


@pytest.fixture
def clairvoyant() -> Clairvoyant:
    return Clairvoyant()


@pytest.fixture
def labeller(clairvoyant) -> AnatomyLabeller:
    return AnatomyLabeller(clairvoyant)


def make_volume(
    *stations: str | None, plane: str | None = "axial", step_mm: float = 20.0, **facts: object
) -> MedicalImage:
    """A series whose slices show these stations, nothing (None), or hold one value throughout ("blank")."""
    levels = [LEVELS.get(station, 0.0) for station in stations]
    pixels = np.repeat(np.round(np.array(levels) * 255), 64).reshape(len(levels), 8, 8).astype(np.uint8)
    pixels[:, 0, 0] += np.array([0 if station == "blank" else 2 for station in stations], np.uint8)
    affine = np.diag([0.0, 0.0, 0.0, 1.0])
    axes = {"axial": (2, 1, 0), "coronal": (1, 2, 0), "sagittal": (0, 2, 1)}[plane or "axial"]
    for column, (axis, size) in enumerate(zip(axes, (step_mm, -1.0, -1.0), strict=True)):
        affine[axis, column] = size
    known = {"source": Path("made/up"), "affine": affine, "plane": plane, "modality": "OT", "window": (128.0, 256.0)}
    return MedicalImage(pixels, **{**known, **facts})


@pytest.fixture(name="make_volume")
def _make_volume():
    return make_volume
