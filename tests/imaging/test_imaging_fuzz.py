"""Whatever a file holds, it is read soundly or refused clearly: odd headers, damaged bytes, sizes that do not exist."""

import gzip
import shutil
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FORMATS = (
    "grey.png", "colour.png", "palette.png", "deep.png", "grey.jpg", "turned.jpg", "plain.tif", "packed.tif",
    "pages.tif", "fax.tif", "grey.bmp", "colour.bmp", "plain.nii", "packed.nii.gz", "several.nii", "second.nii",
    "plain.mgz", "explicit.dcm", "implicit.dcm", "unmarked.dcm", "frames.dcm", "rle.dcm", "jpeg2000.dcm", "jpeg.dcm",
    "folder",
)  # fmt: skip
FEW, MANY = 15, 200
"""Damaged copies of each sound file in the fast and in the slow test."""
MOST_MEBIBYTES = 64
"""By which memory may grow while a file is refused whose header promises gigabytes."""
ODD = settings(
    max_examples=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="session")
def files(import_script):
    return import_script("experiments/benchmarks", "fuzz_files")


@pytest.fixture(scope="session")
def readers(import_script):
    return import_script("experiments/benchmarks", "fuzz_readers")


@pytest.fixture(scope="session")
def sound(files) -> dict[str, bytes]:
    return files.sound_files()


def choose_with(data: st.DataObject) -> Callable:
    return lambda options: data.draw(st.sampled_from(options))


def try_seeds(files, readers, sound, folder: Path, kind: str, seeds: range) -> set[str]:
    """Results of inputs that chance makes; fails at the first that is neither read nor refused."""
    results = set()
    for seed in seeds:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        path = files.write_case(folder, kind, files.seeded(seed), sound)
        try:
            results.add(readers.read_or_refuse(path))
        except readers.FaultError as fault:
            pytest.fail(f"seed {seed}: {fault}")
    return results


def test_files_that_are_sound_are_read(files, readers, sound, tmp_path):
    assert {name for name in sound if not name.startswith("folder/")} | {"folder"} == set(FORMATS)
    for name, content in sound.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert {name: readers.read_or_refuse(tmp_path / name) for name in FORMATS} == dict.fromkeys(FORMATS, "read")


class TestOddHeaders:
    @pytest.mark.slow
    @ODD
    @given(data=st.data())
    def test_of_dicom(self, files, readers, tmp_path, data):
        path = tmp_path / "odd.dcm"
        path.write_bytes(files.dicom_with_odd_header(choose_with(data)))
        assert readers.read_or_refuse(path) in ("read", "refused")

    @pytest.mark.slow
    @ODD
    @given(data=st.data())
    def test_of_nifti(self, files, readers, tmp_path, data):
        path = tmp_path / "odd.nii"
        path.write_bytes(files.nifti_with_odd_header(choose_with(data)))
        assert readers.read_or_refuse(path) in ("read", "refused")

    @pytest.mark.slow
    @pytest.mark.parametrize("kind", ["dicom header", "nifti header"])
    def test_thousands_of_each(self, files, readers, sound, tmp_path, kind):
        found = try_seeds(files, readers, sound, tmp_path / "case", kind, range(3000))
        assert found == {"read", "refused"}


class TestDamagedBytes:
    @pytest.mark.parametrize("name", FORMATS)
    def test_of_each_format(self, files, readers, sound, tmp_path, name):
        try_seeds(files, readers, sound, tmp_path / "case", name, range(FEW))

    @pytest.mark.slow
    @pytest.mark.parametrize("name", FORMATS)
    def test_of_each_format_many_times(self, files, readers, sound, tmp_path, name):
        found = try_seeds(files, readers, sound, tmp_path / "case", name, range(FEW, FEW + MANY))
        assert found == {"read", "refused"}


def with_png_size(content: bytes, side: int) -> bytes:
    chunk = b"IHDR" + struct.pack(">II", side, side) + content[24:29]
    return content[:12] + chunk + struct.pack(">I", zlib.crc32(chunk)) + content[33:]


def with_jpeg_size(content: bytes, side: int) -> bytes:
    at = content.index(b"\xff\xc0") + 5
    return content[:at] + struct.pack(">HH", side, side) + content[at + 4 :]


def with_tiff_size(content: bytes, side: int) -> bytes:
    """Width and length are the first tags that Pillow writes, of type SHORT or LONG."""
    changed = bytearray(content)
    at = int.from_bytes(content[4:8], "little") + 2
    for entry in (at, at + 12):
        assert int.from_bytes(content[entry : entry + 2], "little") in (256, 257)
        changed[entry + 2 : entry + 12] = struct.pack("<HII", 4, 1, side)
    return bytes(changed)


def with_bmp_size(content: bytes, side: int) -> bytes:
    return content[:18] + struct.pack("<ii", side, side) + content[26:]


def with_dicom_size(content: bytes, side: int) -> bytes:
    for element in (0x10, 0x11):
        start = struct.pack("<HH", 0x28, element) + b"US\2\0"
        at = content.index(start) + len(start)
        content = content[:at] + struct.pack("<H", side) + content[at + 2 :]
    return content


def with_nifti_size(content: bytes, side: int) -> bytes:
    return content[:42] + struct.pack("<3h", side // 2, side // 2, 1) + content[48:]


def with_packed_nifti_size(content: bytes, side: int) -> bytes:
    return gzip.compress(with_nifti_size(gzip.decompress(content), side))


def with_mgz_size(content: bytes, side: int) -> bytes:
    whole = gzip.decompress(content)
    return gzip.compress(whole[:4] + struct.pack(">3i", side, side, 1) + whole[16:])


def with_codestream_size(content: bytes, side: int) -> bytes:
    """A JPEG 2000 stream inside DICOM whose own header tells another size than DICOM's."""
    at = content.index(b"\xff\x4f\xff\x51") + 8
    for field in (at, at + 16):  # of the image, and of its tiles
        content = content[:field] + struct.pack(">II", side, side) + content[field + 8 :]
    return content


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is asked of the kernel")
class TestSizesThatAreNotThere:
    @pytest.mark.parametrize("side", [60_000, 9_900])
    @pytest.mark.parametrize(
        ("name", "change"),
        [
            ("grey.png", with_png_size),
            ("grey.jpg", with_jpeg_size),
            ("plain.tif", with_tiff_size),
            ("packed.tif", with_tiff_size),
            ("fax.tif", with_tiff_size),
            ("grey.bmp", with_bmp_size),
            ("explicit.dcm", with_dicom_size),
            ("rle.dcm", with_dicom_size),
            ("jpeg2000.dcm", with_dicom_size),
            ("jpeg2000.dcm", with_codestream_size),
            ("jpeg.dcm", with_dicom_size),
            ("jpeg.dcm", with_jpeg_size),
            ("plain.nii", with_nifti_size),
            ("packed.nii.gz", with_packed_nifti_size),
            ("plain.mgz", with_mgz_size),
        ],
    )
    def test_are_refused_and_not_allocated(self, readers, sound, tmp_path, name, change, side):
        path = tmp_path / name
        path.write_bytes(change(sound[name], side))
        (tmp_path / f"sound-{name}").write_bytes(sound[name])
        readers.measure(tmp_path / f"sound-{name}")  # whatever loads on first use
        outcome = readers.measure(path)
        assert (outcome.result, outcome.fault) == ("refused", None)
        assert outcome.mebibytes < MOST_MEBIBYTES
