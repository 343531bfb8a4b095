"""Frames become stacks of slices; real series too, where the developers' data lie beside the repository."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from vesalius.errors import ImageError, ImageNotice
from vesalius.imaging import read_image
from vesalius.imaging.dicom import read_dicom, read_series, read_stacks
from vesalius.imaging.dicom_frames import FramePixels

AXIAL, CORONAL, SAGITTAL = [1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1]


def heights(image) -> list[float]:
    return [float(each.flat[0]) for each in image.pixels]


def item(**attributes: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


class TestOrder:
    def test_slices_are_sorted_by_position_whatever_their_names_and_numbers(self, write_series):
        folder = write_series([6.0, 0.0, 9.0, 3.0])
        assert heights(read_series(folder)) == [0, 3, 6, 9]

    def test_without_positions_the_instance_number_decides(self, write_series):
        folder = write_series([7.0, 5.0, 6.0], ImagePositionPatient=None, ImageOrientationPatient=None)
        image = read_series(folder)
        assert heights(image) == [7, 5, 6]
        assert image.affine is None
        assert image.pixel_spacing == (2.0, 0.5)

    def test_slices_ascend_to_the_head_even_if_the_file_counts_the_other_way(self, write_series):
        folder = write_series([0.0, 3.0, 6.0], ImageOrientationPatient=[1, 0, 0, 0, -1, 0])
        assert heights(read_series(folder)) == [0, 3, 6]


class TestPlace:
    def test_the_affine_maps_a_voxel_to_its_millimetres(self, write_series):
        image = read_series(write_series([0.0, 3.0, 6.0]))
        assert image.spacing == (3.0, 2.0, 0.5)
        slice_2_row_1_column_4 = [2, 1, 4, 1]
        lps = (10 + 4 * 0.5, 20 + 1 * 2.0, 6.0)
        np.testing.assert_allclose(image.affine @ slice_2_row_1_column_4, [-lps[0], -lps[1], lps[2], 1])

    def test_a_tilted_gantry_shears_the_affine(self, write_dicom, tmp_path):
        for number in range(3):
            place = {"ImagePositionPatient": [0, 1.0 * number, 4.0 * number], "ImageOrientationPatient": AXIAL}
            attributes = {**place, "PixelSpacing": [1, 1], "InstanceNumber": number}
            write_dicom(f"series/{number}", np.zeros((4, 6), np.int16), **attributes)
        image = read_series(tmp_path / "series")
        np.testing.assert_allclose(image.affine @ [2, 0, 0, 1], [0, -2, 8, 1])

    def test_a_single_slice_takes_its_thickness_for_the_missing_distance(self, write_series):
        assert read_series(write_series([4.0])).spacing == (3.0, 2.0, 0.5)

    def test_uneven_distances_are_told(self, write_series):
        folder = write_series([0.0, 3.0, 9.0, 12.0])
        (notice,) = read_series(folder).notices
        assert "slices lie 3.00 to 6.00 mm apart" in str(notice)
        assert (notice.count, notice.total) == (1, 3)

    @pytest.mark.parametrize("cosines", [AXIAL, [1, 0, 0, 0, -1, 0]])
    def test_slices_at_uneven_distances_lie_where_the_header_says(self, write_series, cosines):
        folder = write_series([0.0, 3.0, 9.0, 12.0, 14.0], ImageOrientationPatient=cosines)
        slices = read_series(folder).slices()
        assert [each.position_mm for each in slices] == pytest.approx([0, 3, 9, 12, 14])
        even = read_series(write_series([0.0, 3.0, 6.0], folder="even")).slices()
        assert (even.slice_steps, [each.position_mm for each in even]) == ((), pytest.approx([0, 3, 6]))

    @pytest.mark.parametrize(
        ("cosines", "plane"),
        [(AXIAL, "axial"), (CORONAL, "coronal"), (SAGITTAL, "sagittal"), ([1, 0, 0, 0, 0.76604, 0.64279], "oblique")],
    )
    def test_the_plane_follows_from_the_cosines(self, write_dicom, cosines, plane):
        place = {"ImageOrientationPatient": cosines, "ImagePositionPatient": [0, 0, 0], "PixelSpacing": [1, 1]}
        image = read_dicom(write_dicom("a.dcm", np.zeros((4, 6), np.int16), **place))
        assert image.plane == plane
        assert image.slices()[0].plane == plane

    def test_zero_cosines_place_nothing(self, write_dicom):
        place = {"ImageOrientationPatient": [0] * 6, "ImagePositionPatient": [0, 0, 0], "PixelSpacing": [1, 1]}
        assert read_dicom(write_dicom("a.dcm", np.zeros((4, 6), np.int16), **place)).affine is None


class TestDisplayOrder:
    @pytest.mark.parametrize(
        ("cosines", "corner_value"),
        [
            (AXIAL, (0, 0)),
            ([-1, 0, 0, 0, -1, 0], (3, 5)),  # prone-like storage: both axes run the other way
            (CORONAL, (0, 0)),
            ([1, 0, 0, 0, 0, 1], (3, 0)),  # feet up
            (SAGITTAL, (0, 0)),
            ([0, -1, 0, 0, 0, -1], (0, 5)),  # front at image right
        ],
    )
    def test_slices_turn_to_the_radiological_view(self, write_dicom, cosines, corner_value):
        stored = np.arange(24, dtype=np.int16).reshape(4, 6)
        place = {"ImageOrientationPatient": cosines, "ImagePositionPatient": [0, 0, 0], "PixelSpacing": [1, 1]}
        image = read_dicom(write_dicom("a.dcm", stored, Modality="MR", **place))
        assert image.pixels[0, 0, 0] == stored[corner_value]

    def test_transposed_storage_is_transposed_back(self, write_dicom):
        stored = np.arange(24, dtype=np.int16).reshape(4, 6)
        place = {
            "ImageOrientationPatient": [0, 1, 0, 1, 0, 0],
            "ImagePositionPatient": [5, 6, 7],
            "PixelSpacing": [2, 3],
        }
        image = read_dicom(write_dicom("a.dcm", stored, Modality="MR", **place))
        np.testing.assert_array_equal(image.pixels[0], stored.T)
        assert image.spacing == (1.0, 3.0, 2.0)
        np.testing.assert_allclose(image.affine @ [0, 0, 0, 1], [-5, -6, 7, 1])


class TestStacks:
    def test_orientations_of_a_localizer_are_separate_stacks(self, write_series, tmp_path):
        write_series([0.0, 5.0, 10.0], start=1)
        write_series([0.0], start=10, ImageOrientationPatient=CORONAL)
        write_series([0.0], start=20, ImageOrientationPatient=SAGITTAL)
        stacks = read_stacks(tmp_path / "series")
        assert [(image.plane, len(image.pixels)) for image in stacks] == [("axial", 3), ("coronal", 1), ("sagittal", 1)]
        assert read_series(tmp_path / "series").plane == "axial"

    @pytest.mark.parametrize(
        "attribute", [{"EchoTime": 90.0}, {"DiffusionBValue": 800.0}, {"TemporalPositionIdentifier": 2}]
    )
    def test_echoes_b_values_and_time_points_are_separate_stacks(self, write_series, tmp_path, attribute):
        write_series([0.0, 3.0], start=1)
        write_series([0.0, 3.0], start=10, **attribute)
        assert [heights(image) for image in read_stacks(tmp_path / "series")] == [[0, 3], [0, 3]]

    def test_repeated_positions_are_separate_stacks_in_order_of_their_numbers(self, write_dicom, tmp_path):
        for number, (height, value) in enumerate([(0, 1), (3, 1), (0, 2), (3, 2), (0, 3)]):
            place = {"ImageOrientationPatient": AXIAL, "ImagePositionPatient": [0, 0, height], "PixelSpacing": [1, 1]}
            pixels = np.full((4, 6), value, np.int16)
            write_dicom(f"s/{number}", pixels, Modality="MR", InstanceNumber=number, **place)
        assert [heights(image) for image in read_stacks(tmp_path / "s")] == [[1, 1], [2, 2], [3]]

    @pytest.mark.parametrize(
        ("some", "others"),
        [
            ({"EchoTime": "12"}, {"EchoTime": "12.0"}),
            ({"EchoTime": "12"}, {"EchoTime": "12.05"}),
            ({"DiffusionBValue": 1000.0}, {"DiffusionBValue": 995.0}),
            ({"PixelSpacing": ["2", "0.5"]}, {"PixelSpacing": ["2.0000", "0.50010"]}),
            ({"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"]}, {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "ADD"]}),
            ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"]}, {"ImageType": ["DERIVED", "PRIMARY", "M", "DIS2D"]}),
            ({"ImageType": ["ORIGINAL", "PRIMARY", "M_FFE"]}, {"ImageType": ["ORIGINAL", "PRIMARY", "M"]}),
        ],
    )
    def test_what_is_written_differently_and_means_the_same_is_one_stack(self, write_series, tmp_path, some, others):
        write_series([0.0, 6.0], start=1, Modality="MR", **some)
        write_series([3.0, 9.0], start=5, Modality="MR", **others)
        image = read_series(tmp_path / "series")
        assert heights(image) == [0, 3, 6, 9]
        assert image.notices == ()

    @pytest.mark.parametrize("word", ["P", "PHASE MAP", "ADC", "TRACEW", "WATER", "MIP"])
    def test_image_types_of_another_contrast_are_another_stack_which_is_told(self, write_series, tmp_path, word):
        write_series([0.0, 6.0, 12.0], start=1, ImageType=["ORIGINAL", "PRIMARY", "OTHER"])
        write_series([3.0], start=5, ImageType=["ORIGINAL", "PRIMARY", word])
        (notice,) = read_series(tmp_path / "series").notices
        assert str(notice).startswith("1 of 4 slices left out: the largest of 2 stacks is taken: 1 (axial, 3 slices")

    def test_stacks_that_nobody_chose_stay_in_their_files(self, write_series, tmp_path, monkeypatch):
        for echo in (10, 20, 30):
            write_series([0.0, 3.0], start=echo, EchoTime=echo)
        decoded = []
        read = FramePixels.read
        monkeypatch.setattr(FramePixels, "read", lambda self: decoded.append(self) or read(self))
        assert len(read_series(tmp_path / "series", stack=2).pixels) == 2
        assert len(decoded) == 2

    def test_stacks_are_kept_in_memory_as_far_as_there_is_room(self, write_dicom, tmp_path, monkeypatch):
        monkeypatch.setenv("VESALIUS_KEPT_MEGABYTES", "1")
        for number in range(3):
            write_dicom(f"s/{number}", np.zeros((400, 400), np.uint16), Modality="MR", EchoTime=10 * (number + 1))
        stacks = read_stacks(tmp_path / "s")
        assert [isinstance(image.pixels, np.ndarray) for image in stacks] == [True, False, False]
        assert stacks[2].slices()[0].rgb.shape == (400, 400, 3)

    def test_a_frame_that_is_there_twice_counts_once(self, write_series, tmp_path):
        folder = write_series([0.0, 3.0, 6.0])
        shutil.copy(next(folder.iterdir()), folder / "copy")
        image = read_series(folder)
        assert heights(image) == [0, 3, 6]
        assert str(image.notices[0]).startswith("1 of 4 frames left out: they are copies")

    def test_cosines_that_differ_by_rounding_belong_together(self, write_series, tmp_path):
        write_series([0.0, 6.0], start=1, ImageOrientationPatient=[0.99996, 0.009, 0, -0.009, 0.99996, 0])
        write_series([3.0], start=5, ImageOrientationPatient=[0.9999595, 0.0090004, 0, -0.0090004, 0.9999595, 0])
        assert len(read_series(tmp_path / "series").pixels) == 3

    def test_sizes_are_separate_stacks(self, write_dicom, write_series, tmp_path):
        write_series([0.0, 3.0])
        write_dicom("series/other", np.zeros((5, 6), np.int16))
        assert [image.pixels.shape for image in read_stacks(tmp_path / "series")] == [(2, 4, 6), (1, 5, 6)]


class TestEnhancedMultiFrame:
    @pytest.fixture
    def enhanced(self, write_dicom):
        pixels = np.stack([np.full((4, 6), value, np.uint16) for value in (30, 10, 20)])
        per_frame = [
            item(
                PlanePositionSequence=[item(ImagePositionPatient=[0, 0, height])],
                PixelValueTransformationSequence=[item(RescaleSlope=slope, RescaleIntercept=-5)],
            )
            for height, slope in ((8.0, 1), (0.0, 2), (4.0, 3))
        ]
        shared = item(
            PlaneOrientationSequence=[item(ImageOrientationPatient=AXIAL)],
            PixelMeasuresSequence=[item(PixelSpacing=[2.0, 0.5], SliceThickness=4.0)],
            FrameVOILUTSequence=[item(WindowCenter=30, WindowWidth=60)],
        )
        groups = {"PerFrameFunctionalGroupsSequence": per_frame, "SharedFunctionalGroupsSequence": [shared]}
        return read_dicom(write_dicom("a.dcm", pixels, **groups))

    def test_frames_are_sorted_and_each_has_its_own_rescaling(self, enhanced):
        assert heights(enhanced) == [10 * 2 - 5, 20 * 3 - 5, 30 * 1 - 5]

    def test_shared_and_single_attributes_combine(self, enhanced):
        assert enhanced.plane == "axial"
        assert enhanced.spacing == (4.0, 2.0, 0.5)
        assert enhanced.window == (30, 60)


ANATOMY = Path(__file__).parents[2].parent / "shared" / "data" / "anatomy"


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


@pytest.mark.slow
@pytest.mark.parametrize(("name", "plane", "count"), [("T1", "coronal", 24), ("T2", "sagittal", 26)])
def test_a_knee_in_jpeg_2000(name, plane, count):
    image = read_image(real(f"knee_mr/{name}"))
    assert_well_placed(image, plane, "MR")
    assert len(image.pixels) == count
    assert image.header["BodyPartExamined"] == "KNEE"


@pytest.mark.slow
def test_a_knee_localizer_in_lossless_jpeg_has_three_orientations():
    stacks = read_stacks(real("knee_mr_localizer"))
    assert {image.plane for image in stacks} == {"axial", "coronal", "sagittal"}
    assert [len(image.pixels) for image in stacks] == [9, 9, 9]


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Flair", "Epi"])
def test_a_brain_in_mr(name):
    assert_well_placed(read_image(real(f"brain_mr/{name}")), "axial", "MR")


@pytest.mark.slow
def test_a_folder_of_two_series_lists_both():
    with pytest.raises(ImageError, match="holds 2 series"):
        read_image(real("brain_mr"))


@pytest.mark.slow
def test_a_ct_in_nifti_is_recognised():
    with pytest.warns(ImageNotice, match="units guessed to be HU"):
        image = read_image(real("abdomen_pelvis_ct/ct.nii.gz"))
    assert_well_placed(image, "axial", "CT")
