import pytest
import torch
from torch import nn


@pytest.fixture(scope="module")
def recipe(import_script):
    return import_script("recipes/pocket", "recentre")


@pytest.fixture
def norm() -> nn.BatchNorm2d:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(3).eval()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm


@torch.no_grad()
def test_a_recentred_norm_computes_the_same_with_the_statistics_of_its_inputs(recipe, norm):
    seen, batches = recipe.Moments(norm), [3 + 2 * torch.randn(4, 3, 5, 5) for _ in range(3)]
    before = [norm(batch) for batch in batches]
    recipe.take_over(norm, *seen.read())
    everything = torch.cat(batches)
    torch.testing.assert_close(norm.running_mean, everything.mean(dim=(0, 2, 3)))
    torch.testing.assert_close(norm.running_var, everything.var(dim=(0, 2, 3), unbiased=False))
    torch.testing.assert_close([norm(batch) for batch in batches], before)


@torch.no_grad()
def test_then_training_mode_gives_nearly_the_same(recipe, norm):
    seen, batch = recipe.Moments(norm), 3 + 2 * torch.randn(8, 3, 9, 9)
    before = norm(batch)
    recipe.take_over(norm, *seen.read())
    torch.testing.assert_close(norm.train()(batch), before, atol=1e-4, rtol=1e-4)
