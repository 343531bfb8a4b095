import json
from pathlib import Path

import pytest

from vesalius.errors import ConfigError, DataError, OutputError, PromptError
from vesalius.files import (
    LARGEST_TOML,
    UNFINISHED,
    check_absent,
    end_of_name,
    read_toml,
    tell_too_long,
    unfinished_name,
    write_json,
    write_text,
    writing,
)


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


@pytest.mark.parametrize("name", ["a.nii.gz", "two\nlines.png", ".hidden"])
def test_a_temporary_name_is_hidden_new_and_recognised(name):
    first, second = (unfinished_name(Path("folder") / name) for _ in range(2))
    assert first != second
    assert first.parent == Path("folder")
    found = UNFINISHED.fullmatch(first.name)
    assert found is not None
    assert found["end"] == name
    assert UNFINISHED.fullmatch(f".{'0' * 31}.{name}") is None


@pytest.mark.parametrize("name", [f"{'a' * 248}.nii.gz", f"{'é' * 124}.nii.gz"])
def test_a_name_may_be_as_long_as_the_file_system_takes(tmp_path, name):
    write_text(tmp_path / name, "whole")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    unfinished = unfinished_name(tmp_path / name)
    assert len(unfinished.name.encode()) <= 143
    assert unfinished.name.endswith(".nii.gz")
    assert UNFINISHED.fullmatch(unfinished.name)["end"] == end_of_name(name)


@pytest.mark.parametrize("path", [f"{'a' * 256}.txt", f"{'a' * 256}/a.txt"])
def test_a_name_that_is_too_long_is_told_as_that(tmp_path, path):
    with pytest.raises(OutputError, match="cannot be written .*; choose a shorter name"):
        write_text(tmp_path / path, "")
    check_absent([tmp_path / path], overwrite=False)
    assert list(tmp_path.iterdir()) == []
    assert tell_too_long([tmp_path / "new/folder" / name for name in ("a.txt", "a" * 255)]) == ""
    assert "too long" in tell_too_long([tmp_path / "new/folder" / name for name in ("a.txt", "a" * 256)])


def test_what_is_there_is_replaced_only_when_asked(tmp_path):
    for name in "abcd":
        (tmp_path / name).touch()
    paths = [tmp_path / name for name in "abcde"]
    with pytest.raises(OutputError, match=r"b, .*c and 1 more: there already; .*--overwrite"):
        check_absent(paths, overwrite=False)
    check_absent(paths, overwrite=True)
    check_absent([tmp_path / "e"], overwrite=False)


@pytest.mark.parametrize("error", [ConfigError, DataError, PromptError])
def test_a_toml_file_that_is_too_large_is_not_opened(tmp_path, error):
    with (tmp_path / "large.toml").open("wb") as file:
        file.truncate(LARGEST_TOML + 1)
    with pytest.raises(error, match=r"large\.toml: has 16,777,217 bytes; expected a TOML file of 16,777,216 at most"):
        read_toml(tmp_path / "large.toml", error)


def test_toml_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "a.toml").write_text("a = 1", encoding="utf-8-sig")
    assert read_toml(tmp_path / "a.toml") == {"a": 1}
