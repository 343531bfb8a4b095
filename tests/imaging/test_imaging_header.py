import json

import nibabel as nib
import numpy as np
import pytest

from vesalius.imaging import read_image
from vesalius.imaging.header import LARGEST_SIDECAR, HeaderFacts, find_purpose, sidecar_path
from vesalius.imaging.orientation import common_plane

PURPOSES = {
    "a localizer by type": ({"ImageType": "ORIGINAL\\PRIMARY\\LOCALIZER"}, "localizer"),
    "a localizer in words": ({"SeriesDescription": "Loc (Right)"}, "localizer"),
    "a pilot": ({"SeriesDescription": "T/S/C FAST PILOT"}, "localizer"),
    "a projection": ({"ImageType": "DERIVED\\SECONDARY\\PROJECTION IMAGE"}, "projection"),
    "a screen save": ({"ImageType": "DERIVED\\SECONDARY\\SCREEN SAVE"}, "report"),
    "a secondary capture": (
        {"ImageType": "DERIVED\\SECONDARY", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "report",
    ),
    "an anonymised series": (
        {"ImageType": "DERIVED\\SECONDARY\\OTHER", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"}, None,
    ),
    "a word within another": ({"SeriesDescription": "block location"}, None),
}  # fmt: skip


@pytest.mark.parametrize("case", PURPOSES)
def test_localizers_projections_and_reports_are_said_to_be_such(case):
    header, label = PURPOSES[case]
    assert find_purpose(HeaderFacts(header)).label == label


def write_volume(folder, name="scan.nii.gz", affine=None, **header):
    nib.save(nib.Nifti1Image(np.ones((4, 5, 6), np.float32), np.eye(4) if affine is None else affine), folder / name)
    if header:
        (folder / "scan.json").write_text(json.dumps(header))
    return folder / name


def test_the_json_beside_a_nifti_volume_is_its_header_in_milliseconds(tmp_path):
    path = write_volume(
        tmp_path, Modality="MR", ScanningSequence=["SE", "IR"], EchoTime=0.1, RepetitionTime=9, InversionTime=2.5,
        PatientName="Nobody",
    )  # fmt: skip
    image = read_image(path)
    assert image.modality == "MR"
    assert image.header["EchoTime"] == "100"
    assert image.protocol.label == "FLAIR"
    assert "PatientName" not in image.header


def test_without_a_header_there_is_no_modality_and_no_protocol(tmp_path):
    image = read_image(write_volume(tmp_path))
    assert image.modality is None
    assert image.protocol is None
    assert image.purpose.label is None


@pytest.mark.parametrize("content", ["{", "[" * 100_000, "\0"])
def test_a_damaged_json_is_passed_over_with_a_warning(tmp_path, content):
    path = write_volume(tmp_path)
    (tmp_path / "scan.json").write_text(content)
    with pytest.warns(UserWarning, match=r"scan\.json: is not read"):
        assert read_image(path).header == {}


def test_a_json_that_is_no_object_or_far_too_large_is_passed_over(tmp_path):
    path = write_volume(tmp_path)
    (tmp_path / "scan.json").write_text("[1]")
    assert read_image(path).header == {}
    with (tmp_path / "scan.json").open("wb") as file:
        file.truncate(LARGEST_SIDECAR + 1)
    with pytest.warns(UserWarning, match="too large"):
        assert read_image(path).header == {}


@pytest.mark.parametrize("name", ["scan.nii.gz", "scan.nii", "scan.MGZ"])
def test_a_json_is_found_whatever_the_suffix(tmp_path, name):
    assert sidecar_path(tmp_path / name) == tmp_path / "scan.json"


@pytest.mark.parametrize(("degrees", "plane"), [(0, "axial"), (30, "axial"), (36, "axial"), (38, "oblique")])
def test_obliquity_is_the_angle_to_the_nearest_plane(tmp_path, degrees, plane):
    turn, affine = np.radians(degrees), np.eye(4)
    affine[1:3, 1:3] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    affine[:3, 2] *= 5
    image = read_image(write_volume(tmp_path, affine=affine))
    assert image.plane == plane
    assert image.nearest_plane == "axial"
    assert image.obliquity == pytest.approx(degrees, abs=0.01)


def test_stacks_in_different_planes_have_none_in_common():
    assert common_plane(["axial", "axial"]) == "axial"
    assert common_plane(["axial", "coronal"]) is None
    assert common_plane([]) is None


VENDORS = {
    "SIEMENS MR HEADER": (0x0019, 0x0C, "IS", 800, "800"),
    "GEMS_PARM_01": (0x0043, 0x39, "IS", [1_000_000_700, 8, 0, 0], "700"),
    "Philips Imaging DD 001": (0x2001, 0x03, "FL", 1000.0, "1000"),
}


@pytest.mark.parametrize("creator", VENDORS)
def test_vendors_own_b_values_are_read(write_dicom, creator):
    from pydicom import dcmread

    group, element, kind, value, expected = VENDORS[creator]
    path = write_dicom("dwi.dcm", np.zeros((4, 4), np.int16), Modality="MR")
    dataset = dcmread(path)
    dataset.private_block(group, creator, create=True).add_new(element, kind, value)
    dataset.save_as(path)
    image = read_image(path)
    assert image.header["DiffusionBValue"] == expected
    assert image.protocol.label == "DWI"
