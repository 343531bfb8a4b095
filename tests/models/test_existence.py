import pytest
import torch
import torch.nn.functional as F

from vesalius.models.existence import Existence, Standardize

CHANNELS, SENTENCE = (3, 6), 16


@pytest.fixture
def existence() -> Existence:
    torch.manual_seed(0)
    return Existence(CHANNELS, SENTENCE, width=8)


def pairs(count: int, *, by_scene: bool = False) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pictures of two kinds, by a place in their map or by their means, sentences for both, and whether they fit."""
    shown, named = torch.randint(2, (2, count))
    maps, means = torch.randn(count, CHANNELS[-1], 4, 5), torch.randn(count, sum(CHANNELS))
    sentences, each = torch.zeros(count, SENTENCE), torch.arange(count)
    if by_scene:
        means[each, shown] += 8
    else:
        maps[each, shown, 2, 3] += 8
    sentences[each, named] = 1
    return maps, means, sentences, (shown == named).float()


@torch.no_grad()
def test_each_pair_is_judged_by_itself_at_any_size_of_map(existence):
    *asked, _ = pairs(5)
    together = existence(*asked)
    assert together.shape == (5,)
    for place in range(5):
        torch.testing.assert_close(existence(*(each[place, None] for each in asked))[0], together[place])
    assert existence(torch.randn(2, CHANNELS[-1], 9, 3), *(each[:2] for each in asked[1:])).shape == (2,)


@pytest.mark.parametrize("by_scene", [False, True])
def test_it_learns_which_words_belong_to_which_pictures(existence, by_scene):
    optimizer = torch.optim.AdamW(existence.parameters(), lr=1e-2)
    for _ in range(300):
        *asked, true = pairs(32, by_scene=by_scene)
        loss = F.binary_cross_entropy_with_logits(existence(*asked), true)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    *asked, true = pairs(200, by_scene=by_scene)
    assert ((existence(*asked) > 0).float() == true).float().mean() > 0.95


def test_statistics_are_those_of_all_parts_together():
    parts = [torch.randn(count, 4, 3, 2) * 5 + 7 for count in (3, 8)]
    norm = Standardize(4)
    torch.testing.assert_close(norm(parts[0]), parts[0])
    norm.learn(parts)
    values = norm(torch.cat(parts)).transpose(0, 1).flatten(1)
    torch.testing.assert_close(values.mean(dim=1), torch.zeros(4), rtol=0, atol=1e-5)
    torch.testing.assert_close(values.std(dim=1, correction=0), torch.ones(4))
    norm.learn([torch.ones(2, 4)])
    assert norm(torch.ones(2, 4)).isfinite().all()
