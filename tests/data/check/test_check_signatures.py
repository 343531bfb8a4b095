import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from vesalius.data.check.similar import signature


def similarity(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sum(signature(one) * signature(other)))


def jpeg(picture: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=30)
    return Image.open(buffer)


CHANGES = {
    "JPEG": jpeg,
    "half the size": lambda picture: picture.resize((picture.width // 2, picture.height // 2)),
    "brighter": lambda picture: picture.point(lambda value: min(255, int(1.3 * value))),
    "less contrast": lambda picture: picture.point(lambda value: 60 + value // 2),
    "blurred": lambda picture: picture.filter(ImageFilter.GaussianBlur(1)),
    "grey": lambda picture: picture.convert("L"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_keeps_its_signature(draw, change):
    picture = Image.fromarray((draw(1) * 255).astype(np.uint8)).resize((240, 180))
    assert similarity(np.asarray(picture), np.asarray(CHANGES[change](picture))) > 0.95


def test_other_pictures_have_other_signatures(draw):
    pictures = [(draw(seed) * 255).astype(np.uint8) for seed in range(12)]
    others = [similarity(a, b) for index, a in enumerate(pictures) for b in pictures[:index]]
    assert max(others) < 0.6


def test_a_signature_has_length_one_and_a_blank_picture_none(draw):
    assert np.linalg.norm(signature((draw(1) * 255).astype(np.uint8))) == pytest.approx(1, abs=1e-5)
    assert not signature(np.full((5, 7), 9, np.uint8)).any()


def test_a_picture_of_one_pixel_has_a_signature():
    assert signature(np.zeros((1, 1, 3), np.uint8)).shape == (24, 24)
