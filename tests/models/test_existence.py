import pytest
import torch
import torch.nn.functional as F

from vesalius.models.existence import Existence

CHANNELS, SENTENCE = 6, 16


@pytest.fixture
def existence() -> Existence:
    torch.manual_seed(0)
    return Existence(CHANNELS, SENTENCE, width=8)


def pairs(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Maps of two kinds, sentences for two kinds, and whether they belong together."""
    shown, named = torch.randint(2, (2, count))
    maps, sentences = torch.randn(count, CHANNELS, 4, 5), torch.zeros(count, SENTENCE)
    maps[torch.arange(count), shown, 2, 3] += 8
    sentences[torch.arange(count), named] = 1
    return maps, sentences, (shown == named).float()


@torch.no_grad()
def test_each_pair_is_judged_by_itself_at_any_size_of_map(existence):
    maps, sentences, _ = pairs(5)
    together = existence(maps, sentences)
    assert together.shape == (5,)
    for place in range(5):
        torch.testing.assert_close(existence(maps[place, None], sentences[place, None])[0], together[place])
    assert existence(torch.randn(2, CHANNELS, 9, 3), sentences[:2]).shape == (2,)


def test_it_learns_which_words_belong_to_which_pictures(existence):
    optimizer = torch.optim.AdamW(existence.parameters(), lr=1e-2)
    for _ in range(300):
        maps, sentences, true = pairs(32)
        loss = F.binary_cross_entropy_with_logits(existence(maps, sentences), true)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    maps, sentences, true = pairs(200)
    assert ((existence(maps, sentences) > 0).float() == true).float().mean() > 0.95
