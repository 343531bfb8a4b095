from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vesalius.errors import ImageError, ModelError, OutputError, PromptError
from vesalius.imaging import MedicalImage, overlay, read_image, read_mask, write_rgb
from vesalius.imaging.orientation import to_display_order
from vesalius.knowledge import Knowledge, LearntTarget, Understanding
from vesalius.models.inference import PROMPTS_AT_ONCE
from vesalius.predict import Predictor, segment, segment_volume
from vesalius.runtime.contract import Outlines
from vesalius.segmentation import BAND_PIXELS, Segmentation, gate_by_runs, run_length, series_existence

RGB = np.random.default_rng(0).random((37, 53, 3)).astype(np.float32)


@pytest.fixture
def model(build_tiny):
    return build_tiny("pocket")


def test_a_prediction_is_the_model_s_own_at_the_picture_s_size(model):
    found = segment(model, RGB, "polyp")
    with torch.inference_mode():
        logits = model(torch.from_numpy(RGB.transpose(2, 0, 1))[None], ["polyp"])
    assert found.probability.shape == RGB.shape[:2]
    np.testing.assert_allclose(found.probability, torch.sigmoid(logits)[0, 0], atol=1e-6)
    np.testing.assert_array_equal(found.mask, found.probability > 0.5)
    assert 0 < found.existence < 1


def test_many_prompts_at_once_equal_one_after_the_other(model):
    prompts = [f"polyp number {number}" for number in range(PROMPTS_AT_ONCE + 3)]
    together = Predictor(model).set_image(RGB).predict(prompts)
    assert [answer.prompt for answer in together] == prompts
    for answer in together[:: PROMPTS_AT_ONCE // 2]:
        alone = segment(model, RGB, answer.prompt)
        np.testing.assert_allclose(answer.probability, alone.probability, atol=1e-5)


def test_a_file_bytes_and_real_numbers_give_the_same_mask(model, tmp_path):
    levels = (RGB * 255).round().astype(np.uint8)
    write_rgb(tmp_path / "picture.png", levels)
    answers = [segment(model, image, "polyp") for image in (tmp_path / "picture.png", levels, levels / 255.0)]
    for answer in answers[1:]:
        np.testing.assert_allclose(answer.probability, answers[0].probability, atol=1e-6)


def test_every_slice_of_a_stack_is_answered(model):
    volume = MedicalImage((RGB[None] * [[[[1.0]]], [[[0.5]]]] * 255).astype(np.uint8), source="memory")
    answers = list(Predictor(model).predict_slices(volume.slices(), ["brain", "lungs"]))
    assert [[answer.prompt for answer in each] for each in answers] == [["brain", "lungs"]] * 2
    assert not np.array_equal(answers[0][0].probability, answers[1][0].probability)


def test_a_model_without_an_existence_score_says_none(build_tiny):
    assert segment(build_tiny("unet_d"), RGB, "polyp").existence is None


@pytest.mark.parametrize("prompt", ["", "   "])
def test_an_empty_prompt_is_refused(model, prompt):
    with pytest.raises(PromptError, match="A prompt is needed"):
        segment(model, RGB, prompt)


def test_a_volume_where_a_picture_is_needed_is_refused(model):
    volume = MedicalImage(np.zeros((3, 8, 8), np.uint8), source="memory")
    with pytest.raises(ImageError, match="has 3 slices; use segment_volume"):
        Predictor(model).set_image(volume)


def test_one_phrase_gets_one_answer_and_a_list_gets_a_list(model):
    one, many = segment(model, RGB, "polyp"), segment(model, RGB, ["polyp", "lungs"])
    assert (one.prompt, [each.prompt for each in many]) == ("polyp", ["polyp", "lungs"])
    predictor = Predictor(model).set_image(RGB)
    assert (predictor.predict("polyp").prompt, len(predictor.predict(["polyp"]))) == ("polyp", 1)
    volume = MedicalImage(np.zeros((2, 8, 8), np.uint8), source=Path("memory"))
    assert [[each.prompt for each in found] for found in predictor.predict_slices(volume.slices(), "lungs")] == [
        ["lungs"]
    ] * 2


@pytest.mark.parametrize("several", [tuple, iter, lambda phrases: map(str.strip, phrases)])
def test_phrases_may_come_from_anything_that_gives_them(bright, several):
    volume = MedicalImage(np.zeros((2, 8, 8), np.uint8), source=Path("memory"))
    for ask in (
        lambda phrases: segment(bright, RGB, phrases),
        lambda phrases: segment_volume(bright, volume, phrases),
        Predictor(bright).set_image(RGB).predict,
    ):
        assert [each.prompt for each in ask(several(["polyp", "lungs"]))] == ["polyp", "lungs"]


def test_python_may_ask_a_phrase_twice(bright):
    assert len(segment(bright, RGB, ["polyp", "Polyp"])) == 2


@pytest.mark.parametrize(
    ("prompts", "told"),
    [
        ([], "A prompt is needed"),
        (None, r"Expected a prompt as text, or several, got None \(NoneType\)"),
        ([5], r"got 5 \(int\)"),
        (b"polyp", r"got b'polyp' \(bytes\)"),
        ("poly\ud800p", r"'poly\\ud800p': the prompt is not valid text \(UTF-8\)"),
    ],
)
def test_what_is_no_phrase_is_refused(bright, prompts, told):
    predictor = Predictor(bright).set_image(RGB)
    volume = MedicalImage(np.zeros((2, 8, 8), np.uint8), source=Path("memory"))
    for ask in (
        lambda: segment("no such model", RGB, prompts),  # before the model is opened
        lambda: segment_volume("no such model", volume, prompts),
        lambda: predictor.predict(prompts),
    ):
        with pytest.raises(PromptError, match=told):
            ask()


def test_what_was_set_is_answered_whatever_was_asked_since(bright):
    predictor, volume = Predictor(bright), MedicalImage(np.full((3, 8, 8), 255, np.uint8), source=Path("memory"))
    for ask in (
        lambda: predictor.predict_volume(volume, "polyp"),
        lambda: list(predictor.predict_slices(volume.slices(), "polyp")),
        lambda: predictor.understand(volume.slices(), "polyp"),
    ):
        ask()
        with pytest.raises(ImageError, match="No image is set"):
            predictor.predict("polyp")
    wanted = predictor.set_image(RGB).predict("polyp").mask
    predictor.predict_volume(volume, "polyp")
    np.testing.assert_array_equal(predictor.predict("polyp").mask, wanted)
    assert repr(predictor).endswith("37×53)")


@pytest.mark.parametrize("broken", ["logits", "existence"])
def test_an_answer_that_is_not_a_number_is_no_success(bright, monkeypatch, broken):
    def decode(image: object, text: object) -> Outlines:
        numbers = {"logits": np.zeros((1, 8, 8), np.float32), "existence": np.zeros(1)}
        return Outlines(**{**numbers, broken: numbers[broken] + np.nan})

    monkeypatch.setattr(bright, "decode", decode, raising=False)
    with pytest.raises(ModelError, match="BrightRuntime: the model's answer is not a number; its weights are damaged"):
        segment(bright, RGB, "polyp")


def test_a_window_changes_what_is_shown(model):
    image = MedicalImage(RGB[None, ..., 0] * 1000, source=Path("memory"), modality="CT")
    found = [segment(model, image, "polyp", window=window).logits for window in ("lung", (500, 100))]
    assert not np.array_equal(*found)


class TestAnswersOfOnePicture:
    def test_an_overlay_shows_the_mask_on_the_picture(self, bright):
        found = segment(bright, RGB, "polyp")
        assert 0.1 < found.mask.mean() < 0.9
        np.testing.assert_array_equal(found.overlay(), overlay(RGB, found.mask))

    def test_an_answer_that_knows_no_picture_says_so(self):
        with pytest.raises(ImageError, match="does not know its picture"):
            Segmentation("polyp", np.zeros((2, 2), np.float32), (4, 4), 0.5).overlay()

    def test_mask_and_overlay_are_saved_and_nothing_is_replaced_unasked(self, bright, tmp_path):
        found, paths = segment(bright, RGB, "polyp"), (tmp_path / "new/mask.png", tmp_path / "overlay.png")
        found.save(*paths)
        np.testing.assert_array_equal(read_mask(paths[0]), found.mask)
        assert read_image(paths[1]).pixels.shape == (1, *RGB.shape)
        paths[0].unlink()
        with pytest.raises(OutputError, match=r"overlay\.png: there already; .* replace with overwrite=True"):
            found.save(*paths)
        assert not paths[0].exists()
        found.save(*map(str, paths), overwrite=True)
        assert paths[0].exists()

    def test_where_one_cannot_be_written_neither_is(self, bright, tmp_path):
        (tmp_path / "b").mkdir()
        with pytest.raises(OutputError, match=r"m\.png: is named for the mask and for the overlay"):
            segment(bright, RGB, "polyp").save(tmp_path / "m.png", str(tmp_path / "b" / ".." / "m.png"))
        with pytest.raises(ImageError, match=r"m\.xyz: cannot write '\.xyz'"):
            segment(bright, RGB, "polyp").save(tmp_path / "m.png", tmp_path / "m.xyz")
        assert not (tmp_path / "m.png").exists()

    def test_a_blurring_format_is_refused(self, bright, tmp_path):
        with pytest.raises(ImageError, match="lossless"):
            segment(bright, RGB, "polyp").save(tmp_path / "mask.jpg")

    @pytest.mark.parametrize("turn", [np.eye(3), np.diag([-1, 1, 1]), np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]])])
    def test_a_mask_is_saved_in_the_rows_and_columns_of_the_file(self, tmp_path, turn):
        source = np.eye(4)  # index (column, row, slice) to millimetres
        source[:3, :3] = turn @ np.diag([-2, -2, 4])
        stored = np.random.default_rng(0).random((8, 6, 1)) > 0.5
        shown, affine = to_display_order(stored, source, "axial")
        image = MedicalImage(shown.astype(np.float32), Path("a.dcm"), affine, plane="axial", source_affine=source)
        logits = np.where(shown[0], 9, -9).astype(np.float32)
        Segmentation("polyp", logits, logits.shape, 0.5, slices=image.slices()).save(tmp_path / "mask.png")
        np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), stored[..., 0].T)

    def test_they_are_told_in_a_line_without_arrays(self):
        found = Segmentation("a\x1b[31m", np.zeros((2, 2), np.float32), (40, 50), 0.987)
        assert repr(found) == "Segmentation('a\\x1b[31m', 40×50, existence 0.99)"
        unknown = replace(found, existence=None, understanding=Understanding("a", None, known=False))
        assert repr(unknown) == "Segmentation('a\\x1b[31m', 40×50, not learnt)"

    def test_a_notebook_shows_the_overlay_and_escapes_the_phrase(self, bright):
        found = segment(bright, RGB, "<script>")
        with Image.open(BytesIO(found._repr_png_())) as picture:
            assert picture.size == RGB.shape[1::-1]
        assert "&lt;script&gt;" in found._repr_html_()
        assert "<script>" not in found._repr_html_()
        assert "<img" not in Segmentation("x", np.zeros((2, 2), np.float32), (4, 4), 0.5)._repr_html_()

    def test_a_predictor_is_told_in_a_line(self, model):
        assert repr(Predictor(model)) == "Predictor('PocketSegmenter', torch on cpu, no image)"
        assert repr(Predictor(model).set_image(RGB)).endswith("on cpu, 37×53)")


def test_asking_before_setting_an_image_is_refused(model):
    with pytest.raises(ImageError, match="set_image"):
        Predictor(model).predict("polyp")


def answers_of(existence: list[float | None], *, inside: float = 3.0) -> list[list[Segmentation]]:
    """One answer a slice, of a single pixel that is inside by log-odds ``inside`` if the thing is there."""
    found = []
    for each in existence:
        joint = (1.0 if each is None else each) / (1 + np.exp(-inside))
        logits = np.full((1, 1), np.log(joint / (1 - joint)), np.float32)
        found.append([Segmentation("brain", logits, (1, 1), each)])
    return found


def gated(existence: list[float | None], run: int = 3) -> list[Segmentation]:
    return [each for (each,) in gate_by_runs(answers_of(existence), run)]


class TestSlicesDecideTogether:
    def test_one_false_alarm_makes_nothing_there(self):
        found = gated([0.02] * 56 + [0.999] + [0.02] * 55)
        assert len(found) == 112
        assert max(each.run_existence for each in found) == pytest.approx(0.02)
        assert not any(each.mask.any() for each in found)
        assert found[56].existence == 0.999

    def test_a_false_alarm_on_the_last_slice_makes_nothing_there(self):
        assert not any(each.mask.any() for each in gated([0.02] * 9 + [0.999]))

    def test_one_slice_on_which_it_is_overlooked_leaves_no_hole(self):
        found = gated([0.02] * 4 + [0.97] * 4 + [0.1] + [0.97] * 3 + [0.02] * 4)
        assert [bool(each.mask.any()) for each in found] == [False] * 4 + [True] * 8 + [False] * 4
        assert max(each.run_existence for each in found) == pytest.approx(0.97)

    @pytest.mark.parametrize("run", [1, 3, 4, 9])
    def test_existence_in_the_series_is_that_of_its_best_run(self, run):
        drawn = np.random.default_rng(run).random((9, 2))
        best = [max(each.gate for each in gated(list(column), run)) for column in drawn.T]
        np.testing.assert_allclose(series_existence(drawn, run), best)

    def test_the_mask_is_the_product_with_the_run_s_existence(self):
        for each in gated([0.9, 0.2, 0.6, 0.7], run=4):
            assert each.probability.item() == pytest.approx(each.run_existence / (1 + np.exp(-3)), abs=1e-5)

    def test_an_existence_that_rounds_to_nothing_or_all_stays_finite(self):
        for each in gated([1e-60, 1 - 1e-9, 1e-60, 1 - 1e-9, 1e-30]):
            assert np.isfinite(each.probability).all()
            assert np.isfinite(each.run_existence)

    def test_answers_come_half_a_run_late_and_no_later(self):
        asked = []

        def counted():
            for each in answers_of([0.5] * 9):
                asked.append(each)
                yield each

        late = []
        for place, _ in enumerate(gate_by_runs(counted(), 3)):
            late.append(len(asked) - place)
        assert late == [3, 2, 2, 2, 2, 2, 2, 2, 1]

    @pytest.mark.parametrize(("existence", "run"), [([0.7], 1), ([None] * 4, 3)])
    def test_a_single_slice_and_a_model_that_does_not_judge_stay_as_they_are(self, existence, run):
        for each, same in zip(gated(existence, run), answers_of(existence), strict=True):
            assert each.run_existence is None
            np.testing.assert_array_equal(each.logits, same[0].logits)

    @pytest.mark.parametrize(
        ("slices", "spacing", "run"),
        [(1, 5.0, 1), (2, 5.0, 2), (100, 5.0, 3), (300, 1.0, 7), (999, 0.2, 21), (87, None, 3)],
    )
    def test_a_run_is_about_six_millimetres(self, slices, spacing, run):
        assert run_length(slices, spacing) == run

    @pytest.mark.slow
    def test_a_stack_is_answered_in_order_with_the_run_s_existence(self, model):
        volume = MedicalImage(
            (RGB[None] * np.linspace(1, 0.1, 6)[:, None, None, None] * 255).astype(np.uint8), "memory"
        )
        together = list(Predictor(model).predict_slices(volume.slices(), ["brain"]))
        alone = [Predictor(model).set_image(each).predict("brain") for each in np.asarray(volume.pixels)]
        np.testing.assert_allclose(
            [each.existence for (each,) in together], [each.existence for each in alone], atol=1e-6
        )
        assert all(each.run_existence is not None for (each,) in together)


class TestLargePictures:
    SIZE = (2100, 2050)
    """Larger than one band, and large enough to be reduced before encoding."""

    @pytest.fixture
    def large(self):
        return np.kron(RGB, np.ones((57, 39, 1), np.float32))[: self.SIZE[0], : self.SIZE[1]]

    @pytest.mark.slow
    def test_they_are_answered_at_their_own_size_as_if_never_reduced(self, model, large):
        assert large.shape[0] * large.shape[1] > BAND_PIXELS
        found = segment(model, large, "polyp")
        with torch.inference_mode():
            logits = model(torch.from_numpy(large.transpose(2, 0, 1))[None], ["polyp"])
        assert found.mask.shape == self.SIZE
        np.testing.assert_allclose(found.probability, torch.sigmoid(logits)[0, 0], atol=0.02)
        np.testing.assert_array_equal(found.mask, found.probability > 0.5)

    @pytest.mark.slow
    def test_bands_fit_together_without_a_seam(self):
        logits = np.random.default_rng(0).normal(size=(64, 48)).astype(np.float32)
        found = Segmentation("polyp", logits, self.SIZE, None).probability
        whole = torch.nn.functional.interpolate(torch.from_numpy(logits)[None, None], self.SIZE, mode="bilinear")
        np.testing.assert_allclose(found, torch.sigmoid(whole)[0, 0], atol=1e-5)


def test_slices_are_not_encoded_where_nothing_is_asked(bright, monkeypatch):
    predictor = Predictor(bright)
    predictor.knowledge = Knowledge([LearntTarget("liver", ("ct",), 10)])
    slices = MedicalImage(np.ones((3, 8, 10), np.uint8), Path("series"), modality="CT").slices()
    asked = list(predictor.predict_slices(slices, ["liver", "fracture"]))
    monkeypatch.setattr(bright, "encode_image", None, raising=False)
    found = list(predictor.predict_slices(slices, ["fracture"]))
    assert [(each.known, each.existence, each.index, each.mask.shape) for (each,) in found] == [
        (False, None, place, (8, 10)) for place in range(3)
    ]
    assert not any(each.mask.any() for (each,) in found)
    assert [each.understanding for (each,) in found] == [each.understanding for _, each in asked]
