import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, ornt_transform

from vesalius.errors import ImageError
from vesalius.imaging.nifti import read_nifti

SIZE = (10, 12, 14)
RIGHT, FRONT, HEAD = (8, 6, 7), (5, 10, 7), (5, 6, 12)
RAS_AFFINE = np.array([[1.0, 0, 0, -5], [0, 1, 0, -6], [0, 0, 1, -7], [0, 0, 0, 1]])


def marked_volume() -> np.ndarray:
    """RAS+ volume with 100 near the patient's right, 200 near the front, 300 near the head."""
    volume = np.zeros(SIZE, np.int16)
    volume[RIGHT], volume[FRONT], volume[HEAD] = 100, 200, 300
    return volume


def write_oriented(path, codes):
    change = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes))
    volume = nib.orientations.apply_orientation(marked_volume(), change)
    nib.save(nib.Nifti1Image(volume, RAS_AFFINE @ inv_ornt_aff(change, SIZE)), path)
    return path


def seen_at(image, plane, value):
    """Slice, row and column where the marked value shows."""
    stack = image.slices(plane)
    return tuple(int(each) for each in np.argwhere(stack.pixels == value)[0]), stack.pixels.shape


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "PIR", "ASR", "SRA"])
class TestEveryStorageOrientation:
    def test_axial_slices_show_the_right_at_image_left_and_the_front_up(self, tmp_path, codes):
        image = read_nifti(write_oriented(tmp_path / "a.nii", codes))
        assert image.plane == "axial"
        assert seen_at(image, "axial", 100) == ((7, 5, 1), (14, 12, 10))
        assert seen_at(image, "axial", 200)[0] == (7, 1, 4)
        assert seen_at(image, "axial", 300)[0] == (12, 5, 4)

    def test_coronal_slices_show_the_right_at_image_left_and_the_head_up(self, tmp_path, codes):
        image = read_nifti(write_oriented(tmp_path / "a.nii", codes))
        assert seen_at(image, "coronal", 100) == ((6, 6, 1), (12, 14, 10))
        assert seen_at(image, "coronal", 300)[0] == (6, 1, 4)

    def test_sagittal_slices_show_the_front_at_image_left_and_the_head_up(self, tmp_path, codes):
        image = read_nifti(write_oriented(tmp_path / "a.nii", codes))
        assert seen_at(image, "sagittal", 200) == ((5, 6, 1), (10, 14, 12))
        assert seen_at(image, "sagittal", 300)[0] == (5, 1, 5)

    def test_the_affine_follows_the_voxels(self, tmp_path, codes):
        image = read_nifti(write_oriented(tmp_path / "a.nii", codes))
        for value, voxel in ((100, RIGHT), (200, FRONT), (300, HEAD)):
            index = np.argwhere(image.pixels == value)[0]
            np.testing.assert_allclose(image.affine @ [*index, 1], RAS_AFFINE @ [*voxel, 1])


@pytest.mark.parametrize(
    ("zooms", "plane"), [((1, 1, 1), "axial"), ((1, 4, 1), "coronal"), ((4, 1, 1), "sagittal"), ((1.2, 1, 1), "axial")]
)
def test_slices_run_across_thick_voxels_else_they_are_axial(tmp_path, zooms, plane):
    nib.save(nib.Nifti1Image(np.zeros((3, 4, 5), np.uint8), np.diag([*zooms, 1.0])), tmp_path / "a.nii")
    image = read_nifti(tmp_path / "a.nii")
    assert image.plane == plane
    assert max(image.spacing) == pytest.approx(max(zooms))


def test_a_flat_volume_is_a_single_slice(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((6, 1, 5), np.uint8), np.eye(4)), tmp_path / "a.nii")
    image = read_nifti(tmp_path / "a.nii")
    assert image.plane == "coronal"
    assert image.pixels.shape == (1, 5, 6)


def test_of_four_dimensions_the_first_volume_counts(tmp_path):
    series = np.stack([np.full((3, 4, 5), value, np.int16) for value in (7, 8)], axis=-1)
    nib.save(nib.Nifti1Image(series, np.eye(4)), tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_nifti(tmp_path / "a.nii.gz").pixels, np.full((5, 4, 3), 7))


def test_scaling_is_applied(tmp_path):
    volume = nib.Nifti1Image(np.array([[[0.0, 0.25, 1.0]]]), np.eye(4))
    volume.set_data_dtype(np.int16)
    volume.to_filename(tmp_path / "a.nii")
    stored = nib.load(tmp_path / "a.nii").dataobj.get_unscaled()
    assert np.abs(stored).max() > 1000
    np.testing.assert_allclose(sorted(read_nifti(tmp_path / "a.nii").pixels.ravel()), [0, 0.25, 1], atol=1e-4)


def test_not_a_number_becomes_zero(tmp_path):
    nib.save(nib.Nifti1Image(np.array([[[np.nan, 3.0]]], np.float32), np.eye(4)), tmp_path / "a.nii")
    assert sorted(read_nifti(tmp_path / "a.nii").pixels.ravel()) == [0, 3]


@pytest.mark.parametrize(
    ("values", "modality"),
    [(np.array([-1024, 40], np.int16), "CT"), (np.array([-100, 40], np.int16), None), (np.array([-600.5, 1.2]), None)],
)
def test_whole_numbers_down_to_air_are_taken_for_ct(tmp_path, values, modality):
    nib.save(nib.Nifti1Image(values.reshape(1, 1, 2), np.eye(4)), tmp_path / "a.nii")
    assert read_nifti(tmp_path / "a.nii").modality == modality


def test_freesurfer_volumes_are_read(tmp_path):
    nib.save(nib.MGHImage(marked_volume(), RAS_AFFINE), tmp_path / "a.mgz")
    assert seen_at(read_nifti(tmp_path / "a.mgz"), "axial", 100)[0] == (7, 5, 1)


def test_oblique_volumes_are_labelled_and_shown_in_the_nearest_plane(tmp_path):
    cos, sin = np.cos(np.radians(40)), np.sin(np.radians(40))
    affine = np.array([[1, 0, 0, 0], [0, cos, -4 * sin, 0], [0, sin, 4 * cos, 0], [0, 0, 0, 1]])
    nib.save(nib.Nifti1Image(np.zeros((3, 4, 5), np.uint8), affine), tmp_path / "a.nii")
    image = read_nifti(tmp_path / "a.nii")
    assert image.plane == "oblique"
    assert image.pixels.shape == (5, 4, 3)
    assert len(image.slices()) == len(image.slices("axial")) == 5


@pytest.mark.parametrize("name", ["cut.nii", "cut.nii.gz", "cut.mgz"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.95])
def test_truncated_volumes_are_refused_by_name(tmp_path, name, kept):
    noise = np.random.default_rng(0).integers(0, 200, (8, 9, 10), dtype=np.uint8)
    kind = nib.MGHImage if name.endswith("mgz") else nib.Nifti1Image
    nib.save(kind(noise, np.eye(4)), tmp_path / name)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(ImageError, match=f"{name}: cannot be read as a NIfTI"):
        read_nifti(tmp_path / name)


def test_colour_volumes_are_refused(tmp_path):
    colour = np.zeros((3, 4, 5), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    nib.save(nib.Nifti1Image(colour, np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(ImageError, match="expected a grey volume"):
        read_nifti(tmp_path / "a.nii")
