import os

import pytest
from rich.progress import Progress

from vesalius.data.check import facts as reading
from vesalius.data.check.facts import gather_uses, read_files
from vesalius.data.check.findings import read_rows
from vesalius.errors import DataError


def read(root, jobs=1):
    return read_files(root, *gather_uses(read_rows(root)[0]), jobs=jobs, bar=Progress(disable=True))


def test_each_file_is_read_once_and_missing_ones_are_left_out(root, change, monkeypatch):
    change("train", lambda records: records.append(records[0]))
    (root / "masks/val_0.png").unlink()
    seen: list[str] = []
    examine = reading._examine
    monkeypatch.setattr(reading, "_examine", lambda root, file: (seen.append(file), examine(root, file))[1])
    facts = read(root)
    assert len(seen) == len(set(seen)) == 13
    assert (len(facts.images), len(facts.masks), facts.findings) == (7, 6, [])


@pytest.mark.parametrize(("folder", "kind"), [("images", "unreadable_image"), ("masks", "unreadable_mask")])
def test_what_cannot_be_read_is_named_by_its_path_in_the_data_set(root, folder, kind):
    (root / folder / "test_1.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    (finding,) = read(root).findings
    assert finding.kind == kind
    assert finding.message.startswith(f"{folder}/test_1.png: cannot be read as a picture")
    assert str(finding.places[0]) == f"{folder}/test_1.png (test, record 1)"


def end_process(*_: object) -> None:
    os._exit(1)


def test_a_process_that_is_ended_from_outside_is_told(root, monkeypatch):
    monkeypatch.setattr(reading, "WORTH", 1)
    monkeypatch.setattr(reading, "INTERRUPTED_BY_CALLER", (1, 2))
    monkeypatch.setattr(reading.signal, "signal", end_process)
    with pytest.raises(DataError, match="ended from outside.*--jobs 1"):
        read(root, jobs=2)
