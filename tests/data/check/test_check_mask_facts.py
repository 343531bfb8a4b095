import io

import numpy as np
import pytest
from PIL import Image

from vesalius.data.check.facts import ValueKind, examine_mask

DISC = np.hypot(*(np.mgrid[:64, :80] - np.array([30, 40])[:, None, None])) < 20


def jpeg(levels: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, "JPEG", quality=75)
    return np.asarray(Image.open(buffer))


BLACK_AND_WHITE = DISC.astype(np.uint8) * 255
CASES = {
    "0 and 255": (BLACK_AND_WHITE, ValueKind.BINARY),
    "0 and 1": (DISC.astype(np.uint8), ValueKind.BINARY),
    "16 bit": (DISC.astype(np.uint16) * 65535, ValueKind.BINARY),
    "nothing": (np.zeros((8, 8), np.uint8), ValueKind.BINARY),
    "everything": (np.full((8, 8), 255, np.uint8), ValueKind.BINARY),
    "white in three channels": (np.stack([BLACK_AND_WHITE] * 3, axis=2), ValueKind.BINARY),
    "JPEG": (jpeg(BLACK_AND_WHITE), ValueKind.ARTEFACTS),
    "labels": (DISC.astype(np.uint8) + (np.arange(80) > 40).astype(np.uint8), ValueKind.LABELS),
    "0 and 255 in 16 bit": (DISC.astype(np.uint16) * 255, ValueKind.LABELS),
    "a photograph": (np.linspace(0, 255, 64 * 80).reshape(64, 80).astype(np.uint8), ValueKind.PICTURE),
    "a photograph in colour": (np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8), ValueKind.PICTURE),
    "red and green": (jpeg(np.dstack([BLACK_AND_WHITE, 255 - BLACK_AND_WHITE, 0 * BLACK_AND_WHITE])), ValueKind.COLOUR),
    "red and green, pure": (np.dstack([BLACK_AND_WHITE, 255 - BLACK_AND_WHITE, 0 * BLACK_AND_WHITE]), ValueKind.COLOUR),
}


@pytest.mark.parametrize("case", CASES)
def test_values_are_told_apart(tmp_path, case):
    levels, kind = CASES[case]
    Image.fromarray(levels).save(tmp_path / "mask.png")
    assert examine_mask(tmp_path / "mask.png").kind is kind


def test_share_values_and_size_are_those_of_the_file(tmp_path):
    Image.fromarray(CASES["labels"][0]).save(tmp_path / "mask.png")
    facts = examine_mask(tmp_path / "mask.png")
    assert facts.size == (64, 80)
    assert facts.values == (0, 1, 2)
    assert facts.share == 0  # read as training reads it: no value is in the upper half
    assert facts.between == 0  # 1 and 2 of 255 are near black
