"""BIDS headers, purposes of series, and protocols of MR."""

import json

import nibabel as nib
import numpy as np
import pytest
from pydicom.config import IGNORE
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from vesalius.errors import ImageNotice
from vesalius.imaging import read_image
from vesalius.imaging.dicom_attributes import FileAttributes, FrameAttributes
from vesalius.imaging.header import LARGEST_SIDECAR, HeaderFacts, find_purpose, sidecar_path
from vesalius.imaging.mr_protocol import GOES_WITH, PROTOCOLS, find_protocol
from vesalius.imaging.orientation import common_plane
from vesalius.prompts import anatomy

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


@pytest.mark.parametrize(
    ("content", "why"),
    [("{", ""), ("[" * 100_000, ""), ("\0", ""), ("[]", "got a list"), (" " * (LARGEST_SIDECAR + 1), "too large")],
)
def test_a_json_that_is_no_header_is_passed_over_with_a_notice(tmp_path, content, why):
    path = write_volume(tmp_path)
    (tmp_path / "scan.json").write_text(content)
    with pytest.warns(ImageNotice, match=rf"is not read: scan\.json is no JSON header \(.*{why}"):
        image = read_image(path)
    assert (image.header, [each.what for each in image.notices]) == ({}, ["header beside the volume is not read"])


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


def test_a_negative_b_value_of_a_vendor_is_none():
    dataset = Dataset()
    dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0C, "IS", -1)
    assert FileAttributes(dataset).vendor_b_value is None


@pytest.mark.parametrize("text", ["mr", " MR", "MR\\SR"])
def test_a_modality_in_other_letters_or_of_two_values_is_that_of_the_first(tmp_path, text):
    dataset = Dataset()
    dataset.add(DataElement("Modality", "CS", text, validation_mode=IGNORE))
    dataset.SeriesDescription = "t1_tse"
    frame = FrameAttributes(FileAttributes(dataset), 0)
    assert frame.modality == frame.header["Modality"] == "MR"
    image = read_image(write_volume(tmp_path, Modality=text, SeriesDescription="t1_tse"))
    assert image.modality == image.header["Modality"] == "MR"
    assert image.protocol.label == "T1"


def header(**attributes: object) -> dict[str, str]:
    return {name: str(value) for name, value in attributes.items()}


SPIN = {"ScanningSequence": "SE"}
FOUND = {
    "enhanced T2": (header(AcquisitionContrast="T2"), "T2", 0.95),
    "enhanced FLAIR": (header(AcquisitionContrast="FLUID_ATTENUATED"), "FLAIR", 0.95),
    "enhanced diffusion": (header(AcquisitionContrast="DIFFUSION", SeriesDescription="ep2d"), "DWI", 0.95),
    "enhanced spin echo": (header(EchoPulseSequence="SPIN", RepetitionTime=4000, EffectiveEchoTime=90), "T2", 0.7),
    "ADC type": (header(ImageType="DERIVED\\PRIMARY\\DIFFUSION\\ADC", SeriesDescription="ep2d_diff_ADC"), "ADC", 0.95),
    "ADC words": (header(SeriesDescription="Apparent Diffusion Coefficient"), "ADC", 0.85),
    "trace": (header(ImageType="DERIVED\\PRIMARY\\TRACEW"), "DWI", 0.95),
    "b-value": (header(DiffusionBValue="1000"), "DWI", 0.95),
    "b-value of none": (header(DiffusionBValue="0", SeriesDescription="T2W"), "T2", 0.85),
    "sequence name": (header(SequenceName="*ep_b50t"), "DWI", 0.9),
    "b in words": (header(SeriesDescription="AX b800"), "DWI", 0.85),
    "FLAIR and T2 in words": (header(SeriesDescription="T2 FLAIR", EchoTime=120, RepetitionTime=9000), "FLAIR", 0.85),
    "T1 FLAIR": (header(SeriesDescription="T1 FLAIR", EchoTime=12, RepetitionTime=2500), "T1", 0.85),
    "FLAIR by inversion": (
        header(ScanningSequence="SE\\IR", InversionTime=2500, EchoTime=100, RepetitionTime=9000), "FLAIR", 0.9,
    ),
    "STIR in words": (header(SeriesDescription="cor t2_tirm"), "STIR", 0.85),
    "dark fluid TIRM": (header(SeriesDescription="t2_tirm_tra_dark-fluid", EchoTime=90), "FLAIR", 0.85),
    "STIR by inversion": (
        header(ScanningSequence="IR", InversionTime=160, EchoTime=30, RepetitionTime=4000), "STIR", 0.9,
    ),
    "T1 between underscores": (header(ProtocolName="t1_vibe_fs_tra"), "T1", 0.85),
    "MPRAGE": (header(SeriesDescription="MPRAGE", ScanningSequence="GR\\IR", EchoTime=3), "T1", 0.85),
    "HASTE": (header(SeriesDescription="HASTE cor"), "T2", 0.85),
    "T1 by times": (header(**SPIN, RepetitionTime=580, EchoTime=15), "T1", 0.7),
    "T2 by times": (header(**SPIN, RepetitionTime=4000, EchoTime=100), "T2", 0.7),
    "single shot": (header(**SPIN, RepetitionTime=1200, EchoTime=90, EchoTrainLength=128), "T2", 0.7),
    "gradient echo": (header(ScanningSequence="GR", RepetitionTime=6, EchoTime=3), "T1", 0.7),
    "T1 by inversion": (header(ScanningSequence="IR", InversionTime=700), "T1", 0.7),
    "seconds": (header(**SPIN, RepetitionTime=4, EchoTime=0.1), "T2", 0.7),
    "the largest b-value": (header(**SPIN, RepetitionTime=4000, EchoTime=90, DiffusionBValue="0\\1000"), "DWI", 0.95),
    "an effective echo time beside none": (
        header(**SPIN, RepetitionTime=4000, EchoTime=0, EffectiveEchoTime=90), "T2", 0.7,
    ),
    "STIR within a word": (header(SeriesDescription="TurboSTIR2 sag"), "STIR", 0.85),
    "T1 of the forehead": (header(SeriesDescription="Stirn T1"), "T1", 0.85),
    "an ADC map": (header(ImageType="DERIVED\\PRIMARY\\ADC_MAP", SeriesDescription="ADC"), "ADC", 0.85),
}  # fmt: skip


@pytest.mark.parametrize(
    ("attributes", "label"),
    [
        ({"SeriesDescription": "t1_twist_cor_dyn", "RepetitionTime": "2.6", "EchoTime": "0.87"}, "T1"),
        ({"SeriesDescription": "ax t1 vibe dixon", "RepetitionTime": "3.9", "EchoTime": "0.98"}, "T1"),
        ({"SeriesDescription": "pd t2 dual echo"}, "T2"),
        ({"ScanningSequence": "GR", "RepetitionTime": "0.5", "EchoTime": "0.02"}, None),
    ],
)
def test_short_times_and_double_echoes_are_no_contradiction(attributes, label):
    assert find_protocol({"ScanningSequence": "GR"} | attributes if label == "T1" else attributes).label == label


@pytest.mark.parametrize("case", FOUND)
def test_the_first_rule_that_applies_decides(case):
    attributes, label, confidence = FOUND[case]
    found = find_protocol(attributes)
    assert (found.label, found.confidence) == (label, confidence), found.source


UNKNOWN = {
    "nothing": ({}, "no attribute tells"),
    "PD in words": (
        header(**SPIN, SeriesDescription="pd_tse_fs_sag", RepetitionTime=3000, EchoTime=35),
        "PD is none of",
    ),
    "proton density in words": ({"SeriesDescription": "Proton density"}, "PD is none of"),
    "T1 in words and T2 by times": (
        header(**SPIN, SeriesDescription="T1", RepetitionTime=4000, EchoTime=100),
        "says T2",
    ),
    "T2 in words and T2* by times": (
        header(SeriesDescription="T2W EPI", ScanningSequence="GR", EchoTime=40),
        "says T2*",
    ),
    "T1 and T2 in words": (header(SeriesDescription="T1 T2"), "says T2"),
    "enhanced T1 and FLAIR in words": (header(AcquisitionContrast="T1", SeriesDescription="FLAIR"), "says FLAIR"),
    "T2*": (header(SeriesDescription="T2*_gre"), "T2* is none of"),
    "T2 star": (header(SeriesDescription="t2_star"), "T2* is none of"),
    "proton density": (header(**SPIN, RepetitionTime=3000, EchoTime=20), "PD is none of"),
    "balanced": (header(SeriesDescription="trufi cine", ScanningSequence="GR", EchoTime=2), "another technique"),
    "angiography": (header(SeriesDescription="3D TOF", ScanningSequence="GR", EchoTime=4), "another technique"),
    "angiography in one word": (
        header(SeriesDescription="TOF3D", ScanningSequence="GR", RepetitionTime=27, EchoTime=7),
        "another technique",
    ),
    "perfusion": (header(AcquisitionContrast="PERFUSION"), "PERFUSION is none of"),
    "T1 rho": (header(SeriesDescription="T1rho"), "no attribute tells"),
    "T1 map": (header(SeriesDescription="T1 map"), "no attribute tells"),
    "T2 map": (header(SeriesDescription="T2_map"), "no attribute tells"),
    "times between": (header(**SPIN, RepetitionTime=1500, EchoTime=40), "no attribute tells"),
    "no number": (header(**SPIN, RepetitionTime="fast", EchoTime="short"), "no attribute tells"),
    "no inversion": (header(ScanningSequence="RM", InversionTime=0, EchoTime=1.2), "no attribute tells"),
    "times of 0": (header(**SPIN, RepetitionTime=0, EchoTime=0), "no attribute tells"),
    "an echo before the pulse": (header(ScanningSequence="GR", EchoTime=-3), "no attribute tells"),
    "an inversion before the pulse": (header(ScanningSequence="IR", InversionTime=-1), "no attribute tells"),
    "a time that is no number": (header(**SPIN, EchoTime="nan", EchoTrainLength=100), "no attribute tells"),
    "an endless train": (header(**SPIN, EchoTime=90, EchoTrainLength="inf"), "no attribute tells"),
    "FA map": (header(ImageType="DERIVED\\PRIMARY\\DIFFUSION\\FA"), "another technique"),
    "enhanced FA map": (
        header(ImageType="DERIVED\\PRIMARY\\DIFFUSION\\FRACTIONAL_ANISOTROPY", AcquisitionContrast="DIFFUSION"),
        "another technique",
    ),
    "T1 map by type": (header(ImageType="DERIVED\\PRIMARY\\T1_MAP", SeriesDescription="T1"), "another technique"),
    "T1 map by type in two words": (header(ImageType="DERIVED\\PRIMARY\\T1 MAP", SeriesDescription="T1"), "another t"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_what_nothing_tells_or_two_contradict_is_unknown_and_says_why(case):
    attributes, reason = UNKNOWN[case]
    found = find_protocol(attributes)
    assert found.label is None
    assert found.confidence == 0
    assert reason in found.source


def test_the_protocols_are_those_that_captions_know():
    assert set(PROTOCOLS) == set(anatomy.PROTOCOLS) == GOES_WITH.keys()
