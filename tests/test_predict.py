import numpy as np
import pytest
import torch

from vesalius.errors import ImageError, PromptError
from vesalius.imaging import MedicalImage, write_rgb
from vesalius.models.asking import PROMPTS_AT_ONCE
from vesalius.predict import Predictor, segment

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
    with pytest.raises(ImageError, match="has 3 slices"):
        Predictor(model).set_image(volume)


def test_a_grey_array_is_refused(model):
    with pytest.raises(ImageError, match=r"Expected RGB \[H, W, 3\]"):
        segment(model, RGB[..., 0], "polyp")


def test_asking_before_setting_an_image_is_refused(model):
    with pytest.raises(ImageError, match="set_image"):
        Predictor(model).predict("polyp")
