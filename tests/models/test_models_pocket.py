import pytest
import torch
import torch.nn.functional as F

from vesalius.models.layers import FiLM
from vesalius.models.pocket import Existence, ExistenceEvidence, PocketSegmenter

PROMPTS = ["polyp", "both lungs", ""]


@pytest.fixture
def model(build_tiny, settle) -> PocketSegmenter:
    return settle(build_tiny("pocket"))


@torch.no_grad()
def test_film_scales_and_shifts_each_channel():
    film, x, condition = FiLM(condition=3, channels=2), torch.rand(4, 2, 5, 6), torch.rand(4, 3)
    torch.nn.init.normal_(film.to_scale_shift.bias)
    scale, shift = film.to_scale_shift(condition).split(2, dim=1)
    for image in range(4):
        for channel in range(2):
            expected = x[image, channel] * (1 + scale[image, channel]) + shift[image, channel]
            torch.testing.assert_close(film(x, condition)[image, channel], expected)


@torch.no_grad()
def test_film_starts_close_to_the_identity():
    x = torch.rand(4, 16, 5, 6)
    assert (FiLM(condition=64, channels=16)(x, torch.randn(4, 64)) - x).abs().max() < 1


@torch.no_grad()
def test_no_pixel_is_likelier_than_the_object(model):
    prediction = model.predict(torch.rand(3, 3, 64, 64), PROMPTS)
    assert prediction.existence.shape == (3,)
    assert (prediction.logits.amax(dim=(1, 2, 3)) <= prediction.existence).all()


@torch.no_grad()
def test_an_absent_object_has_an_empty_mask(model):
    model.existence.judge[-1].bias.fill_(-20)
    assert (model(torch.rand(3, 3, 64, 64), PROMPTS) < -5).all()


@torch.no_grad()
def test_existence_depends_on_image_and_prompt(model):
    images = torch.rand(2, 3, 64, 64).repeat_interleave(2, 0)
    images[2:] *= 0.2
    existence = model.predict(images, ["polyp", "lungs"] * 2).existence
    assert len(existence.unique()) == 4


@torch.no_grad()
def test_sentences_of_one_meaning_are_one_vector_whatever_their_case(model):
    small, large = model.encode_text(["both lungs", "Both LUNGS"]).embedding
    assert torch.equal(small, large)


@torch.no_grad()
def test_masks_are_decoded_at_half_the_working_resolution(model):
    logits = model.decode(model.encode_image(torch.rand(1, 3, 100, 80)), model.encode_text(["polyp"])).logits
    assert logits.shape == (1, 1, 32, 32)


@torch.no_grad()
def test_the_finest_map_and_the_coarse_one_both_draw(model):
    features, text = model.encode_image(torch.rand(2, 3, 64, 64)), model.encode_text(["polyp", "lungs"])
    before, coarse, _ = model.outline_and_judge(features, text)
    assert coarse.shape == (2, 1, 8, 8)
    for place in (0, 2):  # the coarse map, the finest
        maps = list(features.taps)
        maps[place] = maps[place] + torch.randn_like(maps[place])
        after, *_ = model.outline_and_judge(type(features)(features.embedding, tuple(maps)), text)
        assert (after - before).abs().max() > 1e-4


def test_naming_does_not_teach_the_trunk(model):
    model.train()
    model.encode_image(torch.rand(2, 3, 64, 64)).embedding.sum().backward()
    assert all(each.grad is None for each in model.trunk.parameters())


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


@pytest.mark.slow
@pytest.mark.parametrize("where", ["deep", "middle", "scene", "outline"])
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
