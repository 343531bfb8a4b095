import pytest

from vesalius.errors import ImageError
from vesalius.imaging.formats import IMAGE_SUFFIXES, has_dicom_mark, read_start


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
