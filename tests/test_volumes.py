from io import BytesIO
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from vesalius.errors import ImageError, ImageNotice, OutputError, PromptError
from vesalius.imaging import MedicalImage, read_image
from vesalius.imaging.mask_volumes import PackedMasks, volume_of
from vesalius.imaging.orientation import MaskGrid
from vesalius.predict import Predictor, segment_volume
from vesalius.results import Results
from vesalius.segmentation import Segmentation, smooth_across

AXES = {
    "LPS": np.diag([-2.0, -2.0, 3.0]),
    "SRA": np.array([[0, 2.0, 0], [0, 0, 2.0], [3.0, 0, 0]]),
    "oblique": np.array([[1.9, 0.3, 0], [-0.3, 1.9, 0], [0, 0, -3.0]]),
}


@pytest.fixture(params=AXES)
def path(request, tmp_path) -> Path:
    """A volume whose voxels run otherwise than the display's."""
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = AXES[request.param], (5, -7, 11)
    values = np.random.default_rng(0).random((5, 9, 6)).astype(np.float32)
    nib.save(nib.Nifti1Image(values, affine), tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


@pytest.mark.parametrize("plane", [None, "coronal"])
def test_mask_and_probability_lie_on_the_file_s_own_grid(bright, path, plane):
    stored = nib.load(path)
    found = segment_volume(bright, path, "brain", plane=plane)
    assert found.mask.shape == found.probability.shape == stored.shape
    np.testing.assert_allclose(found.affine, stored.affine, atol=1e-4)
    np.testing.assert_array_equal(found.mask, found.probability > 0.5)
    assert found.probability.dtype == np.float32
    slices = read_image(path).slices(plane)
    for index in (0, 2, len(slices) - 1):  # each voxel is asked where its millimetres lie
        answer = found.answers[index].probability
        place = np.linalg.inv(stored.affine) @ slices.affine @ (index, 2, 3, 1)
        i, j, k = np.rint(place[:3]).astype(int)
        assert found.probability[i, j, k] == answer[2, 3]


@pytest.mark.parametrize("plane", [None, "sagittal"])
def test_the_saved_mask_is_the_mask_and_that_of_the_command_line(bright, path, tmp_path, plane):
    found = segment_volume(bright, path, ["brain", "lungs"], plane=plane)
    assert all(0.1 < each.share < 0.9 for each in found)
    image = read_image(path)
    results = Results(tmp_path / "out", image, image.slices(plane), ["brain", "lungs"])
    for answers in Predictor(bright).predict_slices(image.slices(plane), ["brain", "lungs"]):
        results.add(answers)
    for own, written in zip(found, results.write(), strict=True):
        own.save(tmp_path / f"{own.prompt}.nii.gz")
        saved, stored = nib.load(tmp_path / f"{own.prompt}.nii.gz"), nib.load(path)
        np.testing.assert_allclose(saved.affine, stored.affine, atol=1e-4)
        np.testing.assert_array_equal(np.asarray(saved.dataobj), own.mask)
        np.testing.assert_array_equal(np.asarray(nib.load(written.mask).dataobj), own.mask)
        assert (own.existence, own.slice_existence) == (written.existence, written.slice_existence)
        assert (own.share, own.volume_ml) == (written.share, written.volume_ml)
        assert own.volume_ml == pytest.approx(own.mask.sum() * abs(np.linalg.det(stored.affine[:3, :3])) / 1000)


class TestVolume:
    """One voxel of 2 × 2 mm is marked on each slice."""

    def measure(self, heights: list[float], plane=None) -> float | None:
        affine = np.diag([2.0, 2.0, (heights[-1] - heights[0]) / max(1, len(heights) - 1) or 5.0, 1])[:, [2, 1, 0, 3]]
        steps = tuple((each - heights[0]) / affine[2, 0] for each in heights)
        uneven = steps if steps != tuple(range(len(heights))) else ()
        pixels = np.zeros((len(heights), 4, 6), np.uint8)
        slices = MedicalImage(pixels, Path("series"), affine=affine, plane="axial", slice_steps=uneven).slices(plane)
        masks = PackedMasks(slices.pixels.shape[1:3])
        for _ in range(len(slices)):
            masks.append(np.eye(*slices.pixels.shape[1:3], dtype=bool) & (np.arange(slices.pixels.shape[2]) == 0))
        return volume_of(slices, masks)

    def test_it_is_the_voxels_times_their_size(self):
        assert self.measure([0, 3, 6]) == pytest.approx(3 * 2 * 2 * 3 / 1000)

    def test_unevenly_spaced_slices_reach_halfway_to_their_neighbours(self):
        assert self.measure([0, 3, 9]) == pytest.approx(2 * 2 * (3 + 4.5 + 6) / 1000)

    def test_cut_across_these_there_is_none(self):
        assert self.measure([0, 3, 9], "coronal") is None
        assert self.measure([0, 3, 6], "coronal") == pytest.approx(4 * 2 * 2 * 3 / 1000)

    def test_a_single_slice_has_none(self):
        assert self.measure([0]) is None


def test_nothing_is_replaced_unasked_and_other_formats_are_refused(bright, path, tmp_path):
    found = segment_volume(bright, path, "brain")
    found.save(tmp_path / "a.nii.gz", tmp_path / "sheet.png")
    assert read_image(tmp_path / "sheet.png").is_colour
    with pytest.raises(OutputError, match=r"a\.nii\.gz: there already; .*overwrite=True"):
        found.save(tmp_path / "a.nii.gz")
    found.save(str(tmp_path / "a.nii.gz"), overwrite=True)
    with pytest.raises(ImageError, match=r"a\.png: masks of volumes are written as NIfTI"):
        found.save(tmp_path / "a.png")
    for sheet, why in (("b.xyz", "cannot write '.xyz'"), ("b.nii.gz", "is named for the mask and for the overlay")):
        with pytest.raises((ImageError, OutputError), match=why):
            found.save(tmp_path / "b.nii.gz", tmp_path / sheet)
    assert not (tmp_path / "b.nii.gz").exists()


def test_an_array_keeps_its_order_and_is_placed_nowhere(bright, tmp_path):
    values = np.random.default_rng(0).random((4, 12, 7))
    told = []
    found = Predictor(bright).predict_volume(values, ["brain"], on_slices=told.append)[0]
    assert found.mask.shape == values.shape
    assert (found.affine, found.volume_ml, told) == (None, None, [1] * 4)
    np.testing.assert_array_equal(found.mask[2], found.answers[2].mask)
    found.save(tmp_path / "a.nii")
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "a.nii").dataobj), found.mask.T)


def test_a_sheared_series_is_straightened_and_says_so(bright, tmp_path):
    affine = np.array([[0, 0, -1.0, 0], [1.0, -1.0, 0, 0], [2.0, 0, 0, 0], [0, 0, 0, 1]])
    image = MedicalImage(np.zeros((3, 8, 8), np.float32), Path("series"), affine, modality="CT", plane="axial")
    found = segment_volume(bright, image, "lungs")
    with pytest.warns(ImageNotice, match="mask moved to a straight grid"):
        found.save(tmp_path / "a.nii.gz")
    assert found.mask.shape == (3, 8, 8)


def test_too_much_to_hold_is_refused_with_the_way_out(bright, monkeypatch):
    monkeypatch.setenv("VESALIUS_MAX_MEGABYTES", "1")
    found = segment_volume(bright, np.zeros((2, 400, 400), np.uint8), "lungs")
    assert found.mask.shape == (2, 400, 400)
    with pytest.raises(ImageError, match="VESALIUS_MAX_MEGABYTES"):
        found.probability  # noqa: B018


@pytest.mark.parametrize("prompts", ["", [], ["brain", " "]])
def test_a_question_that_asks_nothing_is_refused(bright, prompts):
    with pytest.raises(PromptError, match="A prompt is needed"):
        segment_volume(bright, np.zeros((2, 4, 4), np.uint8), prompts)


@pytest.mark.slow
def test_a_phrase_that_was_not_learnt_is_told_and_marks_nothing():
    found = segment_volume("pocket", np.zeros((2, 8, 8), np.uint8), "a bicycle")
    assert (found.known, found.existence, found.mask.any()) == (False, None, False)
    assert repr(found) == "VolumeSegmentation('a bicycle', 'array', 2×8×8, not learnt)"


def test_a_notebook_shows_a_contact_sheet_and_escapes_the_phrase(bright):
    found = segment_volume(bright, np.zeros((30, 8, 10), np.uint8), "<b>")
    with Image.open(BytesIO(found._repr_png_())) as picture:
        assert picture.size == (4 * 10, 3 * 8)
    assert "“&lt;b&gt;”: existence 0." in found._repr_html_()
    assert "<b>" not in found._repr_html_()


def stack(logits: list[float], existence: float | None) -> list[list[Segmentation]]:
    return [[Segmentation("x", np.full((1, 1), each, np.float32), (1, 1), existence)] for each in logits]


class TestSmoothingAcrossSlices:
    def smooth(self, logits, spacing, existence=None) -> list[float]:
        return [each.logits.item() for (each,) in smooth_across(stack(logits, existence), spacing)]

    def test_it_is_a_gaussian_of_2_mm(self):
        found = np.array(self.smooth([0] * 14 + [1] + [0] * 14, 1.0))[6:-6]
        expected = np.exp(-(np.arange(-8, 9) ** 2) / 8)
        expected[[0, 1, -1, -2]] = 0
        np.testing.assert_allclose(found, expected / expected.sum(), atol=1e-6)

    def test_what_is_equal_stays_up_to_the_ends(self):
        np.testing.assert_allclose(self.smooth([0.7] * 5, 1.0), 0.7, atol=1e-6)

    @pytest.mark.parametrize("spacing", [None, 6.1, 16.0])
    def test_slices_far_apart_or_placed_nowhere_stay_as_they_are(self, spacing):
        assert self.smooth([0, 1, 0], spacing) == [0, 1, 0]

    def test_whether_it_is_there_stays_the_slice_s_own_word(self):
        answers = stack([-9, 9, -9], 0.8)
        for (before,), (after,) in zip(answers, smooth_across(answers, 3.0), strict=True):
            assert after.existence == before.existence
            assert after.probability.item() <= 0.8 + 1e-6

    def test_a_voxel_that_only_one_slice_misses_is_filled(self):
        assert min(self.smooth([3, 3, -1, 3, 3], 2.0)) > 0

    def test_the_thinnest_slices_need_no_more_than_21_at_a_time(self):
        asked = []

        def counted():
            for each in stack([0.0] * 60, 0.5):
                asked.append(each)
                yield each

        assert max(len(asked) - place for place, _ in enumerate(smooth_across(counted(), 0.01))) == 11


@pytest.mark.parametrize("tilt", [0.0, 1.5])
@pytest.mark.parametrize("source", [None, np.diag([1.0, -1, -5, 1])], ids=["own", "other"])
def test_a_volume_on_the_grid_of_masks_comes_back_as_displayed(source, tilt):
    shown = np.array([[0, 0, -1.0, 0], [tilt, -1, 0, 0], [5, 0, 0, 0], [0, 0, 0, 1]])
    if source is not None:
        source = source.copy()
        source[1, 2] = -tilt
    masks = PackedMasks((6, 7))
    for mask in np.random.default_rng(0).random((4, 6, 7)) > 0.5:
        masks.append(mask)
    grid = MaskGrid.of(masks.shape, shown, source, straighten=tilt > 0)
    planes = masks.planes(grid.order, grid.backwards)
    moved = planes if grid.straight is None else grid.straight.move(planes)
    volume = np.stack([plane.T for plane in moved], axis=2)
    assert volume.shape == grid.shape
    assert (grid.shape[1] > 6) == (tilt > 0)
    np.testing.assert_array_equal(grid.to_display(volume), np.stack(list(masks)))
