"""The series of files and folders, and stacks of numbered pictures."""

import re
import shutil
import time
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.data import get_testdata_file

from vesalius.errors import ImageError, ImageNotice
from vesalius.imaging import read_image, write_rgb
from vesalius.imaging.formats import file_stem
from vesalius.imaging.picture_stacks import find_picture_stacks
from vesalius.imaging.search import distinct_stems, find_series


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


def test_pictures_are_known_by_their_content(folder):
    picture = Image.open(folder / "more" / "scan.png")
    for name, kind in (("clip.gif", "GIF"), ("photo.webp", "WEBP"), ("scan", "PNG")):
        picture.save(folder / "more" / name, kind)
    (folder / "more" / "sound").write_bytes(b"RIFF" + bytes(40))
    names = [each.source.name for each in find_series(folder / "more")]
    assert names == ["clip.gif", "photo.webp", "scan", "scan.png"]


def test_files_that_are_passed_over_are_counted_by_their_ending(folder, index):
    shutil.copy(index, folder / "DICOMDIR")
    Image.open(folder / "more" / "scan.png").save(folder / "more" / "read.jp2")
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4)), folder / "v.nii.gz")
    (folder / "v.json").write_text("{}")
    for name in ("x.nrrd", "more.TXT", "none"):
        (folder / name).write_text("no image")
    (folder / "annexed.dcm").symlink_to("nowhere")
    notices = []
    names = [each.source.name for each in find_series(folder, notices=notices)]
    assert names == ["CT_small.dcm", "MR_small.dcm", "cut.dcm", "read.jp2", "scan.png", "v.nii.gz"]
    (told,) = map(str, notices)
    kinds = "2 .txt, 1 .nrrd, 1 without an ending, 1 broken link"
    assert set(re.search(r"\((.*)\)", told)[1].split(", ")) == set(kinds.split(", "))
    assert told.startswith("5 of 13 files passed over: they are not taken for images (2 .txt, ")
    assert told.endswith("). Name one alone to try it.")


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


@pytest.mark.parametrize("place", ["", "1.dcm"])
def test_the_largest_stack_has_a_notice_of_what_is_left_out(write_echoes, tmp_path, place):
    (series,) = find_series(write_echoes(tmp_path / "echoes") / place)
    image = series.read_largest()
    assert image.pixels[:, 0, 0].tolist() == ([50] if place else [50, 100, 150])
    told = ["1 of 4 slices left out: the largest of 2 stacks is taken: 1 (axial, 3 slices of 16×20"]
    assert [str(each)[: len(told[0])] for each in image.notices] == ([] if place else told)
    assert len(series.read()) == (1 if place else 2)


@pytest.fixture
def index() -> Path:
    """The index of a patient's CD."""
    return Path(get_testdata_file("DICOMDIR", download=False))


def test_the_index_of_a_patients_cd_is_no_series_of_it(folder, index):
    shutil.copy(index, folder / "DICOMDIR")
    names = [each.source.name for each in find_series(folder)]
    assert names == ["CT_small.dcm", "MR_small.dcm", "cut.dcm", "scan.png"]
    (folder / "cut.dcm").unlink()
    assert read_image(folder, series=2).notices == ()


def test_an_index_given_by_name_is_said_to_be_one(tmp_path, index):
    (found,) = find_series(index)
    with pytest.raises(ImageError, match=r"DICOMDIR: is an index of other files .* name the folder or one of its"):
        found.read()
    shutil.copy(index, tmp_path / "DICOMDIR")
    with pytest.raises(ImageError, match="holds no image"):
        find_series(tmp_path)


def test_nothing_to_name_is_said(tmp_path):
    with pytest.raises(ImageError, match="no such file or folder"):
        find_series(tmp_path / "none")
    (tmp_path / "x.nrrd").write_bytes(b"NRRD0004")
    with pytest.raises(ImageError, match=r"holds no image \(passed over: 1 \.nrrd\); name a file"):
        find_series(tmp_path)


def write(folder: Path, names: dict[str, int], size: tuple[int, int] = (4, 6)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in names.items():
        Image.fromarray(np.full(size, value, np.uint8)).save(folder / name)
    return folder


@pytest.fixture
def numbered(tmp_path):
    """Ten slices, whose order as texts is not that of their numbers."""
    return write(tmp_path / "head", {f"slice{number}.png": number for number in range(1, 11)})


def test_numbered_pictures_of_one_size_are_one_stack_in_the_order_of_their_numbers(numbered):
    with pytest.warns(ImageNotice, match=r"taken for the slices of one stack: slice1\.png to slice10\.png .*--each"):
        image = read_image(numbered)
    assert image.pixels[:, 0, 0].tolist() == list(range(1, 11))
    assert image.source == numbered


def test_a_damaged_picture_is_left_out_and_that_is_told(numbered):
    (numbered / "slice4.png").write_bytes(b"\x89PNG damaged")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (4, 6), np.uint8)).save(numbered / "slice7.png")
    whole = (numbered / "slice7.png").read_bytes()
    (numbered / "slice7.png").write_bytes(whole[:55])
    with pytest.warns(ImageNotice) as told:
        image = read_image(numbered)
    assert image.pixels[:, 0, 0].tolist() == [1, 2, 3, 5, 6, 8, 9, 10]
    assert "2 of 10 pictures left out: they are damaged (slice4.png is the first)" in str(told[1].message)


@pytest.mark.parametrize(
    "names",
    [
        ["a1.png", "a2.png"],  # too few
        ["a1.png", "a2.png", "b3.png"],  # different prefixes
        ["a1.png", "a2.jpg", "a3.png"],  # different formats
        ["a1.png", "a900.png", "a7000.png", "a7003.png"],  # identifiers, not numbers of slices
        ["a1.png", "a01.png", "a2.png", "a3.png"],  # one number twice
    ],
)
def test_other_pictures_are_no_stack(tmp_path, names):
    write(tmp_path, dict.fromkeys(names, 5))
    assert find_picture_stacks(tmp_path.iterdir()) == []
    with pytest.raises(ImageError, match=f"its {len(names)} pictures are not numbered slices of one size"):
        read_image(tmp_path)


def test_pictures_of_different_sizes_are_no_stack(numbered):
    write(numbered, {"slice5.png": 5}, size=(8, 8))
    assert find_picture_stacks(numbered.iterdir()) == []


def test_slices_numbered_in_steps_are_a_stack(tmp_path):
    names = {f"s{number:03d}_x.png": number for number in range(0, 60, 10)}
    assert [path.name for path in find_picture_stacks(write(tmp_path, names).iterdir())[0]] == sorted(names)


def test_a_folder_of_slices_is_one_series_and_its_pictures_are_many_on_request(numbered):
    (series,) = find_series(numbered)
    assert series.source == numbered
    assert len(series.read()[0].pixels) == 10
    assert len(find_series(numbered, each=True)) == 10


def test_a_stack_beside_other_pictures_bears_the_name_of_its_first_file(numbered):
    write(numbered, {"title.png": 0})
    assert [each.source.name for each in find_series(numbered)] == ["slice1.png", "title.png"]


def test_hidden_files_and_folders_are_passed_over(tmp_path):
    write(tmp_path, {"a.png": 1, ".b.png": 2})
    write(tmp_path / ".cache", {"c.png": 3})
    assert [each.source.name for each in find_series(tmp_path)] == ["a.png"]


@pytest.mark.slow
def test_the_time_to_find_series_is_proportional_to_the_number_of_files(tmp_path):
    content = (write(tmp_path / "one", {"a.png": 1}) / "a.png").read_bytes()

    def seconds(count: int) -> float:
        """Of processor time."""
        for number in range(count):
            home = tmp_path / f"{count}" / f"{number // 1000}"
            home.mkdir(parents=True, exist_ok=True)
            (home / f"{number}_{number % 7}.png").write_bytes(content)
            (home / f"{number}.txt").write_bytes(b"no image")
        start = time.process_time()
        assert len(find_series(tmp_path / f"{count}")) > 0
        return time.process_time() - start

    assert seconds(50_000) < 40 * seconds(5_000)  # ten times, and a hundred if every file were compared with all


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("scan.nii.gz", "scan"),
        ("1.2.840.113619.2.1.dcm", "1.2.840.113619.2.1"),
        ("1.2.840.113619.2.2", "1.2.840.113619.2.2"),
        ("case.001.PNG", "case.001"),
        ("a.b.tar.gz", "a.b.tar.gz"),
        (".nii.gz", ".nii.gz"),
    ],
)
def test_only_suffixes_of_images_are_no_part_of_a_name(name, stem):
    assert file_stem(name) == stem


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["x/a.png", "x/b.png"], ["a", "b"]),
        (["x/a.png", "y/a.png"], ["x-a", "y-a"]),
        (["x/a.png", "x/A.png"], ["a-1", "A-2"]),
        (["x/a.png", "x/a.jpg"], ["a.png", "a.jpg"]),
        (["x/a.png", "y/a.png", "z/x-a.png"], ["a.png", "y-a", "x-a"]),
        (["1/x/a.png", "2/x/a.png", "a-1.png"], ["a-2", "a-3", "a-1"]),
    ],
)
def test_different_files_have_different_names(paths, names):
    found = distinct_stems([Path(each) for each in paths])
    assert len({each.casefold() for each in found}) == len(found)
    assert found == names


NAMES = st.text(st.sampled_from("aA1.-_ é"), min_size=1, max_size=6).filter(lambda name: name.strip("."))
FILES = st.tuples(NAMES, NAMES, st.sampled_from(["", ".dcm", ".PNG", ".nii.gz", ".nii"])).map(
    lambda parts: Path(parts[0]) / f"{parts[1]}{parts[2]}"
)


@pytest.mark.slow
@settings(max_examples=200, deadline=None, database=None)
@given(st.lists(FILES, max_size=12))
def test_no_two_files_ever_share_a_name(paths):
    names = distinct_stems(paths)
    assert len({name.casefold() for name in names}) == len(paths)
    assert all(name and "/" not in name for name in names)
    stems = Counter(file_stem(path.name).casefold() for path in paths)
    for path, name in zip(paths, names, strict=True):
        if stems[file_stem(path.name).casefold()] == 1:
            assert name == file_stem(path.name)


@pytest.mark.slow
@settings(max_examples=100, deadline=None, database=None)
@given(FILES)
def test_a_stem_and_what_was_dropped_are_the_name(path):
    stem = file_stem(path.name)
    assert path.name.startswith(stem)
    assert path.name[len(stem) :].lower() in ("", ".dcm", ".png", ".nii.gz", ".nii")


def test_there_is_one_table_of_the_suffixes_of_images(monkeypatch):
    monkeypatch.setattr("vesalius.imaging.formats.IMAGE_SUFFIXES", (".new",))
    assert distinct_stems([Path("a.new"), Path("b.png")]) == ["a", "b.png"]
