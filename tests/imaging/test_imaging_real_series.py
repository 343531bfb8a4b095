"""Real series, where the developers' data lie beside the repository."""

from pathlib import Path

import numpy as np
import pytest

from vesalius.errors import ImageError, ImageNotice
from vesalius.imaging import read_image
from vesalius.imaging.dicom import read_stacks

ANATOMY = Path(__file__).parents[2].parent / "shared" / "data" / "anatomy"

pytestmark = pytest.mark.slow


def real(name: str) -> Path:
    if not (ANATOMY / name).exists():
        pytest.skip(f"needs {ANATOMY / name}, development data that is not part of the repository")
    return ANATOMY / name


def assert_well_placed(image, plane, modality):
    assert image.plane == plane
    assert image.modality == modality
    positions = [each.position_mm for each in image.slices()]
    assert positions == sorted(positions)
    middle = image.slices()[len(positions) // 2].rgb
    assert 0.02 < middle.mean() < 0.9
    assert middle.std() > 0.05


@pytest.mark.parametrize(("name", "plane", "count"), [("T1", "coronal", 24), ("T2", "sagittal", 26)])
def test_a_knee_in_jpeg_2000(name, plane, count):
    image = read_image(real(f"knee_mr/{name}"))
    assert_well_placed(image, plane, "MR")
    assert len(image.pixels) == count
    assert image.header["BodyPartExamined"] == "KNEE"


def test_a_knee_localizer_in_lossless_jpeg_has_three_orientations():
    stacks = read_stacks(real("knee_mr_localizer"))
    assert {image.plane for image in stacks} == {"axial", "coronal", "sagittal"}
    assert [len(image.pixels) for image in stacks] == [9, 9, 9]


def test_a_chest_ct_is_in_hu_and_its_ds_store_passed_over():
    with pytest.warns(UserWarning, match=r"chest_ct: .*slices lie 1\.00 to 22\.00 mm apart"):
        image = read_image(real("chest_ct"))
    assert_well_placed(image, "axial", "CT")
    assert len(image.pixels) == 55
    assert image.pixels.min() == -1000
    assert np.median(image.pixels[27, :20]) == pytest.approx(-1000, abs=10), "the air above the patient"
    soft_tissue = (image.pixels[27] > 0) & (image.pixels[27] < 100)
    assert soft_tissue.mean() > 0.05
    assert image.slices("coronal")[256].rgb_square().shape[0] > 200


@pytest.mark.parametrize("name", ["Flair", "Epi"])
def test_a_brain_in_mr(name):
    assert_well_placed(read_image(real(f"brain_mr/{name}")), "axial", "MR")


def test_a_folder_of_two_series_lists_both():
    with pytest.raises(ImageError, match="holds 2 series"):
        read_image(real("brain_mr"))


def test_a_ct_in_nifti_is_recognised():
    with pytest.warns(ImageNotice, match="units guessed to be HU"):
        image = read_image(real("abdomen_pelvis_ct/ct.nii.gz"))
    assert_well_placed(image, "axial", "CT")
