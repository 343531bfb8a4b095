"""Values, windows and places of frames, and the tiles of mosaics."""

import gzip
import struct
import warnings
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from vesalius.errors import ImageError
from vesalius.imaging.dicom import read_dicom, read_series, read_stacks
from vesalius.imaging.dicom_attributes import read_csa


def lookup_table(entries: list[int], first: int, bits: int) -> Dataset:
    table = Dataset()
    table.LUTDescriptor = [len(entries), first, bits]
    table.LUTData = entries
    table["LUTDescriptor"].VR = "US"
    table["LUTData"].VR = "US"
    return table


def test_ct_is_rescaled_to_hu(write_dicom):
    pixels = np.array([[24, 1024], [1064, 2024]], np.uint16)
    image = read_dicom(write_dicom("a.dcm", pixels, RescaleSlope=1, RescaleIntercept=-1024))
    assert image.pixels.dtype == np.float32
    np.testing.assert_array_equal(image.pixels[0], [[-1000, 0], [40, 1000]])


def test_fractional_slopes_are_applied(write_dicom):
    pixels = np.array([[2, 4]], np.uint8)
    image = read_dicom(write_dicom("a.dcm", pixels, Modality="PT", RescaleSlope=0.25, RescaleIntercept=1))
    np.testing.assert_array_equal(image.pixels[0], [[1.5, 2.0]])


def test_padding_of_ct_becomes_air(write_dicom):
    pixels = np.array([[-2000, -1990, -3000, 40]], np.int16)
    image = read_dicom(write_dicom("a.dcm", pixels, PixelPaddingValue=-2000, RescaleIntercept=0))
    np.testing.assert_array_equal(image.pixels[0], [[-1024, -1024, -1024, 40]])


@pytest.mark.parametrize(("photometric", "filled"), [("MONOCHROME2", 100), ("MONOCHROME1", 200)])
def test_padding_elsewhere_becomes_the_darkest_value(write_dicom, photometric, filled):
    pixels = np.array([[0, 1, 100, 200]], np.uint16)
    attributes = {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 1, "PhotometricInterpretation": photometric}
    image = read_dicom(write_dicom("a.dcm", pixels, Modality="DX", **attributes))
    np.testing.assert_array_equal(image.pixels[0], [[filled, filled, 100, 200]])
    assert image.slices()[0].rgb[0, :2].max() == 0


def test_the_first_of_several_windows_shows_a_ct(write_dicom):
    pixels = np.array([[-160, 39, 40, 239]], np.int16)
    path = write_dicom("a.dcm", pixels, WindowCenter=[40, -600], WindowWidth=[400, 1500])
    image = read_dicom(path)
    assert image.window == (40, 400)
    np.testing.assert_allclose(image.slices()[0].rgb[0, :, 0], [0, 199 / 399, 200 / 399, 1], atol=1e-6)


@pytest.mark.parametrize("window", [{}, {"WindowCenter": 40, "WindowWidth": 0}, {"WindowCenter": 40}])
def test_without_a_valid_window_ct_shows_soft_tissue(write_dicom, window):
    image = read_dicom(write_dicom("a.dcm", np.array([[-160, 40, 239]], np.int16), RescaleIntercept=0, **window))
    assert image.window is None
    np.testing.assert_allclose(image.slices()[0].rgb[0, :, 0], [0, 200 / 399, 1], atol=1e-6)


def test_monochrome1_is_inverted_after_the_window(write_dicom):
    pixels = np.array([[0, 100, 128, 255]], np.uint8)
    attributes = {"Modality": "DX", "WindowCenter": 128, "WindowWidth": 256}
    light = read_dicom(write_dicom("a.dcm", pixels, **attributes))
    dark = read_dicom(write_dicom("b.dcm", pixels, PhotometricInterpretation="MONOCHROME1", **attributes))
    assert dark.inverted
    np.testing.assert_array_equal(dark.pixels, light.pixels)
    np.testing.assert_allclose(dark.slices()[0].rgb, 1 - light.slices()[0].rgb, atol=1e-6)
    np.testing.assert_allclose(dark.slices()[0].rgb[0, :, 0], [1, 155 / 255, 127 / 255, 0], atol=1e-6)


def test_a_radiograph_with_a_voi_table_is_shown_through_it(write_dicom):
    pixels = np.array([[0, 1, 2, 3]], np.uint16)
    table = lookup_table([0, 1023, 1023, 4095], first=0, bits=12)
    image = read_dicom(write_dicom("a.dcm", pixels, Modality="DX", VOILUTSequence=[table]))
    np.testing.assert_allclose(image.slices()[0].rgb[0, :, 0], [0, 1023 / 4095, 1023 / 4095, 1], atol=1e-6)


def test_a_modality_table_replaces_slope_and_intercept(write_dicom):
    pixels = np.array([[0, 1, 2]], np.uint16)
    table = lookup_table([5, 50, 500], first=0, bits=16)
    table.ModalityLUTType = "OD"
    image = read_dicom(write_dicom("a.dcm", pixels, Modality="DX", ModalityLUTSequence=[table]))
    np.testing.assert_array_equal(image.pixels[0], [[5, 50, 500]])


def test_the_header_keeps_the_region_and_no_name(write_dicom):
    attributes = {"BodyPartExamined": "KNEE", "SeriesDescription": "t1 sag", "ImageType": ["ORIGINAL", "PRIMARY"]}
    image = read_dicom(write_dicom("a.dcm", np.zeros((2, 2), np.uint8), **attributes))
    assert image.header["ImageType"] == "ORIGINAL\\PRIMARY"
    assert image.header["BodyPartExamined"] == "KNEE"
    assert image.header["SeriesDescription"] == "t1 sag"
    assert not any("Nobody" in text or "12345" in text for text in image.header.values())
    assert image.modality == "CT"


def test_a_radiograph_keeps_its_detector_spacing(write_dicom):
    path = write_dicom("a.dcm", np.zeros((2, 2), np.uint8), Modality="DX", ImagerPixelSpacing=[0.2, 0.1])
    assert read_dicom(path).pixel_spacing == (0.2, 0.1)


def test_slices_with_and_without_a_slope_form_one_stack(write_dicom, tmp_path):
    for number, slope in enumerate((1, 2)):
        place = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "ImagePositionPatient": [0, 0, number]}
        attributes = {"Modality": "PT", "PixelSpacing": [1, 1], "RescaleSlope": slope, "RescaleIntercept": 0}
        write_dicom(f"s/{number}", np.full((2, 4), 7, np.uint8), **place, **attributes)
    np.testing.assert_array_equal(read_series(tmp_path / "s").pixels[:, 0, 0], [7, 14])


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, False),  # a screen shot of a CT
        ({"RescaleIntercept": 0, "RescaleSlope": 1}, True),
        ({"RescaleIntercept": -1024, "RescaleSlope": 1, "RescaleType": "HU"}, True),
        ({"RescaleIntercept": 0, "RescaleSlope": 1, "RescaleType": "US"}, False),
        ({"Modality": "MR", "RescaleIntercept": 0}, False),
    ],
)
def test_values_are_hu_only_where_the_file_says_how_to_rescale(write_dicom, attributes, expected):
    image = read_dicom(write_dicom("a.dcm", np.array([[0, 500, 2000]], np.int16), **attributes))
    assert image.hounsfield is expected


def test_a_screen_shot_of_a_ct_is_shown_in_full_and_has_no_lung_window(write_dicom):
    pixels = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))
    image = read_dicom(write_dicom("a.dcm", pixels, SOPClassUID="1.2.840.10008.5.1.4.1.1.7"))
    assert image.pixels.dtype == np.uint8
    np.testing.assert_allclose(image.slices()[0].rgb[0, :, 0], pixels[0] / 255, atol=1e-6)
    with pytest.raises(ImageError, match=r"a\.dcm: window 'lung' is in HU, and the file does not say"):
        image.slices(window="lung")


def test_a_ct_that_is_not_in_hu_keeps_values_below_air(write_dicom):
    image = read_dicom(write_dicom("a.dcm", np.array([[-3000, 0, 40]], np.int16)))
    np.testing.assert_array_equal(image.pixels[0], [[-3000, 0, 40]])
    assert np.ptp(image.slices()[0].rgb) == 1


def test_the_background_of_an_mr_does_not_wash_it_out_where_rescaling_moves_it(write_dicom):
    pixels = np.zeros((64, 64), np.uint16)
    pixels[16:48, 16:48] = np.linspace(1900, 2100, 32)
    attributes = {"Modality": "MR", "RescaleSlope": "9.57", "RescaleIntercept": "-19595"}
    shown = read_dicom(write_dicom("a.dcm", pixels, **attributes)).slices()[0].rgb[..., 0]
    plain = read_dicom(write_dicom("b.dcm", pixels, Modality="MR")).slices()[0].rgb[..., 0]
    np.testing.assert_allclose(shown, plain, atol=1e-4)
    assert np.ptp(shown[16:48, 16:48]) == 1


@pytest.mark.parametrize("function", ["LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("center", "width"), [(0.5, 1.0), (0.3, 0.2), (40.0, 400.0)])
def test_windows_of_other_functions_follow_the_standard(write_dicom, function, center, width):
    stored = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    slope = max(1.0, center + width) / 4096
    window = {"WindowCenter": center, "WindowWidth": width, "VOILUTFunction": function}
    attributes = {"Modality": "PT", "RescaleSlope": f"{slope:.10f}", "RescaleIntercept": "0"}
    image = read_dicom(write_dicom("a.dcm", stored, **attributes, **window))
    x = stored * float(f"{slope:.10f}")
    exact = np.clip((x - center) / width + 0.5, 0, 1)
    expected = exact if function == "LINEAR_EXACT" else 1 / (1 + np.exp(-4 * (x - center) / width))
    assert image.window_function == function
    np.testing.assert_allclose(image.slices()[0].rgb[..., 0], expected, atol=1e-5)


def test_a_linear_window_narrower_than_one_is_not_used_and_an_exact_one_is(write_dicom):
    window = {"WindowCenter": 0.5, "WindowWidth": 0.4, "Modality": "PT"}
    pixels = np.array([[0, 1]], np.uint16)
    assert read_dicom(write_dicom("a.dcm", pixels, **window)).window is None
    assert read_dicom(write_dicom("b.dcm", pixels, VOILUTFunction="SIGMOID", **window)).window == (0.5, 0.4)


def test_float_pixels_stay_float(write_dicom):
    values = np.array([[0.125, -3.5, 1e6]], np.float32)
    path = write_dicom("a.dcm", np.zeros((1, 3), np.uint16), Modality="MR")
    dataset = pydicom.dcmread(path)
    del dataset.PixelData
    dataset.BitsAllocated, dataset.FloatPixelData = 32, values.tobytes()
    dataset.save_as(path)
    np.testing.assert_array_equal(read_dicom(path).pixels[0], values)


class TestNumbersThatNothingWasMeasuredWith:
    @pytest.mark.parametrize("scale", [{"RescaleSlope": 1e30}, {"RescaleIntercept": "1e31"}])
    def test_a_scale_beyond_any_scanner_is_refused(self, write_dicom, scale):
        path = write_dicom("a.dcm", np.ones((4, 6), np.int16), **scale)
        with pytest.raises(ImageError, match=r"a\.dcm: .*scale nothing a scanner measures"):
            read_dicom(path)

    @pytest.mark.parametrize("window", [{"WindowCenter": 1e30}, {"WindowWidth": 1e30}, {"WindowWidth": float("nan")}])
    def test_a_window_beyond_any_value_is_passed_over(self, write_dicom, window):
        usual = {"WindowCenter": 40, "WindowWidth": 400}
        assert read_dicom(write_dicom("a.dcm", np.ones((4, 6), np.int16), **{**usual, **window})).window is None

    @pytest.mark.parametrize("spacing", [[1e-12, 1], [1e30, 1e30], [float("nan"), 1]])
    def test_a_spacing_no_detector_has_is_passed_over(self, write_dicom, spacing):
        path = write_dicom("a.dcm", np.ones((4, 6), np.int16), PixelSpacing=spacing, ImagerPixelSpacing=[2, 3])
        assert read_dicom(path).pixel_spacing == (2, 3)

    @pytest.mark.parametrize("thickness", [1e30, 1e-30, float("inf")])
    def test_a_thickness_no_slice_has_is_passed_over(self, write_dicom, thickness):
        place = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "ImagePositionPatient": [0, 0, 0]}
        path = write_dicom(
            "a.dcm", np.ones((4, 6), np.int16), PixelSpacing=[2, 3], SpacingBetweenSlices=thickness, **place
        )
        assert read_dicom(path).spacing == (1, 2, 3)

    @pytest.mark.parametrize("position", [[1e30, 0, 0], [float("nan"), 0, 0], [0, 0]])
    def test_a_position_outside_the_room_places_nothing(self, write_dicom, position):
        place = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "ImagePositionPatient": position}
        assert read_dicom(write_dicom("a.dcm", np.ones((4, 6), np.int16), PixelSpacing=[2, 3], **place)).affine is None

    def test_slices_that_step_within_their_own_plane_make_no_volume(self, write_series, write_dicom):
        folder = write_series([0.0])
        pixels, place = np.zeros((4, 6), np.int16), [0.0, 4000.0, 0.5]
        series = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [2.0, 0.5], "SliceThickness": 3.0}
        write_dicom("series/other", pixels, ImagePositionPatient=place, InstanceNumber=2, **series)
        (stack,) = read_stacks(folder)
        assert (len(stack.pixels), stack.affine) == (2, None)


COSINES = [1, 0, 0, 0, 1, 0]
TILE = (4, 6)


def csa(elements: dict[str, list[str]], *, layout: int = 2) -> bytes:
    """The private header of Siemens scanners, in its newer (2) or older (1) layout."""
    content = b"SV10\x04\x03\x02\x01" if layout == 2 else b""
    content += struct.pack("<ii", len(elements), 77)
    first = len(next(iter(elements.values())))
    for name, values in elements.items():
        content += struct.pack("<64si4s3i", name.encode(), len(values), b"FD\0\0", 3, len(values), 77)
        for value in values:
            data = value.encode() + b"\0"
            lengths = (len(data),) * 4 if layout == 2 else (len(data) + first, 0, 0, 0)
            content += struct.pack("<4i", *lengths) + data + bytes(-len(data) % 4)
    return content


def told(count: int = 7, normal: tuple[float, ...] = (0, 0, 1), **options: int) -> bytes:
    elements = {"NumberOfImagesInMosaic": [str(count)], "SliceNormalVector": [f"{part:.8f}" for part in normal]}
    return csa({"EchoLinePosition": ["32"], **elements}, **options)


@pytest.fixture
def write_mosaic(write_dicom):
    """Write 3×3 tiles of 4×6 pixels, whose values are their numbers, the last two empty."""

    def write(name: str = "mosaic.dcm", header: bytes | None = None, first: int = 100, **attributes: object) -> Path:
        rows = [[np.full(TILE, first + 3 * row + column) for column in range(3)] for row in range(3)]
        pixels = np.block(rows).astype(np.uint16)
        pixels[8:, 6:] = 0
        place = {"ImageOrientationPatient": COSINES, "ImagePositionPatient": [-10.0, -20.0, 30.0]}
        path = write_dicom(
            name,
            pixels,
            Modality="MR",
            ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"],
            PixelSpacing=[2.0, 0.5],
            SpacingBetweenSlices=3.0,
            **place,
            **attributes,
        )
        if header is not None:
            add_csa(path, header)
        return path

    return write


def add_csa(path: Path, header: bytes) -> None:
    import pydicom

    dataset = pydicom.dcmread(path)
    block = dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    block.add_new(0x10, "OB", header)
    dataset.save_as(path)


@pytest.mark.parametrize("layout", [1, 2])
def test_a_mosaic_is_taken_apart_into_its_slices(write_mosaic, layout):
    image = read_dicom(write_mosaic(header=told(layout=layout)))
    assert image.pixels.shape == (7, *TILE)
    assert image.pixels[:, 0, 0].tolist() == [100, 101, 102, 103, 104, 105, 106]
    assert image.spacing == (3.0, 2.0, 0.5)
    assert image.notices == ()


def test_the_first_tile_lies_in_the_middle_of_where_the_header_puts_the_whole(write_mosaic):
    image = read_dicom(write_mosaic(header=told()))
    # The header's corner is that of a picture as large as the mosaic around the centre of the slice.
    corner = (-10 + 0.5 * (18 - 6) / 2, -20 + 2.0 * (12 - 4) / 2, 30.0)
    np.testing.assert_allclose(image.affine @ [0, 0, 0, 1], [-corner[0], -corner[1], corner[2], 1])
    np.testing.assert_allclose(image.affine @ [6, 0, 0, 1], [-corner[0], -corner[1], corner[2] + 18, 1])


def test_tiles_may_run_against_the_normal_of_the_slices(write_mosaic):
    image = read_dicom(write_mosaic(header=told(normal=(0, 0, -1))))
    assert image.pixels[:, 0, 0].tolist() == [106, 105, 104, 103, 102, 101, 100]
    np.testing.assert_allclose((image.affine @ [6, 0, 0, 1])[2], 30)


def test_each_mosaic_of_a_series_is_a_volume(write_mosaic, tmp_path):
    for number in range(3):
        write_mosaic(f"s/{number}", told(), first=100 * (number + 1), InstanceNumber=number + 1)
    stacks = read_stacks(tmp_path / "s")
    assert [int(image.pixels[2, 0, 0]) for image in stacks] == [102, 202, 302]


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"SV10\x04\x03\x02\x01\xff\xff\xff\x7f",
        told()[:150],
        told(count=0),
        told(normal=(0, 0)),
        csa({"NumberOfImagesInMosaic": ["seven"], "SliceNormalVector": ["0", "0", "1"]}),
    ],
)
def test_without_a_header_that_says_how_a_mosaic_is_refused(write_mosaic, header):
    with pytest.raises(ImageError, match=r"mosaic\.dcm: is a mosaic of slices, and the private header \(CSA\)"):
        read_dicom(write_mosaic(header=header))


def test_tiles_that_do_not_divide_the_picture_are_refused(write_mosaic):
    with pytest.raises(ImageError, match="mosaic of 10 slices, which its 12×18 pixels do not divide"):
        read_dicom(write_mosaic(header=told(count=10)))


def test_a_mosaic_of_a_scanner_lies_where_nibabel_puts_it(tmp_path):
    packed = Path(nibabel.__file__).parent / "nicom" / "tests" / "data" / "siemens_dwi_1000.dcm.gz"
    if not packed.is_file():
        pytest.skip("nibabel was installed without its test data")
    path = tmp_path / "mosaic.dcm"
    path.write_bytes(gzip.decompress(packed.read_bytes()))
    image = read_dicom(path)
    voxels, affine = image.to_source_grid(np.asarray(image.pixels))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from nibabel.nicom.dicomwrappers import wrapper_from_file

        theirs = wrapper_from_file(path)
        np.testing.assert_array_equal(voxels.transpose(1, 0, 2), theirs.get_data())
        np.testing.assert_allclose(affine, (np.diag([-1, -1, 1, 1]) @ theirs.affine)[:, [1, 0, 2, 3]], atol=1e-4)


def test_no_private_header_is_no_fault():
    from pydicom.dataset import Dataset

    assert read_csa(Dataset()) == {}


@pytest.mark.parametrize("normal", [(0, 0, 0), (float("nan"), 0, 1), (1e300, 1e300, 1e300), (float("inf"), 0, 0)])
def test_a_mosaic_whose_slices_have_no_direction_is_refused(write_mosaic, normal):
    path = write_mosaic(header=told(normal=normal))
    with pytest.raises(ImageError, match=r"mosaic\.dcm: is a mosaic .*missing or incomplete"):
        read_dicom(path)


def test_a_mosaic_of_no_number_of_slices_is_refused(write_mosaic):
    header = csa({"NumberOfImagesInMosaic": ["nan"], "SliceNormalVector": ["0", "0", "1"]})
    with pytest.raises(ImageError, match=r"mosaic\.dcm: is a mosaic .*missing or incomplete"):
        read_dicom(write_mosaic(header=header))
