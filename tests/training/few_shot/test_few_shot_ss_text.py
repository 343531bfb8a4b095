import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vesalius.errors import ConfigError, DataError
from vesalius.training.few_shot import Support, ss_text

SCALE = 20.0


def unit(*shape: int, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def support_of(images: Tensor, present: Tensor) -> Support:
    return Support(images, present, torch.ones_like(present))


def clusters(shots: int, labels: int = 5, width: int = 32, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Noisy images around a centre for each label, and their labels."""
    which = torch.arange(labels).repeat(shots)
    noise = torch.randn(len(which), width, generator=torch.Generator().manual_seed(seed + 100))
    return F.normalize(unit(labels, width)[which] + 0.2 * noise, dim=-1), which


def accuracy(vectors: Tensor) -> float:
    images, which = clusters(shots=100, seed=1)
    return ((images @ vectors.T).argmax(1) == which).double().mean().item()


def adapted(shots: int, **options: bool) -> Tensor:
    images, which = clusters(shots)
    return ss_text(support_of(images, F.one_hot(which, 5).bool()), texts(), SCALE, **options)


def texts() -> Tensor:
    """Prompts that know something of the clusters' centres."""
    return F.normalize(unit(5, 32) + 1.5 * unit(5, 32, seed=7), dim=-1)


def test_the_closed_form_by_hand():
    images = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    present = torch.tensor([[True, False], [True, False], [False, True]])
    vectors = ss_text(support_of(images, present), torch.tensor([[0.0, 1.0], [1.0, 0.0]]), scale=3.0)
    first = torch.tensor([2 / 3 * 3 * 1.6, 2 / 3 * 3 * 0.8 + 1])
    second = torch.tensor([1.0, 1 / 3 * 3 * 1.0])
    torch.testing.assert_close(vectors, F.normalize(torch.stack([first, second]), dim=1))


def test_an_image_counts_for_every_organ_that_it_shows():
    images, present = torch.eye(3)[:2], torch.tensor([[True, True], [False, True]])
    vectors = ss_text(support_of(images, present), torch.tensor([[0.0, 0.0, 1.0]] * 2), scale=3.0)
    expected = torch.tensor([[1 / 3 * 3, 0, 1], [2 / 3 * 3, 2 / 3 * 3, 1]])
    torch.testing.assert_close(vectors, F.normalize(expected, dim=1))


@pytest.mark.parametrize("repel", [False, True])
def test_without_any_images_the_vectors_are_the_prompts(repel):
    nothing = torch.zeros(0, 4, dtype=torch.bool)
    vectors = ss_text(support_of(torch.zeros(0, 8), nothing), unit(4, 8), SCALE, repel=repel)
    torch.testing.assert_close(vectors, unit(4, 8))


@pytest.mark.parametrize("repel", [False, True])
def test_a_label_without_images_keeps_its_prompt(repel):
    present = torch.tensor([[True, False]]).repeat(6, 1)
    vectors = ss_text(support_of(unit(6, 8), present), unit(2, 8, seed=1), SCALE, repel=repel)
    torch.testing.assert_close(vectors[1], unit(2, 8, seed=1)[1])
    assert not torch.allclose(vectors[0], unit(2, 8, seed=1)[0], atol=0.1)


def test_many_images_beat_the_prompts():
    assert accuracy(adapted(shots=16)) > accuracy(texts()) + 0.1


def test_the_last_step_of_sstext_plus_by_hand():
    vectors = torch.tensor([[4.0, 1.0], [1.0, 4.0]])
    delta = F.normalize(2 * vectors - 2.5, dim=1)
    found = ss_text(support_of(torch.eye(2), torch.eye(2).bool()), vectors - 4 * torch.eye(2) + 0.0, 8.0, repel=True)
    # Weight 1/2 · 8 = 4 on each axis, and a "text" that makes the sum `vectors`.
    torch.testing.assert_close(found, F.normalize(vectors - delta, dim=1))


def test_a_scale_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="scale must be above 0, got -1"):
        ss_text(support_of(unit(2, 4), torch.eye(2).bool()), unit(2, 4), -1)


def test_labels_and_prompts_have_to_fit():
    with pytest.raises(DataError, match=r"text vectors are \[3, 4\], but labels and images ask for \[2, 4\]"):
        ss_text(support_of(unit(2, 4), torch.eye(2).bool()), unit(3, 4), SCALE)
