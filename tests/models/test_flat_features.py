import torch

from vesalius.models import ImageFeatures, TextFeatures
from vesalius.models.exported import flatten_image, flatten_text, restore_image, restore_text


def test_an_images_features_come_back_with_their_parts():
    inner = ImageFeatures(torch.rand(2, 4), (torch.rand(2, 5, 3),))
    features = ImageFeatures(torch.zeros(2, 0), tuple(torch.rand(2, 3, 1 + n) for n in range(11)), (inner, inner))
    restored = restore_image(flatten_image(features), 2)
    assert restored.embedding.shape == (2, 0)
    assert [tap.shape for tap in restored.taps] == [tap.shape for tap in features.taps]
    assert torch.equal(restored.parts[1].embedding, inner.embedding)
    assert torch.equal(restored.parts[1].taps[0], inner.taps[0])


def test_a_prompts_features_come_back_with_their_tokens():
    features = TextFeatures(torch.rand(2, 4), torch.rand(2, 3, 5), torch.ones(2, 3))
    names = flatten_text(features)
    assert list(names) == ["text_embedding", "text_tokens", "text_token_mask"]
    assert torch.equal(restore_text(names, 2).tokens, features.tokens)


def test_a_model_that_does_not_read_has_no_tensors_for_prompts():
    assert flatten_text(TextFeatures(torch.zeros(3, 0))) == {}
    assert restore_text({}, 3).embedding.shape == (3, 0)
