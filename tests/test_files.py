import json
from pathlib import Path

import pytest

from vesalius.errors import OutputError
from vesalius.files import write_json, write_text, writing


def write_half(path: Path) -> None:
    with writing(path) as unfinished:
        unfinished.write_text("half")
        raise RuntimeError("interrupted")


def test_a_file_appears_only_when_it_is_whole(tmp_path):
    with pytest.raises(RuntimeError):
        write_half(tmp_path / "a.txt")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "a.json", {"run": 1})
    with pytest.raises(RuntimeError):
        write_half(tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text()) == {"run": 1}


def test_folders_on_the_way_are_made(tmp_path):
    write_json(tmp_path / "new" / "folder" / "a.json", {})
    assert (tmp_path / "new" / "folder" / "a.json").read_text() == "{}\n"


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(OutputError, match=r"taken/a\.json: cannot be written"):
        write_json(tmp_path / "taken" / "a.json", {})


def test_texts_are_written_in_utf_8(tmp_path):
    write_text(tmp_path / "new" / "a.md", "Größe ≤ 5 mm\n")
    assert (tmp_path / "new" / "a.md").read_bytes() == "Größe ≤ 5 mm\n".encode()
