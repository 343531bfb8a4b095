import io
import shutil
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

from vesalius.errors import ImageError
from vesalius.imaging import read_image
from vesalius.imaging.dicom import read_dicom, read_series, read_stacks
from vesalius.imaging.dicom_file import is_dicom

RNG = np.random.default_rng(0)


def sample(name: str) -> Path:
    """A file that comes with pydicom; never downloaded."""
    found = get_testdata_file(name, download=False)
    if found is None:
        pytest.skip(f"pydicom does not ship {name}")
    return Path(str(found))


def shown_or_refused(path: Path) -> bool | str:
    """Whether the first slice is shown in numbers; of a file that is refused, how the message begins."""
    try:
        return bool(np.isfinite(read_dicom(path).slices()[0].rgb).all())
    except ImageError as error:
        return str(error)[: len(f"{path}: ")]


class TestCompression:
    @pytest.mark.parametrize("syntax", [None, RLELossless, JPEG2000Lossless])
    @pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16])
    def test_grey_round_trips_without_loss(self, write_dicom, syntax, kind):
        low = -1000 if kind is np.int16 else 0
        pixels = RNG.integers(low, 200, (64, 48)).astype(kind)
        image = read_dicom(write_dicom("a.dcm", pixels, compress=syntax, Modality="MR"))
        np.testing.assert_array_equal(image.pixels[0], pixels)

    @pytest.mark.parametrize("syntax", [None, RLELossless, JPEG2000Lossless])
    def test_colour_round_trips_without_loss(self, write_dicom, syntax):
        pixels = RNG.integers(0, 256, (64, 48, 3)).astype(np.uint8)
        image = read_dicom(write_dicom("a.dcm", pixels, compress=syntax, Modality="OT"))
        assert image.pixels.dtype == np.uint8
        np.testing.assert_array_equal(image.pixels[0], pixels)

    def test_a_deflated_file_is_not_inflated_beyond_what_memory_may_hold(self, tmp_path, monkeypatch):
        whole = pydicom.dcmread(sample("MR_small.dcm"))
        whole.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        whole.save_as(tmp_path / "a.dcm")
        np.testing.assert_array_equal(read_dicom(tmp_path / "a.dcm").pixels, read_dicom(sample("MR_small.dcm")).pixels)
        whole.EncapsulatedDocument = bytes(3 * 2**20)
        (tmp_path / "series").mkdir()
        whole.save_as(tmp_path / "series" / "bomb.dcm")
        bare = tmp_path / "bare.dcm"
        bare.write_bytes((tmp_path / "series" / "bomb.dcm").read_bytes()[132:])
        assert bare.stat().st_size < 2**20
        monkeypatch.setenv("VESALIUS_MAX_MEGABYTES", "2")
        for read, path in ((read_dicom, tmp_path / "series" / "bomb.dcm"), (read_series, tmp_path / "series")):
            with pytest.raises(ImageError, match="VESALIUS_MAX_MEGABYTES"):
                read(path)
        assert not is_dicom(bare)

    @pytest.mark.parametrize(
        "name", ["RLE", "bigendian", "expb", "implicit", "jp2klossless", "jpeg_ls_lossless", "padded"]
    )
    def test_every_encoding_of_one_slice_reads_alike(self, name):
        plain, encoded = read_dicom(sample("MR_small.dcm")), read_dicom(sample(f"MR_small_{name}.dcm"))
        np.testing.assert_array_equal(encoded.pixels, plain.pixels)
        np.testing.assert_array_equal(encoded.affine, plain.affine)

    def test_lossless_jpeg_equals_the_uncompressed_picture(self):
        plain, encoded = read_dicom(sample("SC_rgb_rle.dcm")), read_dicom(sample("SC_rgb_jpeg_gdcm.dcm"))
        np.testing.assert_array_equal(encoded.pixels, plain.pixels)

    @pytest.mark.parametrize(
        "name",
        [
            "SC_rgb_jpeg_dcmtk.dcm",
            "SC_rgb_jpeg_lossy_gdcm.dcm",
            "SC_rgb_gdcm_KY.dcm",
            "SC_ybr_full_422_uncompressed.dcm",
            "SC_rgb_dcmtk_+eb+cy+np.dcm",
        ],
    )
    def test_ybr_and_lossy_colour_come_out_as_rgb(self, name):
        plain, encoded = read_dicom(sample("SC_rgb_rle.dcm")).pixels, read_dicom(sample(name)).pixels
        difference = np.abs(plain.astype(int) - encoded.astype(int))
        assert np.median(difference) <= 2

    def test_ybr_jpeg_baseline_comes_out_as_rgb(self, write_dicom):
        pixels = np.full((16, 16, 3), (200, 60, 20), np.uint8)
        path = write_dicom("a.dcm", pixels, Modality="OT", PhotometricInterpretation="YBR_FULL_422")
        dataset, jpeg = pydicom.dcmread(path), io.BytesIO()
        Image.fromarray(pixels).save(jpeg, "JPEG", quality=95)
        dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        dataset.PixelData = encapsulate([jpeg.getvalue()])
        dataset["PixelData"].is_undefined_length = True
        dataset.save_as(path)
        np.testing.assert_allclose(read_dicom(path).pixels[0], pixels, atol=3)

    def test_palettes_are_looked_up(self):
        image = read_dicom(sample("examples_palette.dcm"))
        assert image.is_colour
        assert image.slices()[0].rgb.max() > 0.5

    def test_sixteen_and_thirty_two_bit_colour_look_like_eight_bit(self):
        shades = [read_dicom(sample(f"SC_rgb_rle{bits}.dcm")).slices()[0].rgb for bits in ("", "_16bit", "_32bit")]
        np.testing.assert_allclose(shades[1], shades[0], atol=0.01)
        np.testing.assert_allclose(shades[2], shades[0], atol=0.01)


class TestFrames:
    def test_a_clip_without_geometry_is_a_stack_of_pictures(self):
        image = read_dicom(sample("examples_ybr_color.dcm"))
        assert image.pixels.shape == (30, 240, 320, 3)
        assert image.affine is None
        assert len(image.slices()) == 30

    def test_one_place_for_many_frames_places_none(self, write_dicom):
        pixels = np.zeros((3, 4, 6), np.uint8)
        place = {
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "ImagePositionPatient": [0, 0, 0],
            "PixelSpacing": [1, 1],
        }
        image = read_dicom(write_dicom("a.dcm", pixels, Modality="NM", **place))
        assert image.pixels.shape == (3, 4, 6)
        assert image.affine is None

    def test_one_frame_of_many_is_still_a_frame(self, write_dicom):
        assert read_dicom(write_dicom("a.dcm", np.zeros((1, 4, 6), np.uint8))).pixels.shape == (1, 4, 6)


class TestSilence:
    @pytest.mark.parametrize(
        "name",
        ["693_J2KI.dcm", "J2K_pixelrep_mismatch.dcm", "examples_overlay.dcm", "CT_small.dcm", "MR_small_padded.dcm"],
    )
    def test_files_that_pydicom_remarks_on_are_read_in_silence(self, name):
        image = read_dicom(sample(name))
        assert image.pixels.ndim == 3
        assert np.ptp(image.slices()[0].rgb) > 0

    @pytest.mark.slow
    def test_every_sample_of_pydicom_is_read_or_refused_by_name(self):
        read, refused, slow = [], [], []
        tracemalloc.start()
        for path in sorted(path for path in sample("CT_small.dcm").parent.rglob("*") if path.is_file()):
            start = time.process_time()
            try:
                read.append(read_image(path).slices()[0].rgb.ndim == 3)
            except ImageError as error:
                refused.append(str(error).startswith(f"{path}: "))
            slow += [path.name] if time.process_time() - start > 10 else []
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(read) > 80
        assert all(read + refused)
        assert slow == []
        assert peak < 1.2 * 2**30


class TestRefusals:
    @pytest.mark.parametrize("syntax", [None, RLELossless, JPEG2000Lossless])
    @pytest.mark.parametrize("kept", [0.05, 0.2, 0.5, 0.8, 0.97])
    def test_truncated_files_are_refused_by_name(self, write_dicom, syntax, kept):
        path = write_dicom("cut.dcm", RNG.integers(0, 4000, (64, 64)).astype(np.uint16), compress=syntax)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
        with pytest.raises(ImageError, match=r"cut\.dcm: "):
            read_dicom(path)

    def test_pydicoms_truncated_sample_is_refused(self):
        with pytest.raises(ImageError, match=r"MR_truncated\.dcm: its pixels"):
            read_dicom(sample("MR_truncated.dcm"))

    @pytest.mark.parametrize("kept", [200, 700, -10])
    def test_a_truncated_file_is_left_out_of_its_series_and_that_is_told(self, write_series, kept):
        folder = write_series([0.0, 3.0, 6.0, 9.0])
        path = sorted(folder.iterdir())[3]
        path.write_bytes(path.read_bytes()[:kept])
        image = read_series(folder)
        assert len(image.pixels) == 3
        assert str(image.notices[0]).startswith(f"1 of 4 DICOM files left out: {path.name} ")

    def test_a_slice_that_cannot_be_decoded_is_left_out_of_its_series_and_that_is_told(self, write_dicom, tmp_path):
        for number in range(4):
            place = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "ImagePositionPatient": [0, 0, number]}
            pixels = RNG.integers(0, 4000, (64, 64)).astype(np.uint16)
            write_dicom(f"s/{number}", pixels, compress=JPEG2000Lossless, PixelSpacing=[1, 1], **place)
        path = tmp_path / "s" / "0"
        before, item, after = path.read_bytes().rpartition(b"\xfe\xff\x00\xe0")
        path.write_bytes(before + item + after[:4] + bytes(16) + after[20:])
        image = read_series(tmp_path / "s")
        assert len(image.pixels) == 3
        assert str(image.notices[0]).startswith("1 of 4 DICOM files left out: 0 its pixels (JPEG 2000 ")

    @pytest.mark.parametrize("content", [b"", b"not an image", b"\x00" * 500])
    def test_other_files_are_refused(self, tmp_path, content):
        (tmp_path / "a.dcm").write_bytes(content)
        with pytest.raises(ImageError, match=r"a\.dcm: is not DICOM, or empty"):
            read_dicom(tmp_path / "a.dcm")
        with pytest.raises(ImageError, match=r"a\.dcm: is not DICOM, or empty"):
            read_series(tmp_path)

    def test_objects_without_pixels_are_refused(self):
        with pytest.raises(ImageError, match="without pixels"):
            read_dicom(sample("rtplan.dcm"))

    @pytest.mark.parametrize(
        ("kind", "reason"),
        [
            ("1.2.840.10008.5.1.4.1.1.77.1.6", "is a whole-slide image: its frames are tiles"),
            ("1.2.840.10008.5.1.4.1.1.66.4", "is a segmentation, the result of an analysis"),
            ("1.2.840.10008.5.1.4.1.1.481.2", "is a planned dose"),
            ("1.2.840.10008.5.1.4.1.1.88.11", "is a report, not an image"),
            ("1.2.840.10008.5.1.4.1.1.11.1", "is a presentation state, not an image"),
            ("1.2.840.10008.5.1.4.1.1.481.3", "is a radiotherapy object without pixels"),
        ],
    )
    def test_results_and_whole_slides_are_refused_and_left_out_of_folders(self, write_dicom, tmp_path, kind, reason):
        path = write_dicom("s/b.dcm", np.zeros((2, 4, 6), np.uint8), SOPClassUID=kind)
        with pytest.raises(ImageError, match=rf"b\.dcm: {reason}"):
            read_dicom(path)
        with pytest.raises(ImageError, match=rf"b\.dcm: {reason}"):
            read_series(tmp_path / "s")
        write_dicom("s/a.dcm", np.zeros((4, 6), np.uint8))
        (notice,) = read_series(tmp_path / "s").notices
        assert str(notice).startswith(f"1 of 2 DICOM files left out: b.dcm {reason}")

    def test_a_radiograph_of_radiotherapy_is_an_image(self, write_dicom):
        path = write_dicom("a.dcm", np.zeros((4, 6), np.uint8), SOPClassUID="1.2.840.10008.5.1.4.1.1.481.1")
        assert read_dicom(path).pixels.shape == (1, 4, 6)

    def test_what_no_plugin_decodes_names_one_that_would(self):
        with pytest.raises(ImageError, match=r"JPEG Extended.*install a plugin.*pip install python-gdcm"):
            read_dicom(sample("JPEG-lossy.dcm"))

    @pytest.mark.parametrize(
        "attributes",
        [
            {"SOPClassUID": ["1.2.840.10008.5.1.4.1.1.2", "1.2.3"]},
            {"Rows": None},
            {"BitsAllocated": None},
            {"RescaleSlope": float("nan"), "PixelSpacing": [float("inf"), 1]},
            {"PhotometricInterpretation": "NONSENSE", "SamplesPerPixel": 5},
        ],
    )
    def test_odd_headers_are_read_or_refused_by_name(self, write_dicom, attributes):
        path = write_dicom("a.dcm", np.zeros((4, 6), np.uint16), **attributes)
        assert shown_or_refused(path) in (True, f"{path}: ")

    @pytest.mark.parametrize("frames", [-1, -20000])
    def test_a_file_of_less_than_one_frame_is_refused(self, write_dicom, frames):
        path = write_dicom("a.dcm", np.zeros((4, 6), np.uint16), NumberOfFrames=frames)
        with pytest.raises(ImageError, match=rf"a\.dcm: says it has {frames} frames|a\.dcm: cannot be read as DICOM"):
            read_dicom(path)

    @pytest.mark.parametrize("error", [RecursionError("deep"), MemoryError(), AttributeError("none"), KeyError(1)])
    def test_whatever_pydicom_raises_becomes_an_error_that_names_the_file(self, write_dicom, monkeypatch, error):
        path = write_dicom("a.dcm", np.zeros((4, 6), np.uint16))

        def fail(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(pydicom, "dcmread", fail)
        words = "does not fit into memory as" if isinstance(error, MemoryError) else "cannot be read as"
        with pytest.raises(ImageError, match=rf"a\.dcm: {words} DICOM"):
            read_dicom(path)

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_RLE.dcm", "SC_rgb_rle_2frame.dcm"])
    def test_files_with_wrong_bytes_are_read_or_refused(self, tmp_path, name):
        content, rng = sample(name).read_bytes(), np.random.default_rng(0)
        path = tmp_path / "a.dcm"
        for _ in range(40):
            damaged = bytearray(content)
            for place in rng.integers(128, min(len(content), 3000), 4):
                damaged[place] = rng.integers(256)
            path.write_bytes(damaged)
            assert shown_or_refused(path) in (True, f"{path}: ")

    def test_a_missing_file_or_folder_is_named(self, tmp_path):
        with pytest.raises(ImageError, match=r"none\.dcm: cannot be opened \(No such file or directory\)"):
            read_dicom(tmp_path / "none.dcm")
        with pytest.raises(ImageError, match="none: no such folder"):
            read_series(tmp_path / "none")


class TestFolders:
    def test_other_files_in_a_folder_are_passed_over(self, write_series):
        folder = write_series([0.0, 3.0])
        (folder / ".DS_Store").write_bytes(b"\x00\x00\x00\x01Bud1")
        (folder / "._001.dcm").write_bytes(b"resource fork")
        (folder / "notes.txt").write_text("first visit")
        shutil.copy(sample("rtplan.dcm"), folder / "plan.dcm")
        assert len(read_series(folder).pixels) == 2

    def test_a_folder_of_several_series_lists_them(self, write_series, tmp_path):
        write_series([0.0, 3.0], folder="study/one", SeriesInstanceUID="1.2.3.1")
        write_series([0.0, 3.0, 6.0], folder="study/two", SeriesInstanceUID="1.2.3.2")
        with pytest.raises(
            ImageError,
            match=r"holds 2 series: 1: 1\.2\.3\.1 \(2 files, CT\); 2: 1\.2\.3\.2 \(3 files, CT\).*--series 2",
        ):
            read_series(tmp_path / "study")
        for series in ("1.2.3.1", 1, "1"):
            assert len(read_series(tmp_path / "study", series=series).pixels) == 2
        assert [len(image.pixels) for image in read_stacks(tmp_path / "study")] == [3, 2]
        with pytest.raises(ImageError, match=r"has no series 9\.9; there are 2: 1: 1\.2\.3\.1 .*; 2: 1\.2\.3\.2 "):
            read_series(tmp_path / "study", series="9.9")

    def test_a_folder_without_images_is_refused(self, tmp_path):
        with pytest.raises(ImageError, match="holds no DICOM image"):
            read_series(tmp_path)


class TestRecognition:
    def test_dicom_is_known_by_its_mark_under_any_name(self, write_dicom):
        assert is_dicom(write_dicom("IM0001", np.zeros((4, 4), np.uint8)))

    def test_dicom_without_preamble_is_known_and_read(self, write_dicom):
        pixels = RNG.integers(0, 99, (4, 4)).astype(np.uint8)
        path = write_dicom("a", pixels, Modality="OT")
        dataset = pydicom.dcmread(path)
        del dataset.file_meta, dataset.preamble
        bare = path.with_name("bare")
        dataset.save_as(bare, implicit_vr=True, little_endian=True)
        assert bare.read_bytes()[128:132] != b"DICM"
        assert is_dicom(bare)
        np.testing.assert_array_equal(read_dicom(bare).pixels[0], pixels)

    def test_text_is_not_dicom(self, tmp_path):
        (tmp_path / "a").write_bytes(b"\x08\x00" + b"whatever follows")
        assert not is_dicom(tmp_path / "a")
