"""Files, folders and arrays as images, and what readers refuse."""

import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from vesalius.errors import ImageError, ImageNotice, MissingPackageError
from vesalius.imaging import MedicalImage, read_image
from vesalius.imaging.formats import IMAGE_SUFFIXES, has_dicom_mark, read_start, reading, visible_files
from vesalius.imaging.memory import as_image
from vesalius.imaging.search import find_series

GREY = np.arange(24, dtype=np.uint8).reshape(4, 6)


def test_pictures_are_known_by_content_whatever_their_suffix(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.dat", format="PNG")
    np.testing.assert_array_equal(read_image(tmp_path / "a.dat").pixels[0], GREY)


@pytest.mark.parametrize("name", ["a.dcm", "IM0001", "a.png"])
def test_dicom_is_known_by_content_whatever_its_name(write_dicom, name):
    np.testing.assert_array_equal(read_image(write_dicom(name, GREY, Modality="OT")).pixels[0], GREY)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "A.NII.GZ", "a.mgz"])
def test_volumes_are_known_by_suffix(tmp_path, name):
    kind = nib.MGHImage if name.endswith("mgz") else nib.Nifti1Image
    nib.save(kind(np.zeros((3, 4, 5), np.uint8), np.eye(4)), tmp_path / name)
    assert read_image(tmp_path / name).pixels.shape == (5, 4, 3)


def test_a_folder_is_read_as_a_series(write_series):
    image = read_image(write_series([0.0, 3.0]))
    assert image.pixels.shape == (2, 4, 6)
    assert image.source.name == "series"


def test_paths_may_be_text(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    assert read_image(str(tmp_path / "a.png")).source == tmp_path / "a.png"


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(ImageError, match=r"none\.png: no such file or folder"):
        read_image(tmp_path / "none.png")


@pytest.mark.parametrize("name", ["a.png", "a.dcm", "a.nii.gz", "a"])
def test_empty_files_are_refused(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(ImageError, match=f"{name}: is empty"):
        read_image(tmp_path / name)


@pytest.mark.parametrize("name", ["a.txt", "a.png", "a.dcm", "a.nii", "a.mgz"])
def test_files_of_other_kinds_are_refused_by_name(tmp_path, name):
    (tmp_path / name).write_text("no image at all")
    with pytest.raises(ImageError, match=f"{name}: "):
        read_image(tmp_path / name)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ImageError, match="is an empty folder"):
        read_image(tmp_path)


def test_a_folder_of_pictures_asks_for_one_of_them(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"holds no DICOM image; name .* a single picture file"):
        read_image(tmp_path)


def test_a_missing_package_is_named(write_dicom, monkeypatch):
    path = write_dicom("a.dcm", GREY)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    for name in ("dicom", "dicom_file"):
        monkeypatch.delitem(sys.modules, f"vesalius.imaging.{name}", raising=False)
    with pytest.raises(MissingPackageError, match="needs pydicom, which is not installed"):
        read_image(path)


@pytest.mark.slow
def test_pictures_need_neither_pydicom_nor_nibabel(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    program = (
        "import sys; sys.modules.update(pydicom=None, nibabel=None)\n"
        "from vesalius.imaging import read_image\n"
        f"assert read_image({str(tmp_path / 'a.png')!r}).pixels.shape == (1, 4, 6)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


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


@pytest.mark.filterwarnings("ignore:.*transparent pixels:vesalius.errors.ImageNotice")
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


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_a_transparent_picture_in_memory_is_told_as_its_file_is(mode, tmp_path):
    picture = Image.new(mode, (7, 5))
    picture.save(tmp_path / "a.png")
    with pytest.warns(ImageNotice, match="transparent pixels laid on black"):
        found = as_image(picture).notices
    with pytest.warns(ImageNotice, match="transparent pixels laid on black"):
        assert found == as_image(tmp_path / "a.png").notices


@pytest.mark.parametrize("image", [LEVELS, DEEP, RGB], ids=["8 bits", "16 bits", "reals"])
def test_an_array_that_is_filled_anew_leaves_its_image_alone(image):
    buffer = image.copy()
    found = as_image(buffer)
    buffer[...] = 0
    np.testing.assert_allclose(np.squeeze(found.pixels), image, atol=1e-6)


@pytest.mark.parametrize("image", [LEVELS, LEVELS / 255, np.stack([LEVELS] * 2)], ids=["bytes", "reals", "colour"])
def test_slices_are_taken_in_order(image):
    found = as_image(image, volume=True)
    assert len(found.slices()) == len(image)
    np.testing.assert_allclose(found.pixels[1], image[1], atol=1e-6)


@pytest.mark.parametrize(
    ("image", "volume", "message"),
    [
        (LEVELS.transpose(2, 0, 1), False, r"\[3, 5, 7\]\. Put its channels last.* MedicalImage"),
        (np.zeros((9, 5, 7), np.uint8), False, r"\[9, 5, 7\]\. For a volume, .* to name one, make a MedicalImage"),
        (np.zeros((0, 4), np.uint8), False, r"shape \[0, 4\]"),
        (np.zeros(4, np.uint8), False, r"shape \[4\]"),
        (np.zeros((4, 4), np.uint8), True, r"Expected slices \[D, H, W\].*shape \[4, 4\]"),
        (np.dstack([RGB, RGB[..., :1]]), False, "RGBA is taken as uint8 only, got float32"),
        (np.zeros((2, 4, 4), np.int16), True, "got int16; .*MedicalImage"),
        (np.zeros((4, 4), np.complex64), False, "got complex64"),
        (np.ma.masked_invalid([[0.5, np.nan]]), False, r"got a masked one; fill it first: image\.filled\(0\)"),
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


def test_suffixes_cover_every_family_in_lower_case():
    assert {".png", ".jpg", ".dcm", ".nii.gz", ".mgz"} <= set(IMAGE_SUFFIXES)
    assert all(suffix == suffix.lower() for suffix in IMAGE_SUFFIXES)


@pytest.mark.parametrize(
    ("content", "marked"),
    [(b"\0" * 128 + b"DICM" + b"more", True), (b"DICM", False), (b"\0" * 132, False), (b"", False)],
)
def test_the_mark_stands_after_the_preamble(tmp_path, content, marked):
    (tmp_path / "a").write_bytes(content)
    assert has_dicom_mark(read_start(tmp_path / "a")) is marked


def test_what_cannot_be_opened_is_named(tmp_path):
    with pytest.raises(ImageError, match="none: cannot be opened"):
        read_start(tmp_path / "none")


def test_folders_that_cannot_be_listed_are_told(tmp_path, lock_folder):
    for name in ("a/1.png", "b/2.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    lock_folder(tmp_path / "b")
    with pytest.warns(ImageNotice, match=r"b: cannot be listed \(Permission denied\).* Its files are left out"):
        assert visible_files(tmp_path) == [tmp_path / "a" / "1.png"]
    unlisted = {}
    visible_files(tmp_path, unlisted)
    assert list(unlisted) == [tmp_path / "b"]


def test_folders_that_may_not_be_entered_are_told(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").touch()

    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "is_file", refuse)
    with pytest.warns(ImageNotice, match=r"a: cannot be listed"):
        assert visible_files(tmp_path) == []


@pytest.mark.parametrize(
    ("start", "name", "kind"),
    [
        (b"\x89HDF\r\n\x1a\n", "a.mnc", "HDF5, as MINC 2"),
        (b"\x89HDF\r\n\x1a\n", "a.nii", "HDF5, as MINC 2"),
        (b"CDF\x01", "a.mnc", "NetCDF, as MINC 1"),
        (b"NRRD0004\n", "a.nrrd", "NRRD"),
        (b"ObjectType = Image\n", "a.mha", "MetaImage"),
        (b"%PDF-1.7", "a.pdf", "PDF"),
    ],
)
def test_sound_files_of_other_formats_are_called_what_they_are_and_how_to_convert_them(tmp_path, start, name, kind):
    (tmp_path / name).write_bytes(start + b"\0" * 400)
    with pytest.raises(ImageError, match=rf"{name}: is {kind}.*; convert it to NIfTI or PNG first \(") as caught:
        read_image(tmp_path / name)
    assert "damaged" not in str(caught.value)


@pytest.mark.parametrize(
    "error", [AttributeError("x"), KeyError("x"), RecursionError("x"), OverflowError(), MemoryError()]
)
def test_any_exception_of_a_reader_becomes_ours_and_names_the_file(tmp_path, error):
    with pytest.raises(ImageError, match="a.png: .*picture"), reading(tmp_path / "a.png", "a picture"):
        raise error


@pytest.mark.parametrize("place", ["http://host/a.png", "S3://bucket/a.dcm"])
def test_an_address_is_no_path(place):
    for read in (read_image, find_series):
        with pytest.raises(ImageError, match=r"a\.\w+: is an address, and only files and folders are read"):
            read(Path(place))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_said_to_be_one(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"a\.png: is a pipe or a device, .*write it into a file first"):
        read_image(tmp_path / "a.png")
