"""Divides groups among the splits: seeded, each split with its share of every class and of empty masks."""

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from vesalius.errors import ConfigError


@dataclass(frozen=True)
class SplitConfig:
    """How large the splits are, where neither authors nor annotation files say."""

    val: float = 0.1
    """Part of the records for validation."""
    test: float = 0.1
    """Part of the records for testing."""
    seed: int = 0
    """Decides which groups go where."""

    def __post_init__(self) -> None:
        if min(self.val, self.test) < 0 or self.val + self.test >= 1:
            raise ConfigError(f"--val and --test are parts with a sum below 1, got {self.val} and {self.test}.")


def assign_splits(
    groups: Mapping[str, Counter[str]], fixed: Mapping[str, str], config: SplitConfig
) -> Mapping[str, str]:
    """Give every group a split.

    Large groups first, the rest in random order; each goes where it brings the counts of its strata closest to the
    splits' shares. Where some splits are fixed, the other groups are divided among the rest.

    Args:
        groups: Group -> how many records of each stratum it has.
        fixed: Group -> split, for those that are decided.
        config: Shares and seed.

    Example:
        >>> groups = {f"patient {number}": Counter(benign=1) for number in range(10)}
        >>> Counter(assign_splits(groups, {}, SplitConfig()).values())
        Counter({'train': 8, 'val': 1, 'test': 1})
    """
    free = sorted(groups.keys() - fixed.keys())
    random.Random(config.seed).shuffle(free)
    free.sort(key=lambda group: -groups[group].total())
    total: Counter[str] = Counter()
    for group in free:
        total.update(groups[group])
    shares = _shares(set(fixed.values()), config)
    counts: dict[str, Counter[str]] = {split: Counter() for split in shares}
    splits = dict(fixed)
    for group in free:
        splits[group] = min(shares, key=lambda split: _cost(groups[group], counts[split], total, shares[split]))
        counts[splits[group]].update(groups[group])
    return splits


def _shares(fixed: set[str], config: SplitConfig) -> dict[str, float]:
    wanted = {"train": 1 - config.val - config.test, "val": config.val, "test": config.test}
    left = {split: share for split, share in wanted.items() if split not in fixed and share > 0}
    left = left or {split: share for split, share in wanted.items() if share > 0}
    return {split: share / sum(left.values()) for split, share in left.items()}


def _cost(group: Counter[str], count: Counter[str], total: Counter[str], share: float) -> float:
    """Change of the squared distance to the share, summed over strata; rare ones count as much as frequent ones."""
    return sum(
        ((count[stratum] + size - share * total[stratum]) ** 2 - (count[stratum] - share * total[stratum]) ** 2)
        / total[stratum]
        for stratum, size in group.items()
    )
