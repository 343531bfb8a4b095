import math
from dataclasses import replace
from functools import cache

import pytest
import torch

from vesalius.data.augment import (
    LEVELS,
    STILL,
    UNCHANGED,
    AugmentConfig,
    Geometry,
    SliceAugment,
    augment_slice,
    change_intensity,
    clahe,
    draw_geometry,
    resample,
)
from vesalius.errors import ConfigError
from vesalius.models.encoder import resize


def random_source(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def image() -> torch.Tensor:
    return torch.rand(3, 12, 12, generator=random_source(0))


@pytest.fixture
def mask() -> torch.Tensor:
    return (torch.rand(1, 12, 12, generator=random_source(1)) > 0.5).float()


class TestGeometry:
    def test_no_change_is_the_identity(self, image, mask):
        moved = resample(image, mask, draw_geometry(STILL, random_source(0)), 12)
        torch.testing.assert_close(moved[0], image, rtol=0, atol=1e-6)
        assert torch.equal(moved[1], mask)

    @pytest.mark.parametrize(("direction", "axis"), [("horizontal_flip", 2), ("vertical_flip", 1)])
    def test_flips_are_exact(self, image, mask, direction, axis):
        geometry = draw_geometry(replace(STILL, **{direction: 1}), random_source(0))
        assert geometry.flipped_horizontally == (axis == 2)
        assert geometry.flipped_vertically == (axis == 1)
        moved = resample(image, mask, geometry, 12)
        torch.testing.assert_close(moved[0], image.flip(axis), rtol=0, atol=1e-6)
        assert torch.equal(moved[1], mask.flip(axis))

    @pytest.mark.parametrize("seed", range(5))
    def test_image_and_mask_move_together(self, seed):
        rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(48.0), indexing="ij")
        mask = (((rows - 25) / 14) ** 2 + ((columns - 28) / 9) ** 2 < 1).float()[None]
        geometry = draw_geometry(AugmentConfig(vertical_flip=0.5), random_source(seed))
        moved, moved_mask = resample(mask.expand(3, -1, -1), mask, geometry, 40)
        assert torch.equal((moved[0] >= 0.5).float(), moved_mask[0])
        assert 0 < moved_mask.mean() < 1

    def test_masks_stay_0_and_1(self, image, mask):
        for seed in range(5):
            values = resample(image, mask, draw_geometry(AugmentConfig(), random_source(seed)), 9)[1]
            assert values.shape == (1, 9, 9)
            assert set(values.unique().tolist()) <= {0.0, 1.0}

    def test_what_lies_outside_is_black_and_not_part_of_the_mask(self):
        far = Geometry(torch.tensor([[1.0, 0, 5], [0, 1, 5]]), flipped_horizontally=False, flipped_vertically=False)
        moved = resample(torch.ones(3, 8, 8), torch.ones(1, 8, 8), far, 8)
        assert moved[0].abs().max() == moved[1].abs().max() == 0

    def test_a_quarter_turn_is_exact(self, image, mask):
        turn = Geometry(torch.tensor([[0.0, -1, 0], [1, 0, 0]]), flipped_horizontally=False, flipped_vertically=False)
        moved = resample(image, mask, turn, 12)
        torch.testing.assert_close(moved[0], image.rot90(1, (1, 2)), rtol=0, atol=1e-5)
        assert torch.equal(moved[1], mask.rot90(1, (1, 2)))

    def test_what_is_shrunk_is_what_predictions_see(self):
        fine = torch.rand(3, 90, 61, generator=random_source(2))
        outline = (torch.rand(1, 90, 61, generator=random_source(3)) > 0.5).float()
        small, mask = resample(fine, outline, draw_geometry(STILL, random_source(0)), 20)
        torch.testing.assert_close(small, resize(fine[None], (20, 20))[0], rtol=0, atol=1e-5)
        assert mask.equal((resize(outline[None], (20, 20))[0] >= 0.5).float())

    def test_a_part_that_is_enlarged_keeps_its_pixels(self, image, mask):
        """Twice as large, the middle of 12 pixels fills a picture of 12: nothing is averaged."""
        enlarged = Geometry(torch.tensor([[0.5, 0, 0], [0, 0.5, 0]]), False, False)
        moved, _ = resample(image, mask, enlarged, 6)
        torch.testing.assert_close(moved, image[:, 3:9, 3:9], rtol=0, atol=1e-5)

    def test_draws_stay_in_their_ranges_and_fill_them(self):
        config, source = AugmentConfig(vertical_flip=0.25), random_source(0)
        drawn = [draw_geometry(config, source) for _ in range(400)]
        linear = torch.stack([geometry.matrix[:, :2] for geometry in drawn])
        zoom, shift = linear.det().abs().sqrt(), torch.stack([geometry.matrix[:, 2] for geometry in drawn])
        upright = [geometry for geometry in drawn if not geometry.flipped_horizontally]
        angle = torch.stack([torch.atan2(g.matrix[1, 0], g.matrix[1, 1]).abs() for g in upright])
        angle = torch.minimum(angle, math.pi - angle).rad2deg()
        for values, limit in [(zoom.log().abs(), 0.2), (shift.abs(), 0.2), (angle, 15)]:
            assert values.max() <= limit + 1e-4
            assert values.max() > 0.9 * limit
        # Four standard deviations of 400 draws.
        assert sum(geometry.flipped_horizontally for geometry in drawn) == pytest.approx(200, abs=40)
        assert sum(geometry.flipped_vertically for geometry in drawn) == pytest.approx(100, abs=35)

    def test_the_generator_decides_everything(self):
        config = AugmentConfig(vertical_flip=0.5)
        first, again, other = (draw_geometry(config, random_source(seed)).matrix for seed in (3, 3, 4))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)


class TestIntensity:
    def test_no_change_is_the_identity(self, image):
        torch.testing.assert_close(change_intensity(image, STILL, random_source(0)), image, rtol=0, atol=1e-6)

    def test_values_stay_in_0_to_1(self, image):
        wild = AugmentConfig(brightness=0.9, contrast=0.9, saturation=0.9, gamma=1)
        for seed in range(10):
            changed = change_intensity(image, wild, random_source(seed))
            assert changed.min() >= 0
            assert changed.max() <= 1

    def test_brightness_adds_the_same_everywhere(self, image):
        middle = 0.4 + 0.2 * image
        change = change_intensity(middle, replace(STILL, brightness=0.3), random_source(1)) - middle
        assert 0.01 < change.abs().mean() <= 0.3
        torch.testing.assert_close(change, change.mean().expand_as(change))

    def test_contrast_keeps_the_mean(self, image):
        middle = 0.4 + 0.2 * image
        changed = change_intensity(middle, replace(STILL, contrast=0.3), random_source(1))
        torch.testing.assert_close(changed.mean(), middle.mean())
        assert (changed.std() - middle.std()).abs() > 1e-3

    def test_saturation_keeps_the_grey_image(self, image):
        middle = 0.4 + 0.2 * image
        changed = change_intensity(middle, replace(STILL, saturation=0.3), random_source(1))
        torch.testing.assert_close(changed.mean(0), middle.mean(0))
        assert (changed - middle).abs().max() > 1e-3

    def test_gamma_is_a_power(self, image):
        changed = change_intensity(image, replace(STILL, gamma=0.3), random_source(1))
        power = changed.log() / image.log()
        torch.testing.assert_close(power, power.mean().expand_as(power), rtol=1e-3, atol=1e-3)
        assert math.exp(-0.3) < power.mean() < math.exp(0.3)

    def test_the_generator_decides_everything(self, image):
        first, again, other = (change_intensity(image, AugmentConfig(), random_source(seed)) for seed in (3, 3, 4))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)


@pytest.mark.parametrize("name", ["horizontal_flip", "vertical_flip"])
@pytest.mark.parametrize("value", [-0.1, 1.5])
def test_a_probability_outside_0_to_1_is_refused(name, value):
    with pytest.raises(ConfigError, match=f"{name} is a probability and must lie in 0–1, got {value}"):
        AugmentConfig(**{name: value})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rotation": math.nan}, "rotation must be at least 0, got nan"),
        ({"rotation": math.inf}, "rotation must be finite, got inf"),
        ({"contrast": -0.1}, "contrast must be at least 0, got -0.1"),
        ({"noise": -1}, "noise must be at least 0, got -1"),
        ({"scale": 50}, "scale must be at most 5, got 50"),
    ],
)
def test_a_range_that_is_none_is_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        AugmentConfig(**wrong)


class TestColourBlurAndNoise:
    def change(self, image: torch.Tensor, seed: int = 0, **settings: float) -> torch.Tensor:
        return change_intensity(image, replace(STILL, **settings), random_source(seed))

    def test_a_third_of_a_turn_makes_red_green(self):
        red = torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1)
        turned = {tuple(self.change(red, seed, hue=120.0).flatten().round().tolist()) for seed in range(60)}
        assert {(0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 0.0, 0.0)} <= turned

    def test_grey_has_no_hue(self):
        grey = torch.rand(1, 6, 6, generator=random_source(2)).expand(3, -1, -1)
        torch.testing.assert_close(self.change(grey, hue=90.0), grey)

    def test_blur_keeps_the_mean_and_flattens(self, image):
        blurred = [self.change(image, seed, blur=1.5) for seed in range(4)]
        assert all(each.mean().sub(image.mean()).abs() < 0.05 for each in blurred)
        assert min(each.std() for each in blurred) < 0.7 * image.std()
        flat = torch.full((3, 9, 9), 0.5)
        torch.testing.assert_close(self.change(flat, blur=1.5), flat)

    def test_noise_is_new_for_every_pixel_and_no_stronger_than_said(self):
        flat = torch.full((3, 64, 64), 0.5)
        spreads = [self.change(flat, seed, noise=0.05).std().item() for seed in range(8)]
        assert 0 < min(spreads) < max(spreads) < 0.055

    def test_what_is_off_draws_nothing(self, image):
        first, second = random_source(4), random_source(4)
        change_intensity(image, STILL, first)
        change_intensity(image, replace(STILL, noise=0.1), second)
        assert not torch.rand(1, generator=first).equal(torch.rand(1, generator=second))


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
        ({"rotation_degrees": math.nan}, "rotation_degrees must be at least 0, got nan"),
        ({"gamma_range": (0.5, math.inf)}, "gamma_range is a range"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        SliceAugment(**wrong)


def brute_force(grey: torch.Tensor, limit: float, tiles: int) -> torch.Tensor:
    """One pixel after the other, by the definition; sides must be divisible."""
    height, width = grey.shape
    tall, wide = height // tiles, width // tiles
    levels = (grey * (LEVELS - 1)).round().long()

    @cache
    def histogram(row: int, column: int) -> list[int]:
        part = levels[row * tall : (row + 1) * tall, column * wide : (column + 1) * wide]
        return [int((part == each).sum()) for each in range(LEVELS)]

    def shade(row: int, column: int, level: int) -> float:
        counts = histogram(row, column)
        most = max(1.0, limit * tall * wide / LEVELS)
        spread = sum(max(0.0, count - most) for count in counts) / LEVELS
        return sum(min(count, most) + spread for count in counts[: level + 1]) / (tall * wide)

    def between(place: int, step: int) -> list[tuple[int, float]]:
        centre = (place + 0.5) / step - 0.5
        first = int(centre // 1)
        both = ((first, 1 - (centre - first)), (first + 1, centre - first))
        return [(min(max(tile, 0), tiles - 1), share) for tile, share in both]

    result = torch.zeros(height, width)
    for y in range(height):
        for x in range(width):
            result[y, x] = sum(
                down * across * shade(row, column, int(levels[y, x]))
                for row, down in between(y, tall)
                for column, across in between(x, wide)
            )
    return result


@pytest.mark.parametrize("limit", [1.0, 3.0, 40.0])
def test_it_is_what_the_definition_says(limit):
    grey = torch.rand(8, 12, generator=torch.Generator().manual_seed(0)) ** 3
    torch.testing.assert_close(clahe(grey, limit, tiles=2), brute_force(grey, limit, 2), rtol=0, atol=1e-5)


def test_sides_that_tiles_do_not_divide_keep_their_length():
    grey = torch.rand(37, 50)
    result = clahe(grey, 2.0)
    assert result.shape == grey.shape
    assert result.min() >= 0
    assert result.max() <= 1 + 1e-6


def test_a_faint_part_gains_contrast():
    grey = 0.4 + 0.02 * torch.rand(64, 64, generator=torch.Generator().manual_seed(0))
    assert clahe(grey, 4.0).std() > 2 * grey.std()


def test_in_one_tile_a_brighter_pixel_stays_brighter():
    ramp = torch.linspace(0, 1, 64)[None].repeat(64, 1)
    assert (clahe(ramp, 2.0, tiles=1).diff(dim=1) >= 0).all()
