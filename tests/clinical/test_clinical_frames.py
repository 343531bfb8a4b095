"""Every frame of a segmentation lies on the frame it was made from, and holds its very mask."""

import shutil

import numpy as np
import pydicom
import pytest
from highdicom.seg import segread

from vesalius.clinical.work import DicomFiles, segment_to_dicom
from vesalius.errors import ImageError
from vesalius.imaging import read_image
from vesalius.masks import MaskRules
from vesalius.segmenting.request import Request

ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
ULTRASOUND_CLIP = "1.2.840.10008.5.1.4.1.1.3.1"
RADIOGRAPH = "1.2.840.10008.5.1.4.1.1.1.1"
PHOTOGRAPH = "1.2.840.10008.5.1.4.1.1.77.1.4"
AXIAL, TURNED = (1, 0, 0, 0, 1, 0), (-1, 0, 0, 0, -1, 0)
SAGITTAL, CORONAL = (0, 1, 0, 0, 0, -1), (1, 0, 0, 0, 0, -1)
TILTED = (0.8, 0.36, 0.48, -0.6, 0.48, 0.64)


@pytest.fixture
def segment(exact, tmp_path):
    """Segment a file or folder and read the result with highdicom's reader."""

    def segment(path, *prompts, choices=None, fractional=False, **asked):
        out = tmp_path / "result.dcm"
        request = Request(prompts or ("liver",), **asked)
        segment_to_dicom(read_image(path, **(choices or {})), exact, request, DicomFiles(out), fractional=fractional)
        return segread(out)

    return segment


def stored(path):
    """What the model marks in a file: bright pixels, [H, W] or [F, H, W], without any code of ours."""
    pixels = pydicom.dcmread(path).pixel_array
    return (pixels if pixels.shape[-1] != 3 else pixels[..., 0]) > (1000 if pixels.dtype.itemsize > 1 else 128)


def places(segmentation):
    """Instance and frame number -> position, orientation and spacing that the segmentation gives it."""
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    found = {}
    for item in segmentation.PerFrameFunctionalGroupsSequence:
        reference = item.DerivationImageSequence[0].SourceImageSequence[0]
        orientation = (item if "PlaneOrientationSequence" in item else shared).PlaneOrientationSequence[0]
        measures = (item if "PixelMeasuresSequence" in item else shared).PixelMeasuresSequence[0]
        found[reference.ReferencedSOPInstanceUID, reference.get("ReferencedFrameNumber")] = (
            item.PlanePositionSequence[0].ImagePositionPatient,
            orientation.ImageOrientationPatient,
            [*measures.PixelSpacing, measures.SliceThickness],
        )
    return found


def check_series(segmentation, folder):
    """Each file's frame against its own pixels and its own place."""
    files = {pydicom.dcmread(path).SOPInstanceUID: path for path in folder.iterdir()}
    given = places(segmentation)
    assert given.keys() == {(uid, None) for uid in files}
    masks = segmentation.get_pixels_by_source_instance(list(files), segment_numbers=[1])[..., 0]
    for mask, (uid, path) in zip(masks, files.items(), strict=True):
        header = pydicom.dcmread(path)
        np.testing.assert_array_equal(mask, stored(path), err_msg=path.name)
        position, orientation, spacing = given[uid, None]
        np.testing.assert_allclose(position, header.ImagePositionPatient, atol=1e-6)
        np.testing.assert_allclose(orientation, header.ImageOrientationPatient, atol=1e-6)
        np.testing.assert_allclose(spacing, [*header.PixelSpacing, header.SliceThickness], atol=1e-6)
    assert segmentation.FrameOfReferenceUID == "1.2.3.4.9"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("orientation", "step"),
    [
        pytest.param(AXIAL, (0, 0, 7), id="axial"),
        pytest.param(AXIAL, (0, 0, -7), id="axial, head first in the files"),
        pytest.param(TURNED, (0, 0, 7), id="patient turned"),
        pytest.param((0, 1, 0, 1, 0, 0), (0, 0, 7), id="rows and columns exchanged"),
        pytest.param(SAGITTAL, (7, 0, 0), id="sagittal"),
        pytest.param(SAGITTAL, (-7, 0, 0), id="sagittal, from the right"),
        pytest.param(CORONAL, (0, 7, 0), id="coronal"),
        pytest.param(TILTED, (0.0, -5.6, 4.2), id="oblique"),
        pytest.param(AXIAL, (0, 2.5, 6.5), id="tilted gantry"),
    ],
)
def test_frames_lie_on_those_of_a_series(segment, write_series, orientation, step):
    folder = write_series(orientation, step)
    check_series(segment(folder), folder)


def test_a_plane_across_the_slices_is_brought_back_to_them(segment, write_series):
    folder = write_series()
    check_series(segment(folder, plane="coronal"), folder)


@pytest.mark.filterwarnings("ignore:.*slice distances differ")
def test_frames_keep_their_uneven_places_where_slices_are_missing(segment, write_series):
    folder = write_series(numbers=(0, 1, 3, 4, 7))
    check_series(segment(folder), folder)


@pytest.mark.filterwarnings("ignore:.*copies of others")
def test_a_copy_of_a_slice_counts_once(segment, write_series):
    folder = write_series()
    copied = shutil.copy(folder / "3.dcm", folder / "copy.dcm")
    result = segment(folder)
    copied.unlink()
    check_series(result, folder)


@pytest.mark.filterwarnings("ignore:.*left out")
def test_of_several_stacks_only_the_chosen_one_is_referred_to(segment, write_series):
    folder = write_series()
    write_series(SAGITTAL, (7, 0, 0), numbers=(10, 11, 12), folder="other")
    for path in (folder.parent / "other").iterdir():
        shutil.copy(path, folder / f"other-{path.name}")
    first = segment(folder)
    assert len(first.SourceImageSequence) == 5
    (folder.parent / "result.dcm").unlink()
    check_series(segment(folder, choices={"stack": 2}), folder.parent / "other")


def test_of_several_series_one_has_to_be_chosen(segment, write_series):
    folder = write_series(SeriesInstanceUID="1.2.3.4.5")
    for path in write_series(SAGITTAL, (7, 0, 0), (5, 6, 7), "other", SeriesInstanceUID="1.2.3.4.6").iterdir():
        shutil.copy(path, folder / f"other-{path.name}")
    with pytest.raises(ImageError, match="there are 2|holds 2"):
        segment(folder)
    check_series(segment(folder, choices={"series": "1.2.3.4.6"}), folder.parent / "other")


@pytest.mark.filterwarnings("ignore:.*left out")
def test_a_localizer_is_segmented_a_plane_at_a_time(segment, write_series):
    types = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    folder = write_series(numbers=(0, 1, 2, 3), ImageType=types)
    for path in write_series(SAGITTAL, (7, 0, 0), (10, 11, 12), "other", ImageType=types).iterdir():
        shutil.copy(path, folder / f"other-{path.name}")
    result = segment(folder)
    assert {each.ReferencedSOPInstanceUID for each in result.SourceImageSequence} == {
        f"1.2.3.4.5.{number}" for number in (1, 2, 3, 4)
    }
    (folder.parent / "result.dcm").unlink()
    check_series(segment(folder, choices={"stack": 2}), folder.parent / "other")


@pytest.mark.filterwarnings("ignore:.*left out")
def test_slices_taken_twice_at_one_place_are_two_stacks(segment, write_series):
    folder = write_series()
    for number in range(5):
        path = write_series(numbers=(number,), folder=f"again{number}", SOPInstanceUID=f"1.2.3.4.7.{number + 1}")
        for each in path.iterdir():
            shutil.copy(each, folder / f"again-{each.name}")
    first = segment(folder)
    (folder.parent / "result.dcm").unlink()
    second = segment(folder, choices={"stack": 2})
    both = [{each.ReferencedSOPInstanceUID for each in result.SourceImageSequence} for result in (first, second)]
    assert [len(each) for each in both] == [5, 5]
    assert not both[0] & both[1]


@pytest.mark.parametrize("bits", [12, 16])
def test_all_bits_of_a_pixel_count(segment, write_series, bits):
    """Unsigned values of 16 bits, or 12 of them, the highest of which is not the sign."""
    folder = write_series(BitsStored=bits, HighBit=bits - 1, PixelRepresentation=0, RescaleIntercept=0)
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        pixels = dataset.pixel_array.astype(np.uint16) << (bits - 12)
        dataset.PixelData = pixels.tobytes()
        dataset.WindowCenter, dataset.WindowWidth = 1350 << (bits - 12), 2300 << (bits - 12)
        dataset.save_as(path)
    result = segment(folder)
    files = {pydicom.dcmread(path).SOPInstanceUID: path for path in folder.iterdir()}
    masks = result.get_pixels_by_source_instance(list(files), segment_numbers=[1])[..., 0]
    for mask, path in zip(masks, files.values(), strict=True):
        np.testing.assert_array_equal(mask, pydicom.dcmread(path).pixel_array > 1350 << (bits - 12))


def test_last_digits_of_directions_and_spacings_stay_those_of_each_frame(segment, write_series):
    folder = write_series(numbers=(0, 1, 2))
    write_series((1, 0.0004, 0, -0.0004, 1, 0), numbers=(3, 4), PixelSpacing=[6.5001, 7.5])
    check_series(segment(folder), folder)


def test_a_single_slice_of_a_series_is_a_segmentation_of_one_frame(segment, write_series):
    folder = write_series(numbers=(2,))
    check_series(segment(folder / "6.dcm"), folder)


def test_frames_lie_on_those_of_an_enhanced_image_in_any_order(segment, write_image, frames, groups):
    order = [(3, AXIAL), (0, AXIAL), (2, AXIAL), (1, AXIAL)]
    placed = [((5.0, -6.0, 7.0 * height), orientation) for height, orientation in order]
    path = write_image("enhanced.dcm", frames(4), ENHANCED_MR, **groups(placed))
    result = segment(path)
    uid = pydicom.dcmread(path).SOPInstanceUID
    masks = result.get_pixels_by_source_frame(uid, [1, 2, 3, 4], segment_numbers=[1])[..., 0]
    np.testing.assert_array_equal(masks, stored(path))
    for number, (position, orientation) in enumerate(placed, start=1):
        assert [list(each) for each in places(result)[uid, number][:2]] == [list(position), list(orientation)]
    assert [each.ReferencedSOPInstanceUID for each in result.SourceImageSequence] == [uid]


@pytest.mark.filterwarnings("ignore:.*left out")
def test_frames_of_an_enhanced_image_that_lie_in_another_plane_are_not_referred_to(
    segment, write_image, frames, groups
):
    placed = [((0, 0, 7 * height), AXIAL) for height in range(3)] + [((0, 0, 0), SAGITTAL), ((7, 0, 0), SAGITTAL)]
    path = write_image("enhanced.dcm", frames(5), ENHANCED_MR, **groups(placed))
    result = segment(path, choices={"stack": 2})
    uid = pydicom.dcmread(path).SOPInstanceUID
    assert places(result).keys() == {(uid, 4), (uid, 5)}
    masks = result.get_pixels_by_source_frame(uid, [4, 5], segment_numbers=[1])[..., 0]
    np.testing.assert_array_equal(masks, stored(path)[3:])


@pytest.mark.parametrize("frame", [None, 3])
def test_a_colour_clip_without_places_is_referred_to_frame_by_frame(segment, write_image, frames, frame):
    grey = np.where(frames(4) > 1000, 250, 10).astype(np.uint8)
    path = write_image("clip.dcm", np.repeat(grey[..., None], 3, -1), ULTRASOUND_CLIP, FrameOfReferenceUID=None)
    with pytest.warns(match="no place in the patient is written"):
        result = segment(path, choices={"frame": frame})
    uid, numbers = pydicom.dcmread(path).SOPInstanceUID, [1, 2, 3, 4] if frame is None else [frame]
    masks = result.get_pixels_by_source_frame(uid, numbers, segment_numbers=[1])[..., 0]
    np.testing.assert_array_equal(masks, stored(path)[[number - 1 for number in numbers]])
    assert "FrameOfReferenceUID" not in result
    assert not any("PlanePositionSequence" in item for item in result.PerFrameFunctionalGroupsSequence)


@pytest.mark.parametrize("sop_class", [RADIOGRAPH, PHOTOGRAPH])
@pytest.mark.filterwarnings("ignore:.*no place in the patient")
def test_pictures_without_a_place_are_referred_to(segment, write_image, frames, sop_class):
    grey = np.where(frames(1)[0] > 1000, 250, 10).astype(np.uint8)
    colour = sop_class == PHOTOGRAPH
    pixels = np.repeat(grey[..., None], 3, -1) if colour else grey
    path = write_image("picture.dcm", pixels, sop_class, FrameOfReferenceUID=None, Modality="XC" if colour else "DX")
    result = segment(path)
    masks = result.get_pixels_by_source_instance([pydicom.dcmread(path).SOPInstanceUID], segment_numbers=[1])
    np.testing.assert_array_equal(masks[0, ..., 0], stored(path))


def test_probabilities_are_stored_in_steps_of_a_255th(segment, write_series):
    folder = write_series()
    result = segment(folder, "liver", "nothing", fractional=True)
    assert result.SegmentationType == "FRACTIONAL"
    files = {pydicom.dcmread(path).SOPInstanceUID: path for path in folder.iterdir()}
    values = result.get_pixels_by_source_instance(list(files), segment_numbers=[1, 2])
    for value, path in zip(values, files.values(), strict=True):
        assert (value[..., 0][stored(path)] > 0.9).all()
        assert (value[..., 0][~stored(path)] < 0.01).all()
    assert values[..., 1].max() < 0.01


def test_overlapping_phrases_share_a_label_map_out(segment, write_series):
    folder = write_series()
    result = segment(folder, "liver", "spleen", "nothing", rules=MaskRules(labels=True))
    assert result.SegmentationType == "LABELMAP"
    assert [each.SegmentLabel for each in result.SegmentSequence][-3:] == ["liver", "spleen", "nothing"]
    files = {pydicom.dcmread(path).SOPInstanceUID: path for path in folder.iterdir()}
    values = result.get_pixels_by_source_instance(list(files), combine_segments=True)
    for value, path in zip(values, files.values(), strict=True):
        np.testing.assert_array_equal(value > 0, stored(path))
        assert value.max() == 1  # both are as probable, and the first one has the pixel


@pytest.mark.parametrize(("keyword", "told"), [("PatientID", "PatientID"), ("StudyInstanceUID", "StudyInstanceUID")])
def test_a_series_of_several_patients_or_studies_is_refused(segment, write_series, keyword, told):
    folder = write_series()
    write_series(numbers=(2,), **{keyword: "1.2.99"})
    with pytest.raises(ImageError, match=f"differ in their {told}") as refused:
        segment(folder)
    assert "secret" not in str(refused.value)


@pytest.mark.filterwarnings("ignore:.*no place in the patient")
@pytest.mark.parametrize("other", [None, "1.2.99"])
def test_positions_without_a_common_frame_of_reference_place_nothing(segment, write_series, other):
    folder = write_series()
    write_series(numbers=(2,), FrameOfReferenceUID=other)
    result = segment(folder)
    assert "FrameOfReferenceUID" not in result
    files = {pydicom.dcmread(path).SOPInstanceUID: path for path in folder.iterdir()}
    masks = result.get_pixels_by_source_instance(list(files), segment_numbers=[1])[..., 0]
    np.testing.assert_array_equal(masks, [stored(path) for path in files.values()])


def test_files_that_nothing_tells_apart_are_refused(segment, write_series):
    folder = write_series(SOPInstanceUID="1.2.3")
    with pytest.raises(ImageError, match="have one SOPInstanceUID"):
        segment(folder)


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")  # of the test's own file
@pytest.mark.parametrize("state", ["is missing", "is no valid UID"])
def test_an_image_that_nothing_can_refer_to_is_refused(segment, write_series, state):
    folder = write_series(numbers=(0,), StudyInstanceUID=None if state == "is missing" else "1.2..3")
    with pytest.raises(ImageError, match=f"its StudyInstanceUID {state}"):
        segment(folder)


@pytest.mark.slow
def test_phrases_that_overlap_and_phrases_that_do_not_are_stored_alike(segment, write_series):
    folder = write_series()
    alone = segment(folder, "liver")
    (folder.parent / "result.dcm").unlink()
    both = segment(folder, "liver", "spleen")
    assert (alone.SegmentsOverlap, both.SegmentsOverlap) == ("NO", "YES")
    uids = [each.ReferencedSOPInstanceUID for each in both.SourceImageSequence]
    masks = both.get_pixels_by_source_instance(uids, segment_numbers=[1, 2])
    for number in range(2):
        expected = alone.get_pixels_by_source_instance(uids, segment_numbers=[1])[..., 0]
        np.testing.assert_array_equal(masks[..., number], expected)
