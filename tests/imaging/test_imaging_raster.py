import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from vesalius.errors import ImageError, ImageNotice, OutputError
from vesalius.imaging import read_image
from vesalius.imaging.lazy import LazyPixels
from vesalius.imaging.raster import read_mask, read_pillow, read_raster, write_mask, write_rgb

RNG = np.random.default_rng(0)
GREY8 = RNG.integers(0, 256, (5, 7), dtype=np.uint8)
GREY16 = RNG.integers(0, 65536, (5, 7), dtype=np.uint16)
RGB8 = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("suffix", "values"),
    [
        (".png", GREY8),
        (".png", GREY16),
        (".png", RGB8),
        (".tif", GREY8),
        (".tiff", GREY16),
        (".tif", RGB8),
        (".tif", GREY16.astype(np.float32) / 7),
        (".bmp", GREY8),
        (".bmp", RGB8),
    ],
)
def test_lossless_pictures_are_read_value_by_value(tmp_path, suffix, values):
    path = tmp_path / f"picture{suffix}"
    Image.fromarray(values).save(path)
    image = read_raster(path)
    assert image.pixels.dtype == values.dtype
    assert image.affine is None
    np.testing.assert_array_equal(image.pixels[0], values)


def test_jpeg_is_read_as_pillow_decodes_it(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(RGB8).save(path, quality=95)
    np.testing.assert_array_equal(read_raster(path).pixels[0], np.asarray(Image.open(path)))


@pytest.mark.parametrize(
    ("mode", "shape"), [("1", (5, 7)), ("P", (5, 7, 3)), ("CMYK", (5, 7, 3)), ("LAB", (5, 7, 3)), ("YCbCr", (5, 7, 3))]
)
def test_other_colour_models_become_grey_or_rgb_bytes(tmp_path, mode, shape):
    path = tmp_path / "a.tif"
    Image.fromarray(RGB8).convert(mode).save(path)
    pixels = read_raster(path).pixels
    assert pixels.dtype == np.uint8
    assert pixels.shape == (1, *shape)


def test_one_bit_becomes_black_and_white(tmp_path):
    bits = GREY8 > 127
    Image.fromarray(bits).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_raster(tmp_path / "a.png").pixels[0], bits * 255)


def test_palettes_are_looked_up(tmp_path):
    picture = Image.fromarray(GREY8 % 2, mode=None).convert("P")
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.save(tmp_path / "a.png")
    expected = np.where((GREY8 % 2)[..., None] == 1, (200, 100, 50), (10, 20, 30))
    np.testing.assert_array_equal(read_raster(tmp_path / "a.png").pixels[0], expected)


def test_opaque_transparency_is_dropped_and_other_lies_on_black(tmp_path):
    alpha = np.full((5, 7, 1), 255, np.uint8)
    alpha[0, 0] = 0
    alpha[1, 1] = 128
    Image.fromarray(np.concatenate([RGB8, alpha], axis=2)).save(tmp_path / "a.png")
    Image.fromarray(np.concatenate([GREY8[..., None], alpha], axis=2)).save(tmp_path / "b.png")
    colour, grey = (read_raster(tmp_path / name).pixels[0] for name in ("a.png", "b.png"))
    assert "transparent pixels laid on black" in str(read_raster(tmp_path / "a.png").notices[0])
    for shown, original in ((colour, RGB8), (grey, GREY8)):
        np.testing.assert_array_equal(shown[2:], original[2:])
        assert not shown[0, 0].any()
        np.testing.assert_allclose(shown[1, 1], original[1, 1] * (128 / 255), atol=0.51)


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp"])
def test_of_an_animation_the_first_picture_is_read_and_the_rest_told(tmp_path, name):
    pictures = [Image.fromarray(np.full((6, 8, 3), level, np.uint8)) for level in (10, 100, 200)]
    pictures[0].save(tmp_path / name, save_all=True, append_images=pictures[1:])
    read = read_raster(tmp_path / name)
    assert len(read.pixels) == 1
    assert str(read.notices[0]).startswith("2 of 3 pictures left out")
    with Image.open(tmp_path / name) as held:
        held.seek(1)
        shown = read_pillow(held)
        assert str(shown.notices[0]).startswith("2 of 3 pictures left out: ")
        assert shown.pixels[0, 0, 0, 0] == pytest.approx(100, abs=2)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_exif_orientation_turns_the_picture_upright(tmp_path, orientation, suffix):
    picture, path = Image.fromarray(RGB8), tmp_path / f"a{suffix}"
    exif = picture.getexif()
    exif[0x0112] = orientation
    picture.save(path, exif=exif)
    with Image.open(path) as stored:
        expected = np.asarray(ImageOps.exif_transpose(stored))
    assert expected.shape == ((7, 5, 3) if orientation > 4 else (5, 7, 3))
    np.testing.assert_array_equal(read_raster(path).pixels[0], expected)


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_orientation_that_is_none_is_passed_over(tmp_path, orientation):
    picture = Image.fromarray(RGB8)
    exif = picture.getexif()
    exif[0x0112] = orientation
    picture.save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_raster(tmp_path / "a.png").pixels[0], RGB8)


def test_pages_of_a_tiff_are_frames_and_thumbnails_are_left_out(tmp_path):
    pages = [Image.fromarray(GREY8), Image.fromarray(GREY8[:2]), Image.fromarray(255 - GREY8)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    np.testing.assert_array_equal(read_raster(tmp_path / "a.tif").pixels, [GREY8, 255 - GREY8])


def test_sixteen_bit_pictures_are_shown_from_their_smallest_to_their_largest_value(tmp_path):
    Image.fromarray(np.array([[1000, 1500, 2000]], np.uint16)).save(tmp_path / "a.png")
    np.testing.assert_allclose(read_raster(tmp_path / "a.png").slices()[0].rgb[0, :, 0], [0, 0.5, 1], atol=1e-6)


def test_not_a_number_becomes_zero(tmp_path):
    Image.fromarray(np.array([[np.nan, 2.5, np.inf]], np.float32)).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_raster(tmp_path / "a.tif").pixels[0], [[0, 2.5, 0]])


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.95])
def test_truncated_pictures_are_refused_by_name(tmp_path, suffix, kept):
    path = tmp_path / f"cut{suffix}"
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(ImageError, match=f"cut{suffix}: cannot be read as a picture"):
        read_raster(path)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_pictures_larger_than_the_limit_are_refused_before_they_are_decoded(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"bomb{suffix}"
    Image.fromarray(GREY8).save(path)
    monkeypatch.setenv("VESALIUS_MAX_PIXELS", "34")
    with pytest.raises(ImageError, match=r"bomb\..* has 35 pixels .* more than the limit of 34.* VESALIUS_MAX_PIXELS"):
        read_raster(path)
    monkeypatch.setenv("VESALIUS_MAX_PIXELS", "35")
    assert read_raster(path).pixels.shape == (1, 5, 7)


def test_pictures_larger_than_pillow_opens_are_refused_too(tmp_path, monkeypatch):
    Image.fromarray(GREY8).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 16)
    with pytest.raises(ImageError, match=r"bomb\.png: has more pixels than the limit"):
        read_raster(tmp_path / "bomb.png")


def text_bomb(path):
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "x" * 2_000_000, zip=True)
    Image.new("L", (8, 8)).save(path.with_suffix(".png"), pnginfo=info)
    return path.with_suffix(".png")


def broken_second_page(path):
    Image.new("L", (8, 8)).save(path.with_suffix(".tif"))
    data = bytearray(path.with_suffix(".tif").read_bytes())
    first = struct.unpack("<I", data[4:8])[0]
    link = first + 2 + 12 * struct.unpack("<H", data[first : first + 2])[0]
    data += b"\0" * (len(data) % 2)
    data[link : link + 4] = struct.pack("<I", len(data))
    data += struct.pack("<HHHIII", 1, 0x102, 3, 1, 8, 0)
    path.with_suffix(".tif").write_bytes(data)
    return path.with_suffix(".tif")


@pytest.mark.parametrize("make", [text_bomb, broken_second_page])
def test_whatever_pillow_raises_becomes_an_error_that_names_the_file(tmp_path, make):
    path = make(tmp_path / "strange")
    with pytest.raises(ImageError, match=r"strange\.\w+: cannot be read as a picture \(.+\)"):
        read_image(path)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
def test_damaged_files_are_read_or_refused_by_name(tmp_path, suffix):
    rng, path = np.random.default_rng(0), tmp_path / f"hurt{suffix}"
    Image.fromarray(RGB8).save(path)
    sound, refusals = path.read_bytes(), []
    for number in range(200):
        data = bytearray(sound)
        start, size = int(rng.integers(len(data))), int(rng.integers(1, 9))
        data[start : start + size] = bytes(size) if number % 2 else rng.bytes(size)
        path.write_bytes(data)
        try:
            read_raster(path)
        except ImageError as error:
            refusals.append(str(error))
    assert refusals
    assert all(path.name in each for each in refusals)


class TestPagesOfATiff:
    @pytest.fixture
    def pages(self):
        return RNG.integers(0, 256, (4, 600, 700), dtype=np.uint8)

    def test_many_stay_in_their_file(self, tmp_path, monkeypatch, pages):
        first, *others = map(Image.fromarray, pages)
        first.save(tmp_path / "a.tif", save_all=True, append_images=others)
        monkeypatch.setenv("VESALIUS_KEPT_MEGABYTES", "1")
        image = read_raster(tmp_path / "a.tif")
        assert isinstance(image.pixels, LazyPixels)
        np.testing.assert_array_equal(np.asarray(image.pixels), pages)

    def test_one_is_chosen_by_its_number(self, tmp_path):
        Image.fromarray(GREY8).save(tmp_path / "a.tif", save_all=True, append_images=[Image.fromarray(GREY8[:2])])
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif", frame=2).pixels, [GREY8[:2]])
        with pytest.raises(ImageError, match="has no frame 3; expected a number from 1 to 2"):
            read_image(tmp_path / "a.tif", frame=3)

    def test_what_is_left_out_is_told(self, tmp_path):
        pages = [Image.fromarray(each) for each in (GREY8[:2], GREY8, GREY16)]
        Image.fromarray(GREY8).save(tmp_path / "a.tif", save_all=True, append_images=pages)
        with pytest.warns(ImageNotice, match="2 of 4 pages left out: .* Choose one with"):
            assert read_image(tmp_path / "a.tif").pixels.shape == (2, 5, 7)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_masks_are_read_back_as_written(tmp_path, suffix):
    mask = GREY8 > 127
    write_mask(tmp_path / f"m{suffix}", mask)
    np.testing.assert_array_equal(read_mask(tmp_path / f"m{suffix}"), mask)
    assert np.asarray(Image.open(tmp_path / f"m{suffix}")).max() == 255


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 127, 128, 255]], np.uint8), [[False, False, True, True]]),
        (np.array([[0, 1, 1, 0]], np.uint8), [[False, True, True, False]]),
        (np.array([[0, 32767, 32768, 65535]], np.uint16), [[False, False, True, True]]),
        (np.array([[0, 0]], np.uint8), [[False, False]]),
        (np.array([[[255, 0, 0], [0, 200, 0], [90, 90, 90]]], np.uint8), [[True, True, False]]),
        (np.array([[0, 2, 2]], np.uint8), [[False, True, True]]),
        (np.array([[0, 100, 0]], np.uint8), [[False, True, False]]),
        (np.array([[0, 255, 0]], np.uint16), [[False, True, False]]),
        (np.array([[0, 2, 100]], np.uint8), [[False, False, False]]),
        (np.array([[255, 255]], np.uint8), [[True, True]]),
        (np.array([[100, 100]], np.uint8), [[True, True]]),
        (np.array([[255, 255]], np.uint16), [[True, True]]),
    ],
)
def test_foreground_is_the_one_value_besides_0_or_the_upper_half_of_the_range(tmp_path, values, expected):
    Image.fromarray(values).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), expected)


@pytest.mark.parametrize(("level", "inside"), [(0, False), (255, True)])
def test_black_that_jpeg_has_lifted_a_little_stays_outside(tmp_path, level, inside):
    Image.new("L", (16, 16), level).save(tmp_path / "m.jpg", quality=5)
    assert Image.open(tmp_path / "m.jpg").getextrema() not in ((0, 0), (255, 255))
    assert (read_mask(tmp_path / "m.jpg") == inside).all()


def test_rgb_is_written_from_bytes_and_from_shades(tmp_path):
    write_rgb(tmp_path / "a.png", RGB8)
    write_rgb(tmp_path / "b.png", RGB8 / 255.0)
    np.testing.assert_array_equal(read_raster(tmp_path / "a.png").pixels[0], RGB8)
    np.testing.assert_array_equal(read_raster(tmp_path / "b.png").pixels[0], RGB8)


def test_nothing_half_written_stays_when_writing_fails(tmp_path, monkeypatch):
    write_mask(tmp_path / "m.png", GREY8 > 127)
    before = (tmp_path / "m.png").read_bytes()

    def fail(self: Image.Image, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OutputError, match=r"m\.png: cannot be written \(no space left\)"):
        write_mask(tmp_path / "m.png", GREY8 > 1)
    assert [path.name for path in tmp_path.iterdir()] == ["m.png"]
    assert (tmp_path / "m.png").read_bytes() == before


def test_missing_folders_are_made(tmp_path):
    write_mask(tmp_path / "new" / "folder" / "m.png", GREY8 > 1)
    np.testing.assert_array_equal(read_mask(tmp_path / "new" / "folder" / "m.png"), GREY8 > 1)


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(OutputError, match=r"taken/m\.png: cannot be written .*; check that the folder"):
        write_mask(tmp_path / "taken" / "m.png", GREY8 > 1)


def test_masks_are_not_written_in_lossy_formats(tmp_path):
    with pytest.raises(ImageError, match="lossless"):
        write_mask(tmp_path / "m.jpg", GREY8 > 1)
    with pytest.raises(ImageError, match="expected a boolean mask"):
        write_mask(tmp_path / "m.png", GREY8)


def test_only_pictures_are_written_as_rgb(tmp_path):
    with pytest.raises(ImageError, match=r"expected a picture \[H, W, 3\]"):
        write_rgb(tmp_path / "a.png", GREY8)
    with pytest.raises(ImageError, match=r"cannot write '\.gif'"):
        write_rgb(tmp_path / "a.gif", RGB8)


@pytest.mark.parametrize("stray", [1e30, -np.inf, np.nan])
def test_values_as_large_as_markers_of_nothing_become_0(tmp_path, stray):
    Image.fromarray(np.array([[1, 2, stray]], np.float32)).save(tmp_path / "a.tif")
    assert read_raster(tmp_path / "a.tif").pixels.tolist() == [[[1, 2, 0]]]


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_too_short_for_its_pixels_is_refused_and_a_plain_one_is_not(tmp_path, progressive):
    path = tmp_path / "a.jpg"
    Image.new("L", (2000, 2000)).save(path, quality=1, optimize=True, progressive=progressive)
    assert read_raster(path).pixels.shape == (1, 2000, 2000)
    content = path.read_bytes()
    at = content.index(b"\xff\xc2" if progressive else b"\xff\xc0") + 5
    path.write_bytes(content[:at] + struct.pack(">HH", 9000, 9900) + content[at + 4 :])
    with pytest.raises(ImageError, match=r"a\.jpg: its [\d,]+ bytes cannot hold the 9000×9900 pixels"):
        read_raster(path)


def test_a_tiff_whose_strips_leave_rows_out_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    Image.fromarray(GREY8).save(path)
    content = path.read_bytes()
    rows = content.index(struct.pack("<HHI", 257, 4, 1)) + 8
    path.write_bytes(content[:rows] + struct.pack("<I", 50) + content[rows + 4 :])
    with pytest.raises(ImageError, match=r"a\.tif: its parts \(strips or tiles\) hold 35 of 350 pixels"):
        read_raster(path)


def test_a_tiff_of_several_strips_is_read(tmp_path):
    values = np.tile(RGB8, (20, 3, 1))
    Image.fromarray(values).save(tmp_path / "a.tif", tiffinfo={278: 16})
    np.testing.assert_array_equal(read_raster(tmp_path / "a.tif").pixels[0], values)
