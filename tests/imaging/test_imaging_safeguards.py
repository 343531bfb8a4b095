"""Notices, limits, silenced libraries, and the sizes that compressed pixels state."""

import io
import logging
import struct
import threading
import warnings

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

from vesalius.errors import ConfigError, ImageError, ImageNotice
from vesalius.imaging import Notice, read_image
from vesalius.imaging.dicom import read_dicom, read_series
from vesalius.imaging.image import MedicalImage
from vesalius.imaging.lazy import LazyPixels, keep_small
from vesalius.imaging.safeguards import FRAMES, MEGABYTES, PIXELS, StatedSize, overheard, quiet, read_stated_size

AXIAL = [1, 0, 0, 0, 1, 0]


@pytest.fixture
def two_echoes(write_series, tmp_path):
    write_series([0.0, 3.0, 6.0], start=1, EchoTime=12)
    write_series([1.0, 4.0], start=10, EchoTime=90)
    return tmp_path / "series"


class TestNotices:
    def test_what_is_left_out_is_warned_of_with_the_way_to_choose(self, two_echoes):
        with pytest.warns(ImageNotice, match=r"series: 2 of 5 slices left out: .*2 slices of 4×6, echo 90.*--stack 2"):
            image = read_image(two_echoes)
        assert image.notices[0].to_dict()["count"] == 2
        assert image.notices[0].to_dict()["message"] == str(image.notices[0])

    def test_the_readers_below_keep_notices_and_do_not_warn(self, two_echoes):
        assert len(read_series(two_echoes).notices) == 1

    def test_a_notice_without_a_number_reads_as_a_sentence(self):
        assert str(Notice("the modality is a guess", "of its values")) == "the modality is a guess: of its values."

    def test_what_is_whole_has_no_notice(self, write_series):
        assert read_image(write_series([0.0, 3.0])).notices == ()


class TestChoices:
    def test_a_stack_is_chosen_by_its_number_and_nothing_is_warned_of(self, two_echoes):
        assert [len(read_image(two_echoes, stack=number).pixels) for number in (1, 2)] == [3, 2]
        with pytest.raises(ImageError, match=r"has no stack 3; there are 2: 1 \(.*3 slices.*\); 2 \(.*2 slices"):
            read_image(two_echoes, stack=3)

    def test_a_frame_is_chosen_by_its_number(self, write_dicom):
        path = write_dicom("a.dcm", np.arange(5, dtype=np.uint8)[:, None, None].repeat(4, 1).repeat(6, 2))
        assert read_image(path, frame=4).pixels.max() == 3
        with pytest.raises(ImageError, match="has no frame 6; expected a number from 1 to 5"):
            read_image(path, frame=6)

    @pytest.mark.parametrize("choice", [{"series": 1}, {"volume": 2}])
    def test_a_choice_that_does_not_apply_is_refused(self, write_dicom, choice):
        with pytest.raises(ImageError, match=f"a.dcm: '{next(iter(choice))}' .*chooses among"):
            read_image(write_dicom("a.dcm", np.zeros((4, 6), np.uint8)), **choice)


class TestLimits:
    @pytest.mark.parametrize(("limit", "found"), [(PIXELS, "24 pixels"), (FRAMES, "2 frames or slices")])
    def test_what_exceeds_a_limit_is_refused_with_the_way_to_raise_it(self, write_series, monkeypatch, limit, found):
        folder = write_series([0.0, 3.0])
        monkeypatch.setenv(limit.variable, "1")
        with pytest.raises(ImageError, match=f"has {found}.*more than the limit of 1.*{limit.variable}"):
            read_image(folder)

    def test_a_limit_that_is_no_number_is_refused(self, monkeypatch):
        monkeypatch.setenv(PIXELS.variable, "many")
        with pytest.raises(ConfigError, match="VESALIUS_MAX_PIXELS: expected a positive whole number"):
            _ = PIXELS.value


class TestLazyPixels:
    @pytest.fixture
    def pixels(self, tmp_path):
        asked: list[int] = []

        def read(index: int) -> np.ndarray:
            asked.append(index)
            return np.full((300, 400), index, np.float32)

        made = LazyPixels(5, read, (300, 400), np.float32, tmp_path)
        made.asked = asked
        return made

    def test_slices_are_read_when_asked_for(self, pixels, tmp_path):
        image = MedicalImage(pixels=pixels, source=tmp_path, modality="CT")
        assert pixels.asked == []
        assert image.slices()[3].rgb.shape == (300, 400, 3)
        assert pixels.asked == [3]
        assert [int(each.max()) for each in pixels] == [0, 1, 2, 3, 4]

    def test_all_of_it_is_an_array_on_request(self, pixels):
        assert np.asarray(pixels).shape == (5, 300, 400)
        np.testing.assert_array_equal(pixels[1:3, 0, 0], [1, 2])
        assert pixels.load_compact().dtype == np.int16

    def test_small_images_are_kept_and_large_ones_stay_in_their_file(self, pixels, monkeypatch):
        assert isinstance(keep_small(pixels), np.ndarray)
        monkeypatch.setenv("VESALIUS_KEPT_MEGABYTES", "1")
        assert keep_small(pixels) is pixels

    def test_loading_more_than_the_limit_is_refused(self, pixels, monkeypatch):
        monkeypatch.setenv(MEGABYTES.variable, "1")
        with pytest.raises(ImageError, match="3 megabytes of pixels to hold in memory.*VESALIUS_MAX_MEGABYTES"):
            np.asarray(pixels)

    def test_a_series_read_slice_by_slice_equals_one_in_memory(self, write_series, monkeypatch):
        folder = write_series([0.0, 3.0, 6.0], ImageOrientationPatient=[0, 1, 0, 1, 0, 0], RescaleIntercept=0)
        kept = read_image(folder)
        monkeypatch.setattr("vesalius.imaging.dicom.load_small", lambda stacks, only: stacks)
        lazy = read_image(folder)
        assert isinstance(lazy.pixels, LazyPixels)
        np.testing.assert_array_equal(np.asarray(lazy.pixels), kept.pixels)
        for plane in ("axial", "coronal"):
            one, other = kept.slices(plane), lazy.slices(plane)
            np.testing.assert_array_equal(one[1].rgb, other[1].rgb)


class TestSourceGrid:
    @pytest.mark.parametrize("cosines", [AXIAL, [0, 1, 0, 1, 0, 0], [1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1]])
    @pytest.mark.parametrize("plane", [None, "axial", "coronal", "sagittal"])
    def test_a_mask_returns_to_columns_rows_and_slices_of_the_file(self, write_dicom, tmp_path, cosines, plane):
        rng, normal = np.random.default_rng(0), np.cross(cosines[:3], cosines[3:])
        stored = rng.integers(0, 99, (3, 4, 6)).astype(np.int16)
        for index, pixels in enumerate(stored):
            place = {"ImageOrientationPatient": cosines, "ImagePositionPatient": (index * 3.0 * normal).tolist()}
            write_dicom(f"s/{index}", pixels, Modality="MR", PixelSpacing=[2.0, 0.5], InstanceNumber=-index, **place)
        image = read_image(tmp_path / "s")
        slices = image.slices(plane)
        restored, affine = image.to_source_grid(np.asarray(slices.pixels), slices.affine)
        np.testing.assert_array_equal(restored, stored.transpose(2, 1, 0))
        column_4_row_1_slice_2 = np.array(cosines[:3]) * 4 * 0.5 + np.array(cosines[3:]) * 2.0 + normal * 6
        np.testing.assert_allclose(affine @ [4, 1, 2, 1], [*column_4_row_1_slice_2 * [-1, -1, 1], 1], atol=1e-9)

    def test_pictures_have_no_other_grid(self, tmp_path):
        mask = np.ones((1, 4, 6), bool)
        image = MedicalImage(pixels=np.zeros((1, 4, 6), np.uint8), source=tmp_path)
        assert image.to_source_grid(mask) == (mask, None)

    def test_a_tilted_gantry_is_told(self, write_dicom, tmp_path):
        for number in range(3):
            place = {"ImagePositionPatient": [0, 1.0 * number, 4.0 * number], "ImageOrientationPatient": AXIAL}
            write_dicom(f"s/{number}", np.zeros((4, 6), np.int16), PixelSpacing=[1, 1], **place)
        assert read_image(tmp_path / "s").sheared
        assert not read_image(tmp_path / "s" / "0").sheared


@pytest.mark.slow
def test_threads_leave_the_warning_filters_as_they_were(write_series):
    folder, before, faults = write_series([0.0, 3.0]), list(warnings.filters), []

    def work() -> None:
        for _ in range(5):
            try:
                read_image(folder)
            except Exception as error:  # told below
                faults.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert warnings.filters == before


def test_silence_ends_even_if_filters_were_saved_meanwhile():
    before = list(warnings.filters)
    silence = quiet("pydicom")
    silence.__enter__()
    with warnings.catch_warnings():
        silence.__exit__(None, None, None)
    assert warnings.filters == before


def test_what_a_library_logs_is_heard_on_one_thread_and_printed_on_others(logged):
    log = logging.getLogger("vesalius-test")
    with overheard("vesalius-test") as heard:
        log.error("one")
        log.error("one")
        thread = threading.Thread(target=log.error, args=("two",))
        thread.start()
        thread.join()
    log.error("three")
    assert heard == ["one"]
    assert logged.messages == ["two", "three"]


def test_large_pictures_are_read_without_a_warning_of_their_library(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    Image.new("L", (6, 5)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").pixels.shape == (1, 5, 6)
    with pytest.warns(Image.DecompressionBombWarning):  # only while Vesalius reads
        Image.open(tmp_path / "a.png").close()


NOISE = np.random.default_rng(0).integers(0, 256, (48, 64), np.uint8)


def picture(kind: str, values: np.ndarray = NOISE, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (picture("JPEG"), StatedSize(48, 64, 1, 512)),
        (picture("JPEG", np.stack([NOISE] * 3, -1), progressive=True), StatedSize(48, 64, 3, 512)),
        (picture("JPEG", exif=b"Exif\0\0" + bytes(60_000)), StatedSize(48, 64, 1, 512)),
        (picture("JPEG2000"), StatedSize(48, 64, 1)),
        (picture("JPEG2000", no_jp2=True), StatedSize(48, 64, 1)),
        (b"\xff\xd8\xff\xf7\0\x0b\x08\0\x30\0\x40\x01\x01\x11\0", StatedSize(48, 64, 1)),
        (b"\xff\xd8\xff\xc0\0\x0b\x08\0\0\0\x18\x01\x01\x11\0", None),
        (picture("PNG"), None),
        (picture("JPEG")[:80], None),
        (b"\xff\x4f\xff\x51\0", None),
        (b"\xff\xd8\xff\xc0\0", None),
        (b"", None),
    ],
)
def test_are_found_in_the_header(content, expected):
    assert read_stated_size(io.BytesIO(content)) == expected


def test_that_need_more_bytes_than_there_are_do_not_fit():
    assert StatedSize(64, 64, 1, 512).fits_in(8)
    assert not StatedSize(64, 65, 1, 512).fits_in(8)
    assert StatedSize(60_000, 60_000, 1).fits_in(1)


def write_jpeg(write_dicom, *pictures: bytes):
    path = write_dicom("a.dcm", np.stack([NOISE] * len(pictures)), Modality="OT")
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.PixelData = encapsulate(list(pictures))
    dataset.save_as(path)
    return path


def test_that_agree_with_the_header_are_read(write_dicom):
    assert read_dicom(write_jpeg(write_dicom, picture("JPEG"), picture("JPEG"))).pixels.shape == (2, 48, 64)


def test_of_any_frame_that_differ_from_the_header_are_refused(write_dicom):
    large = picture("JPEG").replace(struct.pack(">HH", 48, 64), struct.pack(">HH", 60_000, 60_000), 1)
    path = write_jpeg(write_dicom, picture("JPEG"), large)
    with pytest.raises(ImageError, match=r"a\.dcm: its pixels say they are 60000×60000×1 .* header says 48×64×1"):
        read_dicom(path)


@pytest.mark.parametrize(
    ("syntax", "message"),
    [
        (RLELossless, "bytes cannot hold its 9000×9000 pixels"),
        (JPEG2000Lossless, "they are 48×64×1 .* says 9000×9000×1"),
    ],
)
def test_of_a_header_that_promises_more_are_refused(write_dicom, syntax, message):
    path = write_dicom("a.dcm", NOISE, compress=syntax, Modality="OT")
    dataset = pydicom.dcmread(path)
    dataset.Rows = dataset.Columns = 9000
    dataset.save_as(path)
    with pytest.raises(ImageError, match=message):
        read_dicom(path)


def test_damaged_run_lengths_are_refused_and_nothing_else_is_printed(write_dicom, capfd):
    path = write_dicom("a.dcm", NOISE, compress=RLELossless, Modality="OT")
    path.write_bytes(path.read_bytes()[:-3000] + b"\x81\0" * 4 + b"\x80" * 2992)  # four runs, and nothing after them
    with pytest.raises(ImageError, match=r"a\.dcm: its pixels \(RLE Lossless\) cannot be decoded"):
        read_dicom(path)
    assert capfd.readouterr() == ("", "")
