import gzip
import struct
import warnings
from pathlib import Path

import nibabel
import numpy as np
import pytest

from vesalius.errors import ImageError
from vesalius.imaging.dicom import read_dicom, read_stacks
from vesalius.imaging.dicom_attributes import read_csa

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
