"""Display order, and mask volumes that come back on the grid of the file, for other programs too."""

import itertools
import math
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, ornt_transform

from vesalius.imaging import MedicalImage, read_mask
from vesalius.imaging.dicom import read_dicom, read_series
from vesalius.imaging.nifti import read_nifti
from vesalius.imaging.orientation import (
    DISPLAY_SIGNS,
    WORLD_AXES,
    nearest_plane,
    onto_grid,
    places_volume,
    plane_of,
    slice_normal,
    to_display_order,
    voxel_spacing,
    world_axes,
)
from vesalius.results import Result, Results
from vesalius.segmentation import Segmentation

PLANES = ("axial", "coronal", "sagittal")


def every_signed_permutation():
    for axes in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            affine = np.eye(4)
            affine[:3, :3] = 0
            for voxel_axis, (world, sign) in enumerate(zip(axes, signs, strict=True)):
                affine[world, voxel_axis] = sign * (voxel_axis + 1)
            affine[:3, 3] = (5, -7, 11)
            yield affine


def tilted(degrees: float) -> np.ndarray:
    """Axial slices turned about the left-right axis, array order (slices, rows, columns)."""
    angle = np.radians(degrees)
    affine = np.eye(4)
    affine[:3, 0] = (0, -np.sin(angle), np.cos(angle))
    affine[:3, 1] = (0, -np.cos(angle), -np.sin(angle))
    affine[:3, 2] = (-1, 0, 0)
    return affine


@pytest.mark.parametrize("plane", PLANES)
def test_display_order_moves_voxels_but_not_their_place_in_the_patient(plane):
    values = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    for affine in every_signed_permutation():
        shown, placed = to_display_order(values, affine, plane)
        for index in np.ndindex(*shown.shape):
            old = np.argwhere(values == shown[index])[0]
            np.testing.assert_allclose(placed @ [*index, 1], affine @ [*old, 1])


@pytest.mark.parametrize("plane", PLANES)
def test_display_order_makes_world_axes_run_the_radiological_way(plane):
    for affine in every_signed_permutation():
        _, placed = to_display_order(np.zeros((2, 3, 4)), affine, plane)
        assert world_axes(placed) == WORLD_AXES[plane]
        signs = [np.sign(placed[world, axis]) for axis, world in enumerate(WORLD_AXES[plane])]
        assert tuple(signs) == DISPLAY_SIGNS


def test_display_order_keeps_colour_channels_last():
    shown, _ = to_display_order(np.zeros((2, 4, 5, 3)), np.eye(4), "axial")
    assert shown.shape == (5, 4, 2, 3)


@pytest.mark.parametrize(
    ("shift", "turned", "fits"),
    [(0.9, 0, True), (1.1, 0, False), (0, 3, True), (0, 20, False), (0, 45, False)],
)
def test_voxels_are_reordered_only_where_each_stays_within_half_a_voxel(shift, turned, fits):
    angle = math.radians(turned)
    turn = np.array([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]])
    target = np.diag([2.0, 2, 2, 1])
    affine = np.array([[0, 0, -2.0, 8], [2, 0, 0, shift], [0, -2, 0, 6], [0, 0, 0, 1]])  # y, then z and x backwards
    affine[:3, :3] = turn @ affine[:3, :3]
    stored = np.arange(3 * 4 * 5).reshape(3, 4, 5)
    moved = onto_grid(stored, affine, target)
    assert (moved is not None) == fits
    if moved is not None:
        assert (moved == stored[:, ::-1, ::-1].transpose(2, 0, 1)).all()


@pytest.mark.parametrize(
    ("degrees", "plane", "nearest"),
    [(0, "axial", "axial"), (36, "axial", "axial"), (38, "oblique", "axial"), (52, "oblique", "coronal")],
)
def test_a_plane_is_oblique_beyond_36_9_degrees(degrees, plane, nearest):
    assert plane_of(tilted(degrees)) == plane
    assert nearest_plane(tilted(degrees)) == nearest


def test_slice_normal_points_where_the_world_coordinate_grows():
    for affine in every_signed_permutation():
        normal = slice_normal(affine)
        assert normal[np.abs(normal).argmax()] == pytest.approx(1)


def test_spacing_is_the_length_of_each_voxel_axis():
    assert voxel_spacing(np.diag([3.0, -0.5, 2.0, 1.0])) == (3.0, 0.5, 2.0)


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [(0, 1.0, True), (0, 0.0, False), (0, 1e-7, False), (0, 1e7, False), (3, 1e7, False), (3, np.nan, False)],
)
def test_only_numbers_that_a_scanner_may_give_place_a_volume(column, value, expected):
    affine = np.eye(4)
    affine[0, column] = value
    assert places_volume(affine) is expected


def test_axes_that_lie_almost_in_one_plane_place_no_volume():
    affine = np.eye(4)
    affine[:3, 2] = (1, 1, 1e-4)
    assert not places_volume(affine)
    assert not places_volume(np.eye(3))


SIZE = (5, 6, 7)
CORNER = (4, 0, 6)
"""A voxel of a volume of `SIZE` whose place no mirroring or exchange of axes keeps."""


def segment_bright(out: Path, image: MedicalImage, plane: str | None = None) -> tuple[Result, Results]:
    """Mark the brightest voxels, as a model would that asks for them."""
    stack = image.slices(plane)
    results = Results(out, image, stack, ["spot"], overwrite=True)
    brightest = np.max(np.asarray(stack.pixels))
    for values in stack.pixels:
        logits = np.where(values == brightest, 9, -9).astype(np.float32)
        results.add([Segmentation("spot", logits, logits.shape, 0.9)])
    return results.write()[0], results


def write_oriented(path: Path, codes: str, *, turn: float = 0.0) -> Path:
    """A volume of `SIZE` in the given order of axes whose `CORNER` is the brightest voxel; oblique if turned."""
    values = np.zeros(SIZE, np.int16)
    values[CORNER] = 900
    change = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes))
    cos, sin = math.cos(turn), math.sin(turn)
    placed = np.array([[1, 0, 0, -5], [0, cos, -2 * sin, -6], [0, sin, 2 * cos, -7], [0, 0, 0, 1]])
    turned = nib.Nifti1Image(
        nib.orientations.apply_orientation(values, change), placed @ inv_ornt_aff(change, values.shape)
    )
    turned.set_sform(turned.affine, code="aligned")
    turned.set_qform(turned.affine, code="scanner")
    nib.save(turned, path)
    return path


def assert_same_grid(mask: Path, source: Path) -> None:
    written, original = nib.load(mask), nib.load(source)
    assert written.shape == original.shape[:3]
    np.testing.assert_allclose(written.affine, original.affine, atol=1e-4)
    for name in ("sform_code", "qform_code"):
        assert written.header[name] == original.header[name]
    np.testing.assert_allclose(written.header.get_qform(), original.header.get_qform(), atol=1e-4)


class TestMasksLieOnTheFilesOwnGrid:
    @pytest.mark.parametrize("plane", [None, "axial", "coronal", "sagittal"])
    @pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR", "SAL", "ASL"])
    def test_of_every_order_of_axes_and_cut_in_every_plane(self, tmp_path, codes, plane):
        source = write_oriented(tmp_path / "scan.nii.gz", codes)
        found, _ = segment_bright(tmp_path, read_nifti(source), plane)
        assert_same_grid(found.mask, source)
        np.testing.assert_array_equal(nib.load(found.mask).get_fdata(), nib.load(source).get_fdata() == 900)

    @pytest.mark.parametrize("codes", ["RAS", "PIR"])
    def test_of_oblique_volumes_which_itk_reads_where_the_source_lies(self, tmp_path, codes):
        itk = pytest.importorskip("SimpleITK", reason="needs SimpleITK, of the extra 'dev'")
        source = write_oriented(tmp_path / "scan.nii", codes, turn=0.3)
        found, _ = segment_bright(tmp_path, read_nifti(source))
        assert_same_grid(found.mask, source)
        mask, image = itk.ReadImage(str(found.mask)), itk.ReadImage(str(source))
        for name in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
            np.testing.assert_allclose(getattr(mask, name)(), getattr(image, name)(), atol=1e-5)
        np.testing.assert_array_equal(itk.GetArrayFromImage(mask), itk.GetArrayFromImage(image) == 900)

    def test_of_the_chosen_volume_of_several(self, tmp_path):
        series = np.zeros((*SIZE, 3), np.int16)
        series[CORNER[0], CORNER[1], CORNER[2], 1] = series[0, 0, 0, 0] = 900
        nib.save(nib.Nifti1Image(series, np.diag([2.0, 2, 2, 1])), tmp_path / "bold.nii.gz")
        found, _ = segment_bright(tmp_path, read_nifti(tmp_path / "bold.nii.gz", volume=2))
        assert_same_grid(found.mask, tmp_path / "bold.nii.gz")
        np.testing.assert_array_equal(np.argwhere(nib.load(found.mask).get_fdata()), [CORNER])

    def test_of_a_single_slice_in_a_volume_file(self, tmp_path):
        flat = np.zeros((6, 1, 5), np.int16)
        flat[5, 0, 4] = 900
        nib.save(nib.Nifti1Image(flat, np.diag([2.0, 3, 4, 1])), tmp_path / "flat.nii.gz")
        found, _ = segment_bright(tmp_path, read_nifti(tmp_path / "flat.nii.gz"))
        assert_same_grid(found.mask, tmp_path / "flat.nii.gz")
        np.testing.assert_array_equal(np.argwhere(nib.load(found.mask).get_fdata()), [(5, 0, 4)])

    def test_of_freesurfer_volumes(self, tmp_path):
        values = np.zeros(SIZE, np.int16)
        values[CORNER] = 900
        affine = np.array([[-1.0, 0, 0, 9], [0, 0, 1, 8], [0, -1, 0, 7], [0, 0, 0, 1]])
        nib.save(nib.MGHImage(values, affine), tmp_path / "scan.mgz")
        found, _ = segment_bright(tmp_path, read_nifti(tmp_path / "scan.mgz"))
        written = nib.load(found.mask)
        np.testing.assert_allclose(written.affine, affine, atol=1e-4)
        np.testing.assert_array_equal(np.argwhere(written.get_fdata()), [CORNER])

    @pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), (-1, 0, 0, 0, 0.8, -0.6)])
    def test_of_dicom_series_as_itk_reads_them(self, write_dicom, tmp_path, orientation):
        itk = pytest.importorskip("SimpleITK", reason="needs SimpleITK, of the extra 'dev'")
        normal = np.cross(orientation[:3], orientation[3:])
        for number in range(4):
            pixels = np.zeros((5, 6), np.int16)
            pixels[4, 0] = 900 * (number == 3)
            place = {"ImagePositionPatient": [float(each) for each in np.array([10.0, 20, 30]) + 3 * number * normal]}
            write_dicom(
                f"series/{number}.dcm", pixels, **place, InstanceNumber=number + 1, PixelSpacing=[2.0, 0.5],
                ImageOrientationPatient=list(orientation), Modality="MR",
            )  # fmt: skip
        found, results = segment_bright(tmp_path, read_series(tmp_path / "series"))
        reader = itk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "series")))
        image, mask = reader.Execute(), itk.ReadImage(str(found.mask))
        for name in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
            np.testing.assert_allclose(getattr(mask, name)(), getattr(image, name)(), atol=1e-4)
        np.testing.assert_array_equal(itk.GetArrayFromImage(mask), itk.GetArrayFromImage(image) == 900)
        assert results.notices == []

    def test_of_multi_frame_dicom_columns_rows_and_frames(self, write_dicom, tmp_path):
        pixels = np.zeros((3, 4, 6), np.uint8)
        pixels[2, 3, 1] = 200
        found, _ = segment_bright(tmp_path, read_dicom(write_dicom("clip.dcm", pixels, Modality="US")))
        assert nib.load(found.mask).shape == (6, 4, 3)
        np.testing.assert_array_equal(np.argwhere(nib.load(found.mask).get_fdata()), [(1, 3, 2)])

    def test_of_a_single_dicom_slice_which_the_display_mirrors(self, write_dicom, tmp_path):
        pixels = np.zeros((5, 6), np.int16)
        pixels[4, 1] = 900
        path = write_dicom(
            "one.dcm", pixels, ImagePositionPatient=[0.0, 0, 0], ImageOrientationPatient=[-1, 0, 0, 0, -1, 0],
            PixelSpacing=[1.0, 1.0], Modality="MR",
        )  # fmt: skip
        image = read_dicom(path)
        assert np.asarray(image.pixels)[0, 0, 4] == 900  # shown the other way round
        found, _ = segment_bright(tmp_path, image)
        np.testing.assert_array_equal(read_mask(found.mask), pixels == 900)


class TestATiltedGantry:
    @pytest.fixture
    def image(self, write_dicom, tmp_path):
        for number in range(6):
            pixels = np.full((8, 8), -1000, np.int16)
            pixels[5, 2] = 900 * (number in (0, 5)) - 1000 * (number not in (0, 5))
            write_dicom(
                f"tilt/{number}.dcm", pixels, ImagePositionPatient=[0.0, 0.0, 5.0 * number],
                ImageOrientationPatient=[1, 0, 0, 0, 0.9553365, -0.2955202], PixelSpacing=[1.0, 1.0],
                InstanceNumber=number + 1, RescaleSlope=1, RescaleIntercept=0,
            )  # fmt: skip
        return read_series(tmp_path / "tilt")

    def test_the_mask_opens_in_itk_with_its_voxels_in_the_right_place(self, image, tmp_path):
        itk = pytest.importorskip("SimpleITK", reason="needs SimpleITK, of the extra 'dev'")
        found, _ = segment_bright(tmp_path, image)
        mask = itk.ReadImage(str(found.mask))
        seen = np.argwhere(itk.GetArrayFromImage(mask))
        assert len(seen) == 2
        for (k, j, i), number in zip(seen.tolist(), (0, 5), strict=True):
            true = np.array([2.0, 5 * 0.9553365, 5.0 * number - 5 * 0.2955202])
            assert np.abs(np.array(mask.TransformIndexToPhysicalPoint((i, j, k))) - true).max() <= 0.5

    def test_it_is_said_and_no_code_is_missing(self, image, tmp_path):
        found, results = segment_bright(tmp_path, image)
        header = nib.load(found.mask).header
        assert header["qform_code"] == header["sform_code"] == 1
        np.testing.assert_allclose(header.get_qform(), header.get_sform(), atol=1e-4)
        assert "straight grid" in str(results.notices[0])
