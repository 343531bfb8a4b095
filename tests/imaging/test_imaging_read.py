import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from vesalius.errors import ImageError, MissingPackageError
from vesalius.imaging import read_image

GREY = np.arange(24, dtype=np.uint8).reshape(4, 6)


def test_pictures_are_known_by_content_whatever_their_suffix(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.dat", format="PNG")
    np.testing.assert_array_equal(read_image(tmp_path / "a.dat").pixels[0], GREY)


@pytest.mark.parametrize("name", ["a.dcm", "IM0001", "a.png"])
def test_dicom_is_known_by_content_whatever_its_name(write_dicom, name):
    np.testing.assert_array_equal(read_image(write_dicom(name, GREY, Modality="OT")).pixels[0], GREY)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "A.NII.GZ", "a.mgz"])
def test_volumes_are_known_by_suffix(tmp_path, name):
    kind = nib.MGHImage if name.endswith("mgz") else nib.Nifti1Image
    nib.save(kind(np.zeros((3, 4, 5), np.uint8), np.eye(4)), tmp_path / name)
    assert read_image(tmp_path / name).pixels.shape == (5, 4, 3)


def test_a_folder_is_read_as_a_series(write_series):
    image = read_image(write_series([0.0, 3.0]))
    assert image.pixels.shape == (2, 4, 6)
    assert image.source.name == "series"


def test_paths_may_be_text(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    assert read_image(str(tmp_path / "a.png")).source == tmp_path / "a.png"


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(ImageError, match=r"none\.png: no such file or folder"):
        read_image(tmp_path / "none.png")


@pytest.mark.parametrize("name", ["a.png", "a.dcm", "a.nii.gz", "a"])
def test_empty_files_are_refused(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(ImageError, match=f"{name}: is empty"):
        read_image(tmp_path / name)


@pytest.mark.parametrize("name", ["a.txt", "a.png", "a.dcm", "a.nii", "a.mgz"])
def test_files_of_other_kinds_are_refused_by_name(tmp_path, name):
    (tmp_path / name).write_text("no image at all")
    with pytest.raises(ImageError, match=f"{name}: "):
        read_image(tmp_path / name)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ImageError, match="is an empty folder"):
        read_image(tmp_path)


def test_a_folder_of_pictures_asks_for_one_of_them(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"holds no DICOM image; name .* a single picture file"):
        read_image(tmp_path)


def test_a_missing_package_is_named(write_dicom, monkeypatch):
    path = write_dicom("a.dcm", GREY)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    for name in ("dicom", "dicom_file"):
        monkeypatch.delitem(sys.modules, f"vesalius.imaging.{name}", raising=False)
    with pytest.raises(MissingPackageError, match="needs pydicom, which is not installed"):
        read_image(path)


def test_pictures_need_neither_pydicom_nor_nibabel(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    program = (
        "import sys; sys.modules.update(pydicom=None, nibabel=None)\n"
        "from vesalius.imaging import read_image\n"
        f"assert read_image({str(tmp_path / 'a.png')!r}).pixels.shape == (1, 4, 6)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
