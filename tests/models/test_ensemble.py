import pytest
import torch
from torch import Tensor

from vesalius.models.clipseg import CLIPSegmenter
from vesalius.models.encoder import resize
from vesalius.models.fusion import EnsembleSegmenter
from vesalius.models.unet import UNet

PROMPTS = ["one small white polyp", "", "both lungs in a chest X-ray"]
LONG = "one small white polyp, located in top left of the image; " * 20


@pytest.fixture
def ensemble(build_tiny, settle) -> EnsembleSegmenter:
    return settle(build_tiny("ensemble_c"))


@pytest.fixture
def images() -> Tensor:
    return torch.rand(3, 3, 90, 70, generator=torch.Generator().manual_seed(1))


def given(ensemble: EnsembleSegmenter, images: Tensor, prompts: list[str], monkeypatch) -> list[list[Tensor]]:
    """Pixels, token ids and mask that each member's branch is given."""
    seen: list[list[Tensor]] = []
    for member in ensemble.members:
        rows: list[Tensor] = []
        seen.append(rows)
        pixels, tokens = member.encode_pixels, member.encode_tokens
        monkeypatch.setattr(member, "encode_pixels", lambda x, rows=rows, to=pixels: rows.append(x) or to(x))
        monkeypatch.setattr(member, "encode_tokens", lambda i, m, rows=rows, to=tokens: rows.extend([i, m]) or to(i, m))
    with torch.no_grad():
        ensemble(images, prompts)
    return seen


def test_every_member_gets_its_own_size_normalisation_and_tokens(ensemble, images, monkeypatch):
    # Defect 2: the released code feeds PubMedBERT's ids to CLIP's text tower.
    for member, (pixels, ids, mask) in zip(
        ensemble.members, given(ensemble, images, PROMPTS, monkeypatch), strict=True
    ):
        torch.testing.assert_close(pixels, member.spec.prepare(images))
        tokens = member.tokenizer(PROMPTS)
        length = tokens.input_ids.shape[1]
        assert torch.equal(ids[:, :length], tokens.input_ids)
        assert torch.equal(mask[:, :length], tokens.attention_mask)
        assert not mask[:, length:].any()


def test_members_differ_in_all_of_these(ensemble):
    a, b = ensemble.members
    assert a.spec.image_size != b.spec.image_size
    assert a.spec.mean != b.spec.mean
    assert a.tokenizer(["polyp"]).input_ids.tolist() != b.tokenizer(["polyp"]).input_ids[:, :4].tolist()


@torch.no_grad()
def test_it_is_its_members_answers_merged(ensemble, images):
    side = ensemble.spec.image_size
    assert side == max(member.spec.image_size for member in ensemble.members)
    answers = []
    for member in ensemble.members:
        prediction = member.decode(member.encode_image(images), member.encode_text(PROMPTS))
        answers.append(resize(prediction.logits, (side, side)))
    expected = resize((answers[0] + answers[1]) / 2, (90, 70))  # the merge starts as the mean
    torch.testing.assert_close(ensemble(images, PROMPTS), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_prompts_longer_than_clip_reads_are_cut_for_clip_alone(ensemble, images, monkeypatch):
    # Defect 2: the released ensemble fails at the benchmark's 256 tokens.
    (_, a_ids, a_mask), (_, b_ids, b_mask) = given(ensemble, images[:1], [LONG], monkeypatch)
    assert a_ids.shape == b_ids.shape == (1, 256)
    assert (a_mask.sum(), b_mask.sum()) == (256, 77)
    assert ensemble(images[:1], [LONG]).isfinite().all()
    assert (ensemble(images[:1], [LONG]) - ensemble(images[:1], ["polyp"])).abs().max() > 1e-4


def test_there_is_one_class_of_unet_and_each_member_has_its_own(ensemble):
    unets = [module for module in ensemble.modules() if isinstance(module, UNet)]
    assert len(unets) == 2
    assert {type(unet) for unet in unets} == {UNet}
    assert not {id(p) for p in unets[0].parameters()} & {id(p) for p in unets[1].parameters()}


def test_each_merge_is_its_own(ensemble):
    # Defect 9: one convolution of the released code merges in two places.
    names = [name for name, _ in ensemble.named_parameters() if "merge" in name and name.endswith("weight")]
    expected = {"merge.weight"} | {f"members.{m}.merge_{with_}.weight" for m in (0, 1) for with_ in ("unet", "branch")}
    assert set(names) == expected


def test_freezing_it_freezes_the_encoders_of_all_members(ensemble):
    ensemble.freeze("image", "text")
    branches = [module for module in ensemble.modules() if isinstance(module, CLIPSegmenter)]
    assert len(branches) == 2
    for branch in branches:
        assert not any(p.requires_grad for module in (branch.vision, branch.text) for p in module.parameters())
        assert all(p.requires_grad for p in branch.decoder.parameters())


@torch.no_grad()
def test_any_segmenters_make_an_ensemble(build_tiny, settle, images):
    ensemble = settle(EnsembleSegmenter([build_tiny("unet_d"), build_tiny("clipseg"), build_tiny("cris")]))
    assert ensemble.merge.weight.flatten().tolist() == pytest.approx([1 / 3] * 3)
    logits = ensemble(images, PROMPTS)
    assert logits.shape == (3, 1, 90, 70)
    assert logits.isfinite().all()
