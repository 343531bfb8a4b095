import shutil
from pathlib import Path

import numpy as np
import pytest
from pydicom.data import get_testdata_file

from vesalius.errors import ImageError
from vesalius.imaging import write_rgb
from vesalius.imaging.search import find_series


@pytest.fixture
def folder(tmp_path):
    """A CT, an MR and a cut-off file side by side, and a picture in a folder of its own."""
    for name in ("CT_small.dcm", "MR_small.dcm"):
        shutil.copy(get_testdata_file(name, download=False), tmp_path / name)
    (tmp_path / "cut.dcm").write_bytes((tmp_path / "CT_small.dcm").read_bytes()[:3000])
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / ".hidden.dcm").write_text("")
    write_rgb(tmp_path / "more" / "scan.png", np.zeros((8, 8, 3)))
    return tmp_path


def test_every_series_volume_and_picture_of_a_folder_is_found(folder):
    names = [each.source.name for each in find_series(folder)]
    assert names == ["CT_small.dcm", "MR_small.dcm", "cut.dcm", "scan.png"]


def test_what_is_wrong_with_one_keeps_nobody_from_the_others(folder):
    found = {each.source.name: each for each in find_series(folder)}
    assert found["CT_small.dcm"].read()[0].modality == "CT"
    assert found["MR_small.dcm"].read()[0].modality == "MR"
    assert found["scan.png"].read()[0].modality is None
    with pytest.raises(ImageError, match=r"cut\.dcm"):
        found["cut.dcm"].read()


def test_a_series_alone_in_its_folder_is_called_by_it(tmp_path):
    (tmp_path / "head").mkdir()
    shutil.copy(get_testdata_file("CT_small.dcm", download=False), tmp_path / "head" / "1")
    assert [each.source.name for each in find_series(tmp_path)] == ["head"]


def test_a_dicom_file_gives_all_its_stacks():
    stacks = find_series(Path(get_testdata_file("CT_small.dcm", download=False)))[0].read()
    assert [stack.modality for stack in stacks] == ["CT"]


def test_nothing_to_name_is_said(tmp_path):
    with pytest.raises(ImageError, match="no such file or folder"):
        find_series(tmp_path / "none")
    with pytest.raises(ImageError, match="holds no image"):
        find_series(tmp_path)
