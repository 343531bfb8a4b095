import pytest
import torch

from vesalius.models.tokenizers import ClipTokenizer, Tokens
from vesalius.models.towers import ClipTextConfig, ClipTextEncoder

PROMPTS = ["one small white polyp", "", "both lungs in a chest X-ray"]


@pytest.fixture
def text(roughen) -> ClipTextEncoder:
    return roughen(ClipTextEncoder(ClipTextConfig(width=64, layers=2, heads=2, embedding=48)))


@pytest.fixture
def tokens() -> Tokens:
    return ClipTokenizer()(PROMPTS)


@torch.no_grad()
def test_a_prompt_is_its_first_end_token_projected(text, tokens):
    at_end = text.encode_tokens(tokens.input_ids)[torch.arange(3), tokens.attention_mask.sum(dim=1) - 1]
    embedding = text(tokens.input_ids, tokens.attention_mask)
    assert embedding.shape == (3, 48)
    torch.testing.assert_close(embedding, text.projection(at_end))


@pytest.mark.parametrize("filler", [0, 49407])
@torch.no_grad()
def test_padding_changes_nothing_whatever_it_is_filled_with(text, tokens, filler):
    ids = torch.where(tokens.attention_mask == 1, tokens.input_ids, filler)
    singles = [
        text(row[None, : mask.sum()], mask[None, : mask.sum()])
        for row, mask in zip(ids, tokens.attention_mask, strict=True)
    ]
    torch.testing.assert_close(text(ids, tokens.attention_mask), torch.cat(singles), rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_word_changes_those_behind_it_and_none_before(text, tokens):
    ids, other = tokens.input_ids[:1], tokens.input_ids[:1].clone()
    other[0, 3] += 1
    before, after = text.encode_tokens(ids)[0], text.encode_tokens(other)[0]
    torch.testing.assert_close(after[:3], before[:3])
    assert ((after[3:] - before[3:]).abs().amax(dim=1) > 1e-4).all()


@torch.no_grad()
def test_the_order_of_words_matters(text):
    tokens = ClipTokenizer()(["a white polyp", "white a polyp"])
    first, second = text(tokens.input_ids, tokens.attention_mask)
    assert (first - second).abs().max() > 1e-3
