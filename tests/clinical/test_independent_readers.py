"""Programs that share no code with what wrote the objects read the same voxels, places and numbers: dcmqi and dcmtk."""

import json
import shutil
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import pydicom
import pytest

from vesalius.clinical.work import DicomFiles, segment_to_dicom
from vesalius.imaging import read_image
from vesalius.masks import MaskRules
from vesalius.segmenting.request import Request

SimpleITK = pytest.importorskip("SimpleITK", reason="reads what dcmqi writes")
AXIAL, SAGITTAL, TILTED = (1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), (0.8, 0.36, 0.48, -0.6, 0.48, 0.64)
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"


def call(program, *arguments):
    """Run a program that pip or Debian installs; what it said."""
    beside = Path(sysconfig.get_path("scripts")) / program
    found = str(beside) if beside.exists() else shutil.which(program)
    if found is None:
        pytest.skip(f"needs {program} (pip install dcmqi, or Debian's dcmtk)")
    done = subprocess.run([found, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def read_back(exact, tmp_path):
    """Segment, and read the first segment with dcmqi: [K, H, W], and patient mm -> index (column, row, k)."""

    def read(path, rules=None, fractional=False):
        file, folder = tmp_path / "result.dcm", tmp_path / "volumes"
        request = Request(("liver", "nothing"), rules=rules or MaskRules())
        segment_to_dicom(read_image(path), exact, request, DicomFiles(file), fractional=fractional)
        folder.mkdir()
        call("segimage2itkimage", "--inputDICOM", file, "--outputDirectory", folder, "--outputType", "nrrd")
        volume = SimpleITK.ReadImage(str(folder / "1.nrrd"))
        return SimpleITK.GetArrayFromImage(volume) > 127 * fractional, volume.TransformPhysicalPointToContinuousIndex

    return read


def check(voxels, index_of, pixels, position, orientation, spacing=(6.5, 7.5)):
    """A frame's corners lie on the same voxels within a millionth of a voxel, and hold what was bright."""
    position, across, down = (np.array(each, float) for each in (position, orientation[:3], orientation[3:]))
    rows, columns = pixels.shape
    column, row, place = index_of(position)
    np.testing.assert_allclose([column, row, place], [0, 0, round(place)], atol=1e-6)
    corner = position + across * (columns - 1) * spacing[1] + down * (rows - 1) * spacing[0]
    np.testing.assert_allclose(index_of(corner), [columns - 1, rows - 1, round(place)], atol=1e-6)
    np.testing.assert_array_equal(voxels[round(place)], pixels > 1000)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("orientation", "step", "asked"),
    [
        pytest.param(AXIAL, (0, 0, 7), {}, id="axial"),
        pytest.param(TILTED, (0.0, -5.6, 4.2), {}, id="oblique"),
        pytest.param(SAGITTAL, (-7, 0, 0), {"fractional": True}, id="sagittal, fractional"),
        pytest.param(AXIAL, (0, 0, -7), {"rules": MaskRules(labels=True)}, id="label map, files run down"),
    ],
)
def test_dcmqi_finds_the_voxels_of_a_series_at_their_places(read_back, write_series, orientation, step, asked):
    folder = write_series(orientation, step)
    voxels, index_of = read_back(folder, **asked)
    assert len(voxels) == 5
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        check(voxels, index_of, dataset.pixel_array, dataset.ImagePositionPatient, dataset.ImageOrientationPatient)


@pytest.mark.slow
def test_dcmqi_finds_the_voxels_of_an_enhanced_image(read_back, write_image, frames, groups):
    places = [((5.0, -6.0, 7.0 * height), AXIAL) for height in (3, 0, 2, 1)]
    path = write_image("enhanced.dcm", frames(4), ENHANCED_MR, **groups(places))
    voxels, index_of = read_back(path)
    for pixels, (position, orientation) in zip(pydicom.dcmread(path).pixel_array, places, strict=True):
        check(voxels, index_of, pixels, position, orientation)


@pytest.mark.slow
def test_a_report_is_read_by_dcmqi_and_by_dcmtk(exact, write_series, tmp_path):
    files = DicomFiles(tmp_path / "result.dcm", tmp_path / "report.dcm")
    folder = write_series()
    segment_to_dicom(read_image(folder), exact, Request(("liver", "nothing")), files)
    call("tid1500reader", "--inputDICOM", files.report, "--outputMetadata", tmp_path / "report.json")
    groups = json.loads((tmp_path / "report.json").read_text())["Measurements"]
    told = {
        each["TrackingIdentifier"]: {
            item["quantity"]["CodeMeaning"]: float(item["value"]) for item in each["measurementItems"]
        }
        for each in groups
    }
    marked = sum(np.count_nonzero(pydicom.dcmread(path).pixel_array > 1000) for path in folder.iterdir())
    assert told["liver"]["Volume"] == pytest.approx(marked * 6.5 * 7.5 * 7 / 1000, abs=1e-4)
    assert told["nothing"]["Volume"] == 0
    assert {each["Finding"]["CodeMeaning"] for each in groups} >= {"Liver"}
    dumped = call("dsrdump", files.report)
    assert "Imaging Measurement Report" in dumped
    assert dumped.count('"shown in these images")=') == 2
    assert '"Absent"' in dumped
