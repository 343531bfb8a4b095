import numpy as np
import pytest
import torch
from PIL import Image

from vesalius.models.encoder import EncoderSpec, ImageFeatures, TextFeatures, joint_logits, resize


class TestJointLogits:
    def test_they_are_the_product_of_both_probabilities(self):
        mask, gate = np.meshgrid(np.linspace(-12, 12, 25), np.linspace(-12, 12, 25))
        product = 1 / (1 + np.exp(-mask)) / (1 + np.exp(-gate))
        expected = np.log(product) - np.log1p(-product)
        ours = joint_logits(torch.tensor(mask).float()[:, None, None], torch.tensor(gate[:, 0]).float())
        np.testing.assert_allclose(ours[:, 0, 0].numpy(), expected, rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("mask", [-1e4, 0.0, 1e4])
    @pytest.mark.parametrize("gate", [-1e4, 0.0, 1e4])
    def test_extremes_do_not_overflow(self, mask, gate):
        value = joint_logits(torch.full((1, 1, 1, 1), mask), torch.tensor([gate]))
        # Far out, the joint logit is the smaller of the two, or their sum where both are negative.
        expected = mask + gate if max(mask, gate) < 0 else min(mask, gate)
        assert value.isfinite()
        assert value.item() == pytest.approx(expected, abs=1.2)

    def test_gradients_at_extremes_are_finite(self):
        mask = torch.tensor([-1e4, 1e4]).reshape(2, 1, 1, 1).requires_grad_()
        gate = torch.tensor([-1e4, 1e4]).requires_grad_()
        joint_logits(mask, gate).sum().backward()
        assert mask.grad.isfinite().all()
        assert gate.grad.isfinite().all()

    def test_a_pixel_is_never_likelier_than_the_object(self):
        torch.manual_seed(0)
        mask, gate = 5 * torch.randn(4, 1, 8, 8), 5 * torch.randn(4)
        joint = joint_logits(mask, gate)
        assert (joint < torch.minimum(mask, gate[:, None, None, None]) + 1e-5).all()


class TestEncoderSpec:
    def test_pixels_are_normalised_per_channel(self):
        spec = EncoderSpec(8, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.1))
        pixels = spec.prepare(torch.full((2, 3, 5, 9), 0.7))
        assert pixels.shape == (2, 3, 8, 8)
        expected = torch.tensor([1.2, 2.0, 4.0])[None, :, None, None].expand(2, 3, 8, 8)
        torch.testing.assert_close(pixels, expected)

    def test_an_image_of_the_working_size_is_not_resampled(self):
        image = torch.rand(1, 3, 8, 8)
        spec = EncoderSpec(8, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
        assert torch.equal(spec.prepare(image), image)


def test_shrinking_averages_and_does_not_skip():
    stripes = torch.tensor([1.0, 0, 0, 0, 0, 0, 0, 0]).repeat(8).expand(1, 1, 64, 64)
    inner = resize(stripes, (8, 8))[..., 1:-1]
    torch.testing.assert_close(inner, torch.full_like(inner, 1 / 8))


@pytest.mark.parametrize("size", [(20, 13), (90, 110), (52, 100)])
def test_resizing_equals_pillows_but_for_its_rounding(size):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80), dtype=np.uint8)
    pillow = np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR))
    ours = resize(torch.from_numpy(pixels)[None, None].float(), size)[0, 0]
    # Pillow rounds after the columns and once more after the rows.
    assert np.abs(ours.numpy() - pillow).max() <= 1.01


def test_resizing_to_the_same_size_is_the_identity():
    image = torch.rand(1, 2, 5, 7)
    assert resize(image, (5, 7)) is image


def test_features_are_taken_by_index_with_repeats():
    image = ImageFeatures(torch.arange(3.0)[:, None], (torch.arange(6.0).reshape(3, 2), torch.arange(3.0)))
    taken = image.index_select(torch.tensor([2, 0, 2]))
    assert taken.embedding.tolist() == [[2], [0], [2]]
    assert [tap.tolist() for tap in taken.taps] == [[[4, 5], [0, 1], [4, 5]], [2, 0, 2]]
    assert TextFeatures(torch.arange(3.0)[:, None]).index_select(torch.tensor([1, 1])).embedding.tolist() == [[1], [1]]


@pytest.fixture
def text() -> TextFeatures:
    part = TextFeatures(10 + torch.arange(3.0)[:, None])
    return TextFeatures(torch.arange(3.0)[:, None], torch.arange(6.0).reshape(3, 2, 1), torch.eye(3, 2), (part,))


def test_words_masks_and_parts_are_taken_with_their_prompts(text):
    taken = text.index_select(torch.tensor([2, 0]))
    assert taken.tokens.flatten().tolist() == [4, 5, 0, 1]
    assert taken.token_mask.tolist() == [[0, 0], [1, 0]]
    assert taken.parts[0].embedding.flatten().tolist() == [12, 10]


def test_parts_of_images_are_taken_with_them():
    part = ImageFeatures(torch.zeros(3, 0), (torch.arange(3.0),))
    taken = ImageFeatures(torch.zeros(3, 0), (), (part,)).index_select(torch.tensor([2, 2]))
    assert taken.parts[0].taps[0].tolist() == [2, 2]


def test_joining_single_prompts_gives_the_batch_again(text):
    joined = TextFeatures.join([text.index_select(torch.tensor([row])) for row in range(3)])
    assert torch.equal(joined.embedding, text.embedding)
    assert torch.equal(joined.tokens, text.tokens)
    assert torch.equal(joined.token_mask, text.token_mask)
    assert torch.equal(joined.parts[0].embedding, text.parts[0].embedding)
    assert joined.parts[0].tokens is None


def test_noise_has_the_length_asked_for_in_vectors_and_parts_and_leaves_words_alone():
    torch.manual_seed(0)
    text = TextFeatures(3 * torch.ones(50, 384), torch.ones(50, 2, 4), parts=(TextFeatures(torch.ones(50, 96)),))
    heard = text.add_noise(0.4)
    for before, after in ((text, heard), (text.parts[0], heard.parts[0])):
        lengths = (after.embedding - before.embedding).norm(dim=1) / before.embedding.norm(dim=1)
        assert lengths.mean().item() == pytest.approx(0.4, abs=0.01)
    assert torch.equal(heard.tokens, text.tokens)


def test_models_without_words_have_nothing_to_blur():
    assert TextFeatures(torch.zeros(2, 0)).add_noise(0.4).embedding.shape == (2, 0)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_halves_are_resized_as_whole_floats(kind):
    images = torch.rand(1, 2, 8, 8)
    found = resize(images.to(kind), (5, 5))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, resize(images, (5, 5)), rtol=0, atol=0.01)
