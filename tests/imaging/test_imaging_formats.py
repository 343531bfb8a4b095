import pytest

from vesalius.errors import ImageError
from vesalius.imaging import read_image
from vesalius.imaging.formats import IMAGE_SUFFIXES, has_dicom_mark, read_start, reading


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
