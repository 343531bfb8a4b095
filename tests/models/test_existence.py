import pytest
import torch
import torch.nn.functional as F

from vesalius.models.pocket import Existence, ExistenceEvidence

CHANNELS, SENTENCE, WIDTH = (3, 4, 6), 16, 8
SIZES = (16, 8, 4)


@pytest.fixture
def evidence() -> ExistenceEvidence:
    torch.manual_seed(0)
    return ExistenceEvidence(CHANNELS, WIDTH)


@pytest.fixture
def existence() -> Existence:
    torch.manual_seed(1)
    return Existence(SENTENCE, WIDTH)


def draw_maps(count: int) -> tuple[torch.Tensor, ...]:
    return tuple(torch.randn(count, width, size, size) for width, size in zip(CHANNELS, SIZES, strict=True))


def draw(count: int, where: str) -> tuple[tuple[torch.Tensor, ...], torch.Tensor, torch.Tensor, torch.Tensor]:
    """Maps, outlines and sentences of two kinds, and whether they fit: by a map, the scene or the outline."""
    shown, named = torch.randint(2, (2, count))
    maps, outline, each = draw_maps(count), torch.randn(count, 1, 8, 8), torch.arange(count)
    if where == "deep":
        maps[-1][each, shown, 2, 3] += 8
    elif where == "middle":
        maps[-2][each, shown, 2, 3] += 8
    elif where == "scene":
        maps[0][each, shown] += 3
    else:
        outline[shown == named] += 6
    sentences = torch.zeros(count, SENTENCE)
    sentences[each, named] = 1
    return maps, outline, sentences, (shown == named).float()


@torch.no_grad()
def test_each_pair_is_judged_by_itself_at_any_size_of_map(evidence, existence):
    evidence.eval()
    existence.eval()
    maps, outline, sentences, _ = draw(5, "deep")
    together = existence(*evidence(maps), outline, sentences)
    assert together.shape == (5,)
    for place in range(5):
        alone = existence(
            *evidence(tuple(each[place, None] for each in maps)), outline[place, None], sentences[place, None]
        )
        torch.testing.assert_close(alone[0], together[place])
    larger = tuple(F.interpolate(each, scale_factor=2) for each in maps)
    assert existence(*evidence(larger), F.interpolate(outline, scale_factor=2), sentences).shape == (5,)


@pytest.mark.parametrize(
    "where", ["deep", "outline", *(pytest.param(each, marks=pytest.mark.slow) for each in ("middle", "scene"))]
)
def test_it_learns_from_maps_scene_and_outline(evidence, existence, where):
    optimizer = torch.optim.AdamW([*evidence.parameters(), *existence.parameters()], lr=1e-2)
    for _ in range(100):
        maps, outline, sentences, true = draw(32, where)
        loss = F.binary_cross_entropy_with_logits(existence(*evidence(maps), outline, sentences), true)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    evidence.eval()
    existence.eval()
    maps, outline, sentences, true = draw(200, where)
    assert ((existence(*evidence(maps), outline, sentences) > 0).float() == true).float().mean() > 0.95


def test_the_score_teaches_neither_the_trunk_nor_the_outline(evidence, existence):
    maps = tuple(each.requires_grad_() for each in draw_maps(4))
    outline = torch.randn(4, 1, 8, 8, requires_grad=True)
    existence(*evidence(maps), outline, torch.randn(4, SENTENCE)).sum().backward()
    assert outline.grad is None
    assert all(each.grad is None for each in maps)
    assert all(each.grad is not None for each in (*evidence.parameters(), *existence.parameters()))
