import pytest
import torch

from vesalius.data.augment import UNCHANGED, SliceAugment, augment_slice
from vesalius.errors import ConfigError

IMAGE = torch.rand(3, 40, 40, generator=torch.Generator().manual_seed(1))
GREY = IMAGE[:1].repeat(3, 1, 1)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_nothing_drawn_changes_nothing():
    torch.testing.assert_close(augment_slice(IMAGE, UNCHANGED, 40, seeded(0)), IMAGE, rtol=0, atol=1e-5)


def test_the_seed_decides_everything():
    first, same, other = (augment_slice(IMAGE, SliceAugment(), 32, seeded(seed)) for seed in (1, 1, 2))
    assert first.equal(same)
    assert not first.equal(other)


@pytest.mark.parametrize("kind", ["clahe", "contrast", "gamma", "rotation", "translation", "scale"])
def test_every_change_changes_keeps_the_range_and_grey_grey(kind):
    alone = SliceAugment(
        **{name: float(name == kind) for name in vars(UNCHANGED) if isinstance(vars(UNCHANGED)[name], int)}
    )
    changed = augment_slice(GREY, alone, 40, seeded(3))
    assert not torch.allclose(changed, GREY, atol=1e-3)
    assert changed.min() >= 0
    assert changed.max() <= 1
    torch.testing.assert_close(changed[0], changed[2])


def test_slices_are_never_mirrored():
    left = torch.zeros(3, 32, 32)
    left[:, :, :8] = 1
    for seed in range(50):
        changed = augment_slice(left, SliceAugment(clahe=0), 32, seeded(seed))
        assert changed[:, :, :16].sum() > changed[:, :, 16:].sum()


def test_what_lies_in_the_middle_stays_in_the_picture():
    """A disc that takes the middle half of the side loses less than a tenth of its area beyond the zoom."""
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    disc = (((rows - 31.5) ** 2 + (columns - 31.5) ** 2) < 16**2).float()[None].repeat(3, 1, 1)
    config = SliceAugment(clahe=0, contrast=0, gamma=0, rotation=1, translation=1, scale=1)
    for seed in range(50):
        assert augment_slice(disc, config, 64, seeded(seed)).sum() > 0.9 * disc.sum() / config.scale_factor**2


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"clahe": 1.2}, "clahe is a probability"),
        ({"gamma_range": (1.5, 0.7)}, "gamma_range is a range"),
        ({"clahe_limit": (0.5, 2.0)}, "clahe_limit must be at least 1"),
        ({"scale_factor": 3.0}, "scale_factor 1 to 1.4"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        SliceAugment(**wrong)
