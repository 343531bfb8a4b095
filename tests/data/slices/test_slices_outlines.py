import numpy as np

from vesalius.data.slices.outlines import EMPTY, Region, crop, unite


def test_a_crop_is_the_smallest_box_and_knows_its_place():
    mask = np.zeros((5, 6, 7), bool)
    mask[1:3, 2:5, 3] = True
    region = crop(mask)
    assert region.start == (1, 2, 3)
    assert region.mask.shape == (2, 3, 1)
    assert region.counts(0, 5).tolist() == [0, 3, 3, 0, 0]
    assert region.counts(1, 6).tolist() == mask.sum((0, 2)).tolist()
    assert region.level_range() == (1, 2)


def test_counts_of_a_random_mask_are_those_of_the_whole_volume_through_slabs_too():
    mask = np.random.default_rng(0).random((6, 7, 8)) < 0.1
    region = crop(mask)
    for axis, length in enumerate(mask.shape):
        stack = np.moveaxis(mask, axis, 0)
        slab = [stack[max(0, at - 1) : at + 2].any(0).sum() for at in range(length)]
        assert region.counts(axis, length, 3).tolist() == slab


def test_a_union_holds_both_and_counts_shared_voxels_once():
    one, other = np.zeros((4, 4, 4), bool), np.zeros((4, 4, 4), bool)
    one[0:2, 0:2, 0:2] = other[1:4, 1:4, 1:4] = True
    assert unite([crop(one), EMPTY, crop(other)]).counts(0, 4).tolist() == (one | other).sum((1, 2)).tolist()
    assert unite([]) is EMPTY
    assert crop(np.zeros((2, 2, 2), bool)) is EMPTY


def test_levels_cut_a_region():
    region = Region(np.ones((4, 1, 1), bool), (2, 0, 0))
    levels = np.array([1, 1, 0, 1, 0, 1, 1], bool)
    assert region.at_levels(levels).counts(0, 7).tolist() == [0, 0, 0, 1, 0, 1, 0]
