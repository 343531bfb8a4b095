from collections import Counter

import pytest

from vesalius.data.prepare.splitting import SplitConfig, assign_splits
from vesalius.errors import ConfigError


def shares(groups, splits):
    counts = {split: Counter() for split in ("train", "val", "test")}
    for group, strata in groups.items():
        counts[splits[group]].update(strata)
    return counts


def test_every_split_gets_its_share_of_every_stratum():
    groups = {f"b{number}": Counter(benign=1) for number in range(200)}
    groups |= {f"n{number}": Counter(normal=1) for number in range(30)}
    counts = shares(groups, assign_splits(groups, {}, SplitConfig()))
    assert counts == {
        "train": Counter(benign=160, normal=24),
        "val": Counter(benign=20, normal=3),
        "test": Counter(benign=20, normal=3),
    }


def test_groups_of_many_sizes_come_close_to_the_shares():
    groups = {f"p{number}": Counter(a=number % 7 + 1, b=number % 3) for number in range(100)}
    counts = shares(groups, assign_splits(groups, {}, SplitConfig(val=0.2, test=0.1)))
    total = sum(sum(strata.values()) for strata in groups.values())
    assert counts["val"].total() / total == pytest.approx(0.2, abs=0.01)
    assert counts["test"].total() / total == pytest.approx(0.1, abs=0.01)


def test_the_seed_decides_and_nothing_else():
    groups = {f"p{number}": Counter(a=1) for number in range(50)}
    turned = dict(reversed(groups.items()))
    first = assign_splits(groups, {}, SplitConfig(seed=1))
    assert first == assign_splits(turned, {}, SplitConfig(seed=1))
    assert first != assign_splits(groups, {}, SplitConfig(seed=2))


def test_what_is_fixed_stays_and_the_rest_goes_to_the_other_splits():
    groups = {f"p{number}": Counter(a=1) for number in range(20)}
    fixed = {f"p{number}": "test" for number in range(10)}
    splits = assign_splits(groups, fixed, SplitConfig(val=0.1, test=0.1))
    assert {group for group, split in splits.items() if split == "test"} == fixed.keys()
    assert Counter(splits.values()) == Counter(train=9, val=1, test=10)


def test_where_all_splits_are_fixed_the_rest_is_divided_among_them():
    groups = {f"p{number}": Counter(a=1) for number in range(23)}
    fixed = {"p0": "train", "p1": "val", "p2": "test"}
    assert Counter(assign_splits(groups, fixed, SplitConfig()).values()) == Counter(train=17, val=3, test=3)


def test_a_share_of_nothing_gets_nothing():
    groups = {f"p{number}": Counter(a=1) for number in range(10)}
    assert Counter(assign_splits(groups, {}, SplitConfig(val=0.2, test=0)).values()) == Counter(train=8, val=2)


@pytest.mark.parametrize(("val", "test"), [(-0.1, 0.1), (0.5, 0.5), (0.9, 0.2)])
def test_parts_that_leave_nothing_for_training_are_refused(val, test):
    with pytest.raises(ConfigError, match="parts with a sum below 1"):
        SplitConfig(val=val, test=test)
