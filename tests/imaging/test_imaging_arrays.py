from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vesalius.errors import ImageError, ImageNotice
from vesalius.imaging import MedicalImage, read_image
from vesalius.imaging.read import as_image

RGB = np.random.default_rng(0).random((5, 7, 3)).astype(np.float32)
LEVELS = (RGB * 255).round().astype(np.uint8)
DEEP = (RGB[..., 0] * 40000).astype(np.uint16)


def shown(image, **options) -> np.ndarray:
    return as_image(image, **options).slices()[0].rgb


@pytest.mark.parametrize("levels", [LEVELS, LEVELS[..., 0], LEVELS[..., :1]], ids=["rgb", "grey", "one channel"])
def test_bytes_and_real_numbers_are_shown_alike(levels):
    expected = np.broadcast_to(levels.reshape(5, 7, -1) / 255, (5, 7, 3))
    for image in (levels, levels / 255, (levels / 255).astype(np.float16)):
        np.testing.assert_allclose(shown(image), expected, atol=1e-3)


@pytest.mark.parametrize("levels", [LEVELS, LEVELS[..., 0], DEEP], ids=["rgb", "grey", "16 bit"])
def test_arrays_and_pillow_s_pictures_are_shown_as_their_file(levels, tmp_path):
    Image.fromarray(levels).save(tmp_path / "a.png")
    expected = read_image(tmp_path / "a.png").slices()[0].rgb
    np.testing.assert_array_equal(shown(levels), expected)
    np.testing.assert_array_equal(shown(Image.fromarray(levels)), expected)
    with Image.open(tmp_path / "a.png") as picture:
        assert as_image(picture).source == tmp_path / "a.png"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "I;16", "F"])
def test_every_mode_of_pillow_is_shown(mode):
    image = as_image(Image.new(mode, (7, 5)))
    assert image.pixels.shape[:3] == (1, 5, 7)
    assert np.isfinite(image.slices()[0].rgb).all()


def test_a_picture_of_pillow_is_turned_upright():
    picture = Image.fromarray(LEVELS)
    picture.getexif()[0x0112] = 6
    np.testing.assert_array_equal(as_image(picture).pixels[0], np.rot90(LEVELS, -1))


def test_byte_order_does_not_matter():
    np.testing.assert_array_equal(shown(DEEP.astype(">u2")), shown(DEEP))


def test_colour_of_16_bit_is_shown_from_0_to_65535():
    np.testing.assert_allclose(shown(np.full((5, 7, 3), 32768, np.uint16)), 0.5, atol=1e-4)


def test_transparency_is_laid_on_black_and_told():
    image = np.dstack([LEVELS, np.full((5, 7), 128, np.uint8)])
    with pytest.warns(ImageNotice, match="transparent pixels shown on black"):
        found = as_image(image)
    np.testing.assert_allclose(found.pixels[0], LEVELS * (128 / 255), atol=1)
    image[..., 3] = 255
    np.testing.assert_array_equal(as_image(image).pixels[0], LEVELS)


@pytest.mark.parametrize("image", [LEVELS, LEVELS / 255, np.stack([LEVELS] * 2)], ids=["bytes", "reals", "colour"])
def test_slices_are_taken_in_order(image):
    found = as_image(image, volume=True)
    assert len(found.slices()) == len(image)
    np.testing.assert_allclose(found.pixels[1], image[1], atol=1e-6)


@pytest.mark.parametrize(
    ("image", "volume", "message"),
    [
        (LEVELS.transpose(2, 0, 1), False, r"\[3, 5, 7\]\. Put its channels last"),
        (np.zeros((9, 5, 7), np.uint8), False, r"\[9, 5, 7\]\. For a volume, use segment_volume"),
        (np.zeros((0, 4), np.uint8), False, r"shape \[0, 4\]"),
        (np.zeros(4, np.uint8), False, r"shape \[4\]"),
        (np.zeros((4, 4), np.uint8), True, r"Expected slices \[D, H, W\].*shape \[4, 4\]"),
        (np.dstack([RGB, RGB[..., :1]]), False, "RGBA is taken as uint8 only, got float32"),
        (np.zeros((2, 4, 4), np.int16), True, "got int16; .*MedicalImage"),
        (np.zeros((4, 4), np.complex64), False, "got complex64"),
        ([[1, 2], [3, 4]], False, "Expected a path, a MedicalImage, an array or a Pillow picture, got list"),
        (Image.new("L", (0, 4)), False, "has 0 × 4 pixels"),
    ],
)
def test_what_is_no_picture_is_refused_with_what_was_expected(image, volume, message):
    with pytest.raises(ImageError, match=message):
        as_image(image, volume=volume)


@pytest.mark.parametrize(
    ("image", "got"),
    [
        ((RGB * 255).astype(np.int32), "got int32"),
        (RGB > 0.5, "got bool"),
        (RGB * 255, "got values from 0"),
        (RGB - 0.5, "got values from -0"),
        (np.where(RGB > 0.5, np.nan, RGB), "got NaN or infinite values"),
        (np.where(RGB > 0.5, np.inf, RGB), "got NaN or infinite values"),
    ],
)
def test_arrays_of_other_numbers_are_refused_with_what_was_expected_and_got(image, got):
    with pytest.raises(ImageError, match=rf"Expected numbers as uint8 .* from 0 to 1, {got}"):
        as_image(image)


def test_images_are_told_in_a_line_without_their_pixels():
    affine = np.diag([5.0, -0.7, -0.7, 1.0])[[2, 1, 0, 3]]
    image = MedicalImage(np.zeros((2, 3, 4), np.float32), Path("a/scan.dcm"), affine, modality="CT", plane="axial")
    assert repr(image) == "MedicalImage('scan.dcm': CT, axial, 2×3×4 float32, 5 × 0.7 × 0.7 mm)"
    assert repr(image.slices()) == "SliceStack(2 slices, axial, 3×4)"
    assert repr(image.slices()[1]) == "Slice(1, axial, 3×4×3)"
