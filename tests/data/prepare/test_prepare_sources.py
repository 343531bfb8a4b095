import zipfile
from pathlib import Path

import pytest

from vesalius.data.prepare import sources
from vesalius.data.prepare.sources import Source
from vesalius.errors import DataError, ImageError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "set/images").mkdir(parents=True)
    (tmp_path / "set/images/a.txt").write_text("a")
    (tmp_path / "set/.hidden").write_text("no")
    (tmp_path / "set/__MACOSX").mkdir()
    (tmp_path / "set/__MACOSX/a.txt").write_text("no")
    return tmp_path / "set"


def pack(archive: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return archive


def test_a_folder_lists_its_files_but_not_hidden_ones(folder):
    source = Source(folder)
    assert source.paths == ("set/images/a.txt",)
    with source.open("set/images/a.txt") as path:
        assert path == folder / "images/a.txt"


def test_archives_read_as_if_unpacked_alone_or_in_a_folder(folder, tmp_path):
    archive = pack(folder / "more.zip", {"inner/b.nii.gz": b"b", "__MACOSX/b": b"no", "inner/": b""})
    assert Source(archive).paths == ("more/inner/b.nii.gz",)
    source = Source(folder)
    assert source.paths == ("set/images/a.txt", "set/more.zip", "set/more/inner/b.nii.gz")
    with source.open("set/more/inner/b.nii.gz") as path:
        assert path.read_bytes() == b"b"
        assert path.name.endswith(".nii.gz")
    assert not path.exists()


def test_a_member_never_leaves_its_temporary_folder(tmp_path):
    source = Source(pack(tmp_path / "evil.zip", {"../../evil.txt": b"!", "/etc/evil.txt": b"!"}))
    for name in source.paths:
        with source.open(name) as path:
            assert path.name == "member.txt"
    assert not list(tmp_path.parent.glob("evil.txt"))


def test_errors_within_an_archive_name_the_member(tmp_path):
    source = Source(pack(tmp_path / "set.zip", {"a.png": b"no picture"}))
    with pytest.raises(ImageError, match=r"set\.zip/a\.png: is damaged"), source.open("set/a.png") as path:
        raise ImageError(f"{path}: is damaged")


def test_a_member_whose_bytes_are_wrong_is_named(tmp_path):
    archive = pack(tmp_path / "set.zip", {"a.txt": b"a" * 1000})
    content = bytearray(archive.read_bytes())
    content[40] ^= 255
    archive.write_bytes(content)
    source = Source(archive)
    with pytest.raises(DataError, match=r"set\.zip/a\.txt: cannot be unpacked"), source.open("set/a.txt"):
        pass


def test_what_is_no_archive_or_not_there_is_named(tmp_path):
    (tmp_path / "set.zip").write_text("no archive")
    with pytest.raises(DataError, match=r"set\.zip: is no zip archive"):
        Source(tmp_path / "set.zip")
    with pytest.raises(DataError, match="nowhere: no such folder or zip archive"):
        Source(tmp_path / "nowhere")


def test_the_stamp_changes_with_the_file(folder):
    before = Source(folder).stamp("set/images/a.txt")
    (folder / "images/a.txt").write_text("changed")
    assert Source(folder).stamp("set/images/a.txt") != before


def test_a_byte_order_mark_is_dropped_and_other_encodings_are_refused(folder):
    (folder / "table.csv").write_bytes("\ufeffimage".encode())
    (folder / "latin.csv").write_bytes("größe".encode("latin-1"))
    assert Source(folder).read_text("set/table.csv") == "image"
    with pytest.raises(DataError, match=r"latin\.csv: is not UTF-8"):
        Source(folder).read_text("set/latin.csv")


def test_archives_are_closed_at_the_end_of_the_block(tmp_path):
    with Source(pack(tmp_path / "set.zip", {"a.txt": b"a"})) as source:
        assert source.read_text("set/a.txt") == "a"
        (archive,) = source._archives.values()
        assert archive.fp is not None
    assert archive.fp is None
    assert source.read_text("set/a.txt") == "a"
    source.close()
    source.close()


def test_a_member_that_unpacks_to_more_than_the_limit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "LARGEST_MEMBER", 1000)
    archive = pack(tmp_path / "bomb.zip", {"small.txt": b"a" * 1000, "large.txt": b"a" * 1001})
    with Source(archive) as source:
        with source.open("bomb/small.txt") as path:
            assert path.stat().st_size == 1000
        with (
            pytest.raises(DataError, match=r"bomb\.zip/large\.txt: unpacks to more than"),
            source.open("bomb/large.txt"),
        ):
            pass


def test_a_text_larger_than_the_limit_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "LARGEST_TEXT", 1000)
    archive = pack(tmp_path / "bomb.zip", {"small.json": b"a" * 1000, "large.json": b"a" * 1001})
    with Source(archive) as source:
        assert len(source.read_text("bomb/small.json")) == 1000
        with pytest.raises(DataError, match=r"bomb\.zip/large\.json: is larger than"):
            source.read_text("bomb/large.json")


def test_a_member_that_lies_about_its_size_writes_no_more_than_it_says(tmp_path):
    """The guard reads the size from the archive's own list, so what it says must bind."""
    archive = pack(tmp_path / "liar.zip", {"a.txt": b"a" * 100_000})
    content = bytearray(archive.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = content.index(mark) + offset
        content[place : place + 4] = (10).to_bytes(4, "little")
    archive.write_bytes(content)
    with Source(archive) as source, pytest.raises(DataError, match="cannot be unpacked"), source.open("liar/a.txt"):
        pass
