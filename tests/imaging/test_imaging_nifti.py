import gzip
import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from nibabel import cifti2
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, ornt_transform

from vesalius.errors import ImageError, ImageNotice
from vesalius.imaging import read_image
from vesalius.imaging.intensity import CT_WINDOWS, window_range
from vesalius.imaging.lazy import LazyPixels
from vesalius.imaging.nifti import read_label_volume, read_nifti

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


class TestSeveralVolumes:
    @pytest.fixture(params=[".nii", ".nii.gz"])
    def path(self, tmp_path, request):
        series = np.stack([np.full((3, 4, 5), value, np.int16) for value in range(6)], axis=-1)
        path = tmp_path / f"a{request.param}"
        nib.save(nib.Nifti1Image(series.reshape(3, 4, 5, 2, 3, order="F"), np.eye(4)), path)
        return path

    def test_the_first_counts_and_the_others_are_told(self, path):
        with pytest.warns(ImageNotice, match="5 of 6 volumes left out: .* Choose another with"):
            image = read_image(path)
        np.testing.assert_array_equal(image.pixels, np.full((5, 4, 3), 0))

    @pytest.mark.parametrize("number", [1, 4, 6])
    def test_one_is_chosen_in_the_order_of_the_file(self, path, number):
        image = read_image(path, volume=number)
        assert (image.pixels == number - 1).all()
        assert image.notices == ()

    @pytest.mark.parametrize("number", [0, 7, -1])
    def test_others_are_refused(self, path, number):
        with pytest.raises(ImageError, match="expected a number from 1 to 6"):
            read_nifti(path, volume=number)


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


def write_values(path, values):
    nib.save(nib.Nifti1Image(values.reshape(20, 10, -1), np.eye(4)), path)
    return path


def head(rng, air=-1000.0, noise=20.0):
    """A third of air, the rest soft tissue."""
    return np.where(rng.random((20, 10, 30)) < 0.3, air, 40.0) + rng.normal(0, noise, (20, 10, 30))


RNG = np.random.default_rng(0)
SPREAD_HU = {
    "whole numbers": head(RNG).astype(np.int16),
    "fractions": head(RNG).astype(np.float32),
    "one value outside the field of view": np.where(RNG.random((20, 10, 30)) < 0.4, -3024, head(RNG)).astype(np.int16),
    "lungs without air around": RNG.choice([-850.0, -750, 20, 50], (20, 10, 30), p=[0.2, 0.2, 0.4, 0.2]),
}
NO_HU = {
    "an MR that reaches below -500": RNG.integers(-600, 20000, (40, 40, 20)).astype(np.int16),
    "phase": RNG.integers(-4096, 4096, (20, 10, 30)).astype(np.int16),
    "a map of real numbers": RNG.normal(0, 600, (20, 10, 30)).astype(np.float32),
    "an MR whose background is not 0": np.where(
        RNG.random((20, 10, 30)) < 0.5, -19595, RNG.normal(-1e3, 900, (20, 10, 30))
    ),
}


class TestUnits:
    @pytest.mark.parametrize("case", SPREAD_HU)
    def test_what_is_spread_like_hu_is_taken_for_ct_and_the_reason_is_told(self, tmp_path, case):
        image = read_nifti(write_values(tmp_path / "a.nii.gz", SPREAD_HU[case]))
        assert image.modality == "CT"
        assert [notice.what for notice in image.notices] == ["units guessed to be HU"]
        assert image.slices().display_range == window_range(CT_WINDOWS["soft tissue"])

    @pytest.mark.parametrize("case", NO_HU)
    def test_what_is_not_stays_unknown_and_that_is_told(self, tmp_path, case):
        image = read_nifti(write_values(tmp_path / "a.nii.gz", NO_HU[case]))
        assert image.modality is None
        assert [notice.what for notice in image.notices] == ["units unknown"]

    def test_an_ordinary_mr_needs_no_notice(self, tmp_path):
        image = read_nifti(write_values(tmp_path / "a.nii", RNG.integers(0, 900, (20, 10, 4)).astype(np.int16)))
        assert (image.modality, image.notices) == (None, ())

    @pytest.mark.parametrize("modality", ["MR", "CT"])
    def test_a_file_beside_it_settles_it(self, tmp_path, modality):
        path = write_values(tmp_path / "a.nii.gz", SPREAD_HU["whole numbers"])
        (tmp_path / "a.json").write_text(json.dumps({"Modality": modality}))
        image = read_nifti(path)
        assert (image.modality, image.notices) == (modality, ())


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


@pytest.mark.parametrize("names", ["RGB", "RGBA"])
def test_colour_volumes_are_shown_in_colour(tmp_path, names):
    colour = np.zeros((3, 4, 5), np.dtype([(name, "u1") for name in names]))
    colour["R"][2, 0, 4] = 200
    nib.save(nib.Nifti1Image(colour, np.eye(4)), tmp_path / "a.nii")
    image = read_nifti(tmp_path / "a.nii")
    assert (image.pixels.shape, image.pixels.dtype) == ((5, 4, 3, 3), np.uint8)
    np.testing.assert_array_equal(image.pixels[4, 3, 0], [200, 0, 0])
    assert image.slices()[4].rgb[3, 0, 0] == pytest.approx(200 / 255)


def test_complex_volumes_are_refused(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((3, 4, 5), np.complex64), np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(ImageError, match="expected a grey or RGB volume"):
        read_nifti(tmp_path / "a.nii")


def test_values_on_surfaces_are_refused_as_what_they_are(tmp_path):
    names = cifti2.ScalarAxis(["a"])
    where = cifti2.BrainModelAxis.from_mask(np.ones((2, 2, 2), bool), name="thalamus_left", affine=np.eye(4))
    nib.save(cifti2.Cifti2Image(np.zeros((1, 8), np.float32), (names, where)), tmp_path / "a.dscalar.nii")
    with pytest.raises(ImageError, match=r"a\.dscalar\.nii: is a CIFTI-2 file .* export one as NIfTI"):
        read_image(tmp_path / "a.dscalar.nii")


class TestLargeVolumes:
    @pytest.fixture
    def values(self):
        return np.random.default_rng(0).integers(0, 900, (80, 72, 60)).astype(np.int16)

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.mgz"])
    @pytest.mark.parametrize("scaled", [False, True])
    def test_they_stay_in_their_file_and_hold_the_same(self, tmp_path, monkeypatch, values, name, scaled):
        kind = nib.MGHImage if name.endswith("mgz") else nib.Nifti1Image
        written = kind(values, np.diag([-1.0, 1, 2, 1]))
        if scaled and name != "a.mgz":
            written.header.set_slope_inter(0.5, -100)
        nib.save(written, tmp_path / name)
        whole = read_nifti(tmp_path / name)
        monkeypatch.setenv("VESALIUS_KEPT_MEGABYTES", "1")
        large = read_nifti(tmp_path / name)
        assert isinstance(whole.pixels, np.ndarray)
        assert isinstance(large.pixels, LazyPixels)
        np.testing.assert_array_equal(np.asarray(large.pixels), whole.pixels)
        np.testing.assert_array_equal(large.slices("sagittal").pixels[3], whole.slices("sagittal").pixels[3])

    def test_without_room_to_unpack_they_are_refused_with_the_way_out(self, tmp_path, monkeypatch, values):
        nib.save(nib.Nifti1Image(np.tile(values, (1, 1, 2)), np.eye(4)), tmp_path / "a.nii.gz")
        monkeypatch.setenv("VESALIUS_KEPT_MEGABYTES", "1")
        monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 9, 9))
        with pytest.raises(ImageError, match="a.nii.gz: unpacking it needs 2 megabytes .* TMPDIR"):
            read_nifti(tmp_path / "a.nii.gz")


def test_a_wrong_checksum_is_noticed(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((8, 9, 10), np.uint8), np.eye(4)), tmp_path / "a.nii.gz")
    data = bytearray((tmp_path / "a.nii.gz").read_bytes())
    data[-6] ^= 1
    (tmp_path / "a.nii.gz").write_bytes(data)
    with pytest.raises(ImageError, match="cannot be read as a NIfTI or MGZ volume"):
        read_nifti(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("more", [1, 20 * 2**20])
def test_a_wrong_checksum_is_noticed_where_more_is_unpacked_than_voxels(tmp_path, more):
    nib.save(nib.Nifti1Image(np.zeros((8, 9, 10), np.uint8), np.eye(4)), tmp_path / "a.nii")
    data = bytearray(gzip.compress((tmp_path / "a.nii").read_bytes() + bytes(more)))
    if more == 1:
        data[-6] ^= 1
    (tmp_path / "a.nii.gz").write_bytes(data)
    with pytest.raises(ImageError, match="CRC check failed" if more == 1 else "goes on after 1,072 bytes"):
        read_nifti(tmp_path / "a.nii.gz")


@pytest.mark.parametrize(("unit", "length"), [("meter", 0.001), ("micron", 1000.0), ("mm", 1.0), ("unknown", 1.0)])
def test_lengths_are_millimetres_whatever_the_headers_unit(tmp_path, unit, length):
    image = nib.Nifti1Image(marked_volume(), np.diag([length, length, 2 * length, 1]))
    image.header.set_xyzt_units(unit)
    nib.save(image, tmp_path / "a.nii")
    read = read_nifti(tmp_path / "a.nii")
    np.testing.assert_allclose(read.source_affine, np.diag([1, 1, 2, 1]), atol=1e-5)
    assert "lengths taken for millimetres" not in " ".join(map(str, read.notices))


def test_a_unit_that_cannot_be_true_is_told(tmp_path):
    image = nib.Nifti1Image(marked_volume(), np.eye(4))
    image.header.set_xyzt_units("meter")
    nib.save(image, tmp_path / "a.nii")
    read = read_nifti(tmp_path / "a.nii")
    np.testing.assert_allclose(read.source_affine, np.eye(4))
    assert "lengths taken for millimetres: in meters, voxels would be longer" in " ".join(map(str, read.notices))


def test_a_header_without_a_place_gives_no_plane(tmp_path):
    nib.save(nib.Nifti1Image(marked_volume(), None), tmp_path / "a.nii")
    read = read_nifti(tmp_path / "a.nii")
    assert read.plane is None
    assert "place in the patient unknown" in " ".join(map(str, read.notices))


@pytest.mark.parametrize(("name", "remedy"), [("a.nii", r"end in \.nii\.gz"), ("a.nii.gz", r"end in \.nii\.")])
def test_a_name_that_does_not_say_how_it_is_packed_is_to_be_changed(tmp_path, name, remedy):
    other = "b.nii.gz" if name == "a.nii" else "b.nii"
    nib.save(nib.Nifti1Image(marked_volume(), np.eye(4)), tmp_path / other)
    shutil.move(tmp_path / other, tmp_path / name)
    with pytest.raises(ImageError, match=f"rename it to {remedy}"):
        read_nifti(tmp_path / name)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ["a.nii", "a.mgz"])
def test_damaged_headers_are_read_or_refused_by_name(tmp_path, name, seed):
    rng = np.random.default_rng(seed)
    kind = nib.MGHImage if name == "a.mgz" else nib.Nifti1Image
    nib.save(kind(rng.integers(0, 200, (4, 5, 6)).astype(np.uint8), np.eye(4)), tmp_path / name)
    packed = (tmp_path / name).read_bytes()
    sound = gzip.decompress(packed) if name == "a.mgz" else packed
    refusals = []
    for number in range(50):
        data = bytearray(sound)
        start, size = int(rng.integers(284)), int(rng.integers(1, 9))
        data[start : start + size] = bytes(size) if number % 2 else rng.bytes(size)
        (tmp_path / name).write_bytes(gzip.compress(data, 1) if name == "a.mgz" else data)
        try:
            read_nifti(tmp_path / name)
        except ImageError as error:
            refusals.append(str(error))
    assert 0 < len(refusals) < 50
    assert all(name in each for each in refusals)


def test_what_nibabel_repairs_is_told_and_not_printed(tmp_path, capfd):
    volume = nib.Nifti1Image(marked_volume(), RAS_AFFINE)
    content = bytearray(volume.to_bytes())
    content[80:84] = np.float32(-1).tobytes()  # a distance between voxels
    (tmp_path / "a.nii").write_bytes(content)
    notices = read_nifti(tmp_path / "a.nii").notices
    assert [notice.what for notice in notices] == ["header is damaged and was read as well as it goes"]
    assert "pixdim" in notices[0].why
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("stray", [1e30, -1e30, np.inf, np.nan])
def test_values_as_large_as_markers_of_nothing_become_0(tmp_path, stray):
    volume = np.ones((4, 5, 6), np.float32)
    volume[0, 0, 0] = stray
    nib.save(nib.Nifti1Image(volume, np.eye(4)), tmp_path / "a.nii")
    pixels = np.asarray(read_nifti(tmp_path / "a.nii").pixels)
    assert (pixels.min(), pixels.max()) == (0, 1)


def test_a_scale_that_overflows_gives_0_and_no_warning(tmp_path):
    content = bytearray(nib.Nifti1Image(marked_volume(), RAS_AFFINE).to_bytes())
    content[112:116] = np.float32(1e38).tobytes()  # scl_slope
    (tmp_path / "a.nii").write_bytes(content)
    assert not np.asarray(read_nifti(tmp_path / "a.nii").pixels).any()


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32])
def test_labels_are_whole_numbers_in_the_order_of_axial_slices(tmp_path, kind):
    labels = np.arange(24, dtype=kind).reshape(2, 3, 4)
    nib.save(nib.Nifti1Image(labels, np.diag([-2.0, 3, 4, 1])), tmp_path / "labels.nii.gz")
    read, affine = read_label_volume(tmp_path / "labels.nii.gz")
    slices = read_image(tmp_path / "labels.nii.gz").slices("axial")
    assert read.dtype.kind in "iu"
    assert np.array_equal(read, slices.pixels)
    assert np.array_equal(affine, slices.affine)


def test_a_damaged_label_volume_is_refused(tmp_path):
    (tmp_path / "labels.nii.gz").write_bytes(b"nothing")
    with pytest.raises(ImageError, match="cannot be read as a NIfTI"):
        read_label_volume(tmp_path / "labels.nii.gz")
